"""Did the difficulty classifier know in advance? Its predictions against outcomes measured afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.difficulty import fit_difficulty
from curricula.types import Bools, Floats, RunState


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well predicted chances of solving ranked what was then solved.

    Example: a classifier somewhat better than chance, on 640 outcomes of which 71% were solved.
        Calibration(auc=0.66, base_rate=0.71, n=640)
    """

    auc: float | None  # None where all were solved, or none
    base_rate: float  # share solved
    n: int


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
    rate beside it.

    Raises:
        ValueError: there are no outcomes.
    """
    if sum(len(solved_N) for _, solved_N in predicted) == 0:
        raise ValueError("no outcomes to compare predictions with")
    p_N = np.concatenate([p_N for p_N, _ in predicted])
    solved_N = np.concatenate([solved_N for _, solved_N in predicted]).astype(bool)
    return Calibration(auc=auc(p_N, solved_N), base_rate=float(solved_N.mean()), n=len(solved_N))


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
