"""What accuracy costs: Pareto frontiers of accuracy against FLOPs, and what a shorter answer gives up and saves.

The same functions serve training FLOPs (a budget) and inference FLOPs (mean of an answer); the caller says which.

Axes: P configurations on the frontier, further axes before it are resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curricula.types import Floats
from evaluators.paired import GradedRuns, check_paired, mean_accuracy, ratio
from evaluators.resampling import RESAMPLES, Estimate, resample


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration: what it cost, how good it is, and which others are at least as cheap and as good.

    p dominates q where p costs no more and is no less accurate, and one of them strictly. Two that tie in both do not
    dominate each other, and may both be on the frontier.

    Example:
        Point(name="answer", flops=6e12, accuracy=..., dominated_by=("Adaptive",), surely_dominated_by=())
    """

    name: str
    flops: float
    accuracy: Estimate
    dominated_by: tuple[str, ...]  # as measured
    surely_dominated_by: tuple[str, ...]  # of those, whose accuracy less this one's has an interval above 0

    @property
    def on_frontier(self) -> bool:
        """Whether nothing dominates it, as measured."""
        return not self.dominated_by


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """Configurations from the cheapest to the dearest, and the hypervolume of all of them."""

    points: tuple[Point, ...]
    hypervolume: Estimate  # accuracy x decades of FLOPs; see `hypervolume`
    reference_flops: float
    reference_accuracy: float


def hypervolume(
    flops_P: Floats, accuracy_P: Floats, *, reference_flops: float, reference_accuracy: float = 0.0
) -> float:
    """Area dominated by points (log10 FLOPs, accuracy) up to a reference point, in accuracy x decades of FLOPs.

    Zitzler and Thiele (1999), Multiobjective evolutionary algorithms: a comparative case study and the strength Pareto
    approach, IEEE Transactions on Evolutionary Computation 3, 257-271, where it is called the size of the space
    covered. With A(f) the best accuracy for f FLOPs or fewer, it is the integral of max(0, A(f) - reference_accuracy)
    over log10 f up to reference_flops: exact for two dimensions, in O(P log P). FLOPs stand on a logarithmic axis, so
    that a factor of two counts the same at every scale; their unit does not matter. Only hypervolumes against one
    reference point can be compared. Points that cost the reference or more add nothing.

    Args:
        flops_P, accuracy_P: of shape (P,).

    Raises:
        ValueError: FLOPs or the reference's are not positive and finite, or the shapes differ.

    Example: 0.5 over the decade from 1e12, and 0.8 over that from 1e13 to the reference.
        >>> round(hypervolume(np.array([1e12, 1e13]), np.array([0.5, 0.8]), reference_flops=1e14), 6)
        1.3
    """
    flops_P, accuracy_P = np.asarray(flops_P, dtype=np.float64), np.asarray(accuracy_P, dtype=np.float64)
    if flops_P.ndim != 1 or flops_P.shape != accuracy_P.shape:
        raise ValueError(f"FLOPs and accuracies must be as many as each other, got {flops_P.shape}, {accuracy_P.shape}")
    for flops in (*flops_P.tolist(), reference_flops):
        _check_flops(flops, "hypervolume")
    return float(_hypervolume(flops_P, accuracy_P, reference_flops, reference_accuracy))


