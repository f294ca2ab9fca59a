"""Did the difficulty classifier know in advance? Its predictions against outcomes measured afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.difficulty import fit_difficulty
from curricula.types import Bools, Floats, RunState
from evaluators.accuracy import wilson

BINS = 10


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The outcomes whose predicted chance lay in one tenth of [0, 1].

    Example: 30 questions that were given about 85%, of which 24 were solved.
        ReliabilityBin(low=0.8, high=0.9, n=30, mean_predicted=0.86, solved=0.8, ci95=(0.63, 0.9))
    """

    low: float  # predictions from here ...
    high: float  # ... to below here; the last bin holds 1 too
    n: int
    mean_predicted: float
    solved: float  # share
    ci95: tuple[float, float]  # Wilson, of the share solved


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well predicted chances of solving ranked what was then solved, and whether they can be taken at their word.

    Example: a classifier somewhat better than chance, on 640 outcomes of which 71% were solved.
        Calibration(auc=0.66, base_rate=0.71, n=640, brier=0.19, base_brier=0.206)
    """

    auc: float | None  # None where all were solved, or none
    base_rate: float  # share solved
    n: int
    brier: float | None = None  # mean squared error of the predictions, in [0, 1]; None in an early summary
    base_brier: float | None = None  # of predicting the base rate, known only afterwards, every time
    bins: tuple[ReliabilityBin, ...] = ()  # those that hold any outcome, in ascending order


def auc(score_N: Floats, label_N: Bools) -> float | None:
    """Chance that a true example scores above a false one, a tie counting half; None where one class is missing.

    The rank statistic of Mann and Whitney (1947), On a test of whether one of two random variables is stochastically
    larger than the other, Annals of Mathematical Statistics 18, 50-60: with mid-ranks r of the T true among N
    examples, (sum r - T (T + 1) / 2) / (T (N - T)). O(N log N).

    Raises:
        ValueError: lengths differ, or a score is NaN.
    """
    if len(score_N) != len(label_N):
        raise ValueError(f"scores and labels must be of one length, got {len(score_N)} and {len(label_N)}")
    if np.isnan(score_N).any():
        raise ValueError(f"scores must not be NaN, got {int(np.isnan(score_N).sum())} of {len(score_N)}")
    label_N = np.asarray(label_N, dtype=bool)
    true = int(np.count_nonzero(label_N))
    false = len(label_N) - true
    if true == 0 or false == 0:
        return None
    _, level_N, ties_L = np.unique(score_N, return_inverse=True, return_counts=True)
    last_rank_L = np.cumsum(ties_L)
    mid_rank_L = last_rank_L - (ties_L - 1) / 2
    rank_sum = float(mid_rank_L[level_N][label_N].sum())
    return (rank_sum - true * (true + 1) / 2) / (true * false)


def later_outcomes(predicted: Sequence[tuple[Floats, Bools]]) -> Calibration:
    """Pool (p_N, solved_N) of any number of probes, each predicted before it was measured.

    Pooled over a run, the AUC also rewards knowing that later probes are solved more often; compare it with the base
    rate beside it. The squared error is that of Brier (1950), Verification of forecasts expressed in terms of
    probability, Monthly Weather Review 78, 1-3 (of one class); base rate x (1 - base rate) is that of always saying
    the base rate.

    Raises:
        ValueError: there are no outcomes, or a prediction is outside [0, 1].
    """
    if sum(len(solved_N) for _, solved_N in predicted) == 0:
        raise ValueError("no outcomes to compare predictions with")
    p_N = np.concatenate([p_N for p_N, _ in predicted])
    solved_N = np.concatenate([solved_N for _, solved_N in predicted]).astype(bool)
    if not ((p_N >= 0) & (p_N <= 1)).all():
        raise ValueError(f"a predicted chance must lie in [0, 1], got {p_N[~((p_N >= 0) & (p_N <= 1))][0]}")
    base_rate = float(solved_N.mean())
    return Calibration(
        auc=auc(p_N, solved_N),
        base_rate=base_rate,
        n=len(solved_N),
        brier=float(np.mean((p_N - solved_N) ** 2)),
        base_brier=base_rate * (1 - base_rate),
        bins=reliability_bins(p_N, solved_N),
    )


def reliability_bins(p_N: Floats, solved_N: Bools) -> tuple[ReliabilityBin, ...]:
    """The reliability diagram: outcomes (N,) by their predicted chance (N,) in ten bins of equal width, empty ones out.

    Murphy and Winkler (1977), Reliability of subjective probability forecasts of precipitation and temperature,
    Applied Statistics 26, 41-47.
    """
    bin_N = np.minimum((p_N * BINS).astype(np.int64), BINS - 1)
    rows = [(place, np.flatnonzero(bin_N == place)) for place in np.unique(bin_N).tolist()]
    return tuple(
        ReliabilityBin(
            low=place / BINS,
            high=(place + 1) / BINS,
            n=len(members),
            mean_predicted=float(p_N[members].mean()),
            solved=float(solved_N[members].mean()),
            ci95=wilson(int(solved_N[members].sum()), len(members)),
        )
        for place, members in rows
    )


def difficulty_on_later_outcomes(state: RunState) -> Calibration | None:
    """Predict every free probe of a run from what was recorded before it was planned.

    Stages of one round are planned together, so a fork's probe is predicted without its siblings. Every probe counts
    once, under the fit on all the history before it.

    Returns:
        None where no probe had a history that a classifier could be fitted on.
    """
    predicted: list[tuple[NDArray[np.float64], Bools]] = []
    p_by_round: dict[int, NDArray[np.float64] | None] = {}
    for result in state.history:
        rows = result.probe.under("free") if result.probe is not None else np.empty(0, dtype=np.intp)
        if result.probe is None or len(rows) == 0:
            continue
        if result.round not in p_by_round:
            earlier = tuple(other for other in state.history if other.round < result.round)
            difficulty = fit_difficulty(dataclasses.replace(state, history=earlier))
            p_by_round[result.round] = None if difficulty is None else difficulty.p_solved_N(state.probe)
        p_N = p_by_round[result.round]
        if p_N is not None:
            predicted.append((p_N[result.probe.example_P[rows]], result.probe.solved_P[rows]))
    return later_outcomes(predicted) if predicted else None
