"""Runs of one configuration over seeds, and their differences and ratios, paired by seed and question.

Which interval is given for how many seeds: `evaluators.resampling`. Axes: K seeds, Q questions, C columns of numbers to
be averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.types import Bools, Floats, Ints
from evaluators.accuracy import wilson
from evaluators.resampling import RESAMPLES, Estimate, Interval, resample


@dataclass(frozen=True, kw_only=True, eq=False)
class GradedRuns:
    """Graded answers of K runs, which differ in their seed alone, to the same Q questions.

    Example: two seeds, three questions.
        GradedRuns(questions_Q=("q1", "q2", "q3"), seeds_K=(0, 1), correct_KQ=[[True, False, True], [True, True, True]],
                   output_tokens_KQ=[[2, 31, 2], [2, 12, 3]])
    """

    questions_Q: tuple[str, ...]  # ids
    seeds_K: tuple[int, ...]
    correct_KQ: Bools
    output_tokens_KQ: Ints

    def __post_init__(self) -> None:
        shape = (len(self.seeds_K), len(self.questions_Q))
        for name, array in (("correct_KQ", self.correct_KQ), ("output_tokens_KQ", self.output_tokens_KQ)):
            if np.shape(array) != shape:
                raise ValueError(
                    f"{name} must have a row for each of {shape[0]} seeds and a column for each of {shape[1]} "
                    f"questions, got shape {np.shape(array)}"
                )
        if not all(shape):
            raise ValueError(f"graded runs need at least one seed and one question, got {shape[0]} and {shape[1]}")
        for name, ids in (("questions_Q", self.questions_Q), ("seeds_K", self.seeds_K)):
            if len(set(ids)) < len(ids):
                raise ValueError(f"{name} must be distinct, got {len(ids)} of which {len(set(ids))} are")


def stack(runs: Sequence[GradedRuns]) -> GradedRuns:
    """The runs of one configuration, seeds in the order given.

    Raises:
        ValueError: there are none, a seed stands in two of them, or they answered different questions.
    """
    if not runs:
        raise ValueError("no runs to put together")
    for other in runs[1:]:
        check_same_questions(runs[0], other)
    return GradedRuns(
        questions_Q=runs[0].questions_Q,
        seeds_K=tuple(seed for run in runs for seed in run.seeds_K),
        correct_KQ=np.concatenate([run.correct_KQ for run in runs]),
        output_tokens_KQ=np.concatenate([run.output_tokens_KQ for run in runs]),
    )


def check_same_questions(one: GradedRuns, other: GradedRuns) -> None:
    """Refuse runs on different test sets.

    Raises:
        ValueError: the questions differ, or their order does.
    """
    if one.questions_Q == other.questions_Q:
        return
    shared = len(set(one.questions_Q) & set(other.questions_Q))
    if shared == len(one.questions_Q) == len(other.questions_Q):
        raise ValueError("runs answered the same questions in different orders: sort them by id first")
    raise ValueError(
        f"runs answered different questions ({len(one.questions_Q)} and {len(other.questions_Q)}, {shared} of them the "
        "same): only runs on one test set can be compared"
    )


def check_paired(one: GradedRuns, other: GradedRuns) -> None:
    """Refuse runs that cannot be paired by seed and question.

    Raises:
        ValueError: the questions or the seeds differ, or their order does.
    """
    check_same_questions(one, other)
    if one.seeds_K != other.seeds_K:
        raise ValueError(
            f"runs to be compared must have the same seeds in the same order, got {list(one.seeds_K)} and "
            f"{list(other.seeds_K)}"
        )


def mean_accuracy(runs: GradedRuns, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Mean accuracy over seeds, with the t interval over them from two seeds on, cut to [0, 1].

    `given_seeds` is Wilson's interval for a single run, else a bootstrap over questions, deterministic in `seed`.
    """
    means = resample([runs.correct_KQ], seed=seed, resamples=resamples)
    interval = means.t_over_seeds(_first, bounds=(0.0, 1.0))
    given_seeds = means.over_questions(_first)
    if len(runs.seeds_K) == 1:
        low, high = wilson(int(np.count_nonzero(runs.correct_KQ)), len(runs.questions_Q))
        given_seeds = Interval(low=low, high=high, source="Wilson")
    return Estimate(
        value=float(np.mean(runs.correct_KQ)), n_seeds=len(runs.seeds_K), interval=interval, given_seeds=given_seeds
    )


def difference(one: GradedRuns, other: GradedRuns, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Accuracy of `one` less accuracy of `other`, in [-1, 1], paired by seed and question; deterministic in `seed`.

    Raises:
        ValueError: the runs cannot be paired: see `check_paired`.
    """
    check_paired(one, other)
    means = resample([one.correct_KQ, other.correct_KQ], seed=seed, resamples=resamples)
    return means.estimate(lambda mean_C: mean_C[..., 0] - mean_C[..., 1], bounds=(-1.0, 1.0))


def ratio(
    above: Sequence[NDArray[np.generic]],
    below: Sequence[NDArray[np.generic]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """Product of the means of the columns above over that of those below, each column (K, Q) and none negative.

    Under five seeds the t interval is taken of its logarithm, so that its bounds are positive. A resample in which a
    mean below is zero counts as both below and above everything; an interval without finite bounds is not given.

    Returns:
        None where a mean below is zero: nothing is divided by no right answers.

    Example: accuracy for accuracy.
        ratio([one.correct_KQ], [other.correct_KQ], seed=0)
    """
    means = resample([*above, *below], seed=seed, resamples=resamples)
    if not means.mean_KC.mean(axis=0)[len(above) :].all():
        return None

    def quotient(mean_C: Floats) -> Floats:
        top, bottom = np.prod(mean_C[..., : len(above)], axis=-1), np.prod(mean_C[..., len(above) :], axis=-1)
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)

    return means.estimate(quotient, logarithmic=True)


def _first(mean_C: Floats) -> Floats:
    return mean_C[..., 0]