def frontier(
    runs: Mapping[str, GradedRuns],
    flops: Mapping[str, float],
    *,
    reference_flops: float,
    reference_accuracy: float = 0.0,
    seed: int,
    resamples: int = RESAMPLES,
) -> Frontier:
    """The frontier of configurations that answered the same questions under the same seeds.

    FLOPs are taken as exact: runs at matched compute should be given their budget, or a few steps more or less spent
    will decide who dominates whom. Intervals, the hypervolume's too, are of accuracy, and paired: `Estimate`.

    Args:
        runs: by configuration.
        flops: of each of them, training or inference, in the unit of `reference_flops`.
        reference_flops, reference_accuracy: the corner that the hypervolume is taken to; state it beside the figure.

    Raises:
        ValueError: there are no runs, a configuration has no FLOPs or not positive ones, or runs cannot be paired.
    """
    if not runs:
        raise ValueError("no runs to draw a frontier of")
    if set(runs) != set(flops):
        raise ValueError(f"runs and FLOPs must be of the same configurations, got {sorted(runs)} and {sorted(flops)}")
    for name, value in (*flops.items(), ("the reference", reference_flops)):
        _check_flops(value, name)
    names = sorted(runs, key=lambda name: (flops[name], name))
    for name in names[1:]:
        check_paired(runs[names[0]], runs[name])
    means = resample([runs[name].correct_KQ for name in names], seed=seed, resamples=resamples)
    accuracy_P = means.mean_KC.mean(axis=0)
    flops_P = np.array([flops[name] for name in names])

    def surely_better(better: int, worse: int) -> bool:
        interval = means.estimate(lambda mean_C: mean_C[..., better] - mean_C[..., worse], bounds=(-1.0, 1.0)).interval
        return interval is not None and interval.low > 0

    points = []
    for place, name in enumerate(names):
        above = np.flatnonzero(
            (flops_P <= flops_P[place])
            & (accuracy_P >= accuracy_P[place])
            & ((flops_P < flops_P[place]) | (accuracy_P > accuracy_P[place]))
        )
        points.append(
            Point(
                name=name,
                flops=flops[name],
                accuracy=mean_accuracy(runs[name], seed=seed, resamples=resamples),
                dominated_by=tuple(names[other] for other in above),
                surely_dominated_by=tuple(names[other] for other in above if surely_better(int(other), place)),
            )
        )
    covered = means.estimate(
        lambda mean_C: _hypervolume(flops_P, mean_C, reference_flops, reference_accuracy), bounds=(0.0, np.inf)
    )
    return Frontier(
        points=tuple(points),
        hypervolume=covered,
        reference_flops=reference_flops,
        reference_accuracy=reference_accuracy,
    )


def retention(runs: GradedRuns, raw: GradedRuns, *, seed: int, resamples: int = RESAMPLES) -> Estimate | None:
    """Accuracy over that of the configuration trained on full traces, which the caller names as `raw`.

    Compress-Distill (arXiv 2606.05988).

    Returns:
        None where raw has no right answer.

    Raises:
        ValueError: the runs cannot be paired.
    """
    check_paired(runs, raw)
    return ratio([runs.correct_KQ], [raw.correct_KQ], seed=seed, resamples=resamples)


def token_efficiency(runs: GradedRuns, raw: GradedRuns, *, seed: int, resamples: int = RESAMPLES) -> Estimate | None:
    """Accuracy per output token over raw's: (accuracy / mean output tokens) / (the same of raw).

    Compress-Distill (arXiv 2606.05988) reports such a ratio, and we know no definition of it. Here tokens are those of
    all answers, right or wrong, cut off or not.

    Returns:
        None where raw has no right answer, or these runs wrote nothing.

    Raises:
        ValueError: the runs cannot be paired.
    """
    check_paired(runs, raw)
    return ratio(
        [runs.correct_KQ, raw.output_tokens_KQ],
        [raw.correct_KQ, runs.output_tokens_KQ],
        seed=seed,
        resamples=resamples,
    )


def _check_flops(flops: float, name: str) -> None:
    if not (math.isfinite(flops) and flops > 0):
        raise ValueError(f"FLOPs must be positive and finite, got {flops} for {name}")


def _hypervolume(flops_P: Floats, accuracy_P: Floats, reference_flops: float, reference_accuracy: float) -> Floats:
    """As `hypervolume`, of accuracies (..., P) at the same FLOPs."""
    order_P = np.argsort(flops_P, kind="stable")
    edges_P = np.minimum(np.log10(flops_P[order_P]), math.log10(reference_flops))
    width_P = np.diff(edges_P, append=math.log10(reference_flops))
    best_P = np.maximum.accumulate(accuracy_P[..., order_P], axis=-1)
    return (np.maximum(best_P - reference_accuracy, 0.0) * width_P).sum(axis=-1)
