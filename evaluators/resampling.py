"""Intervals for anything computed from means over seeds and questions.

Which interval is given when, all at 95%, with K seeds:

    K = 1   none over seeds. `given_seeds` alone, which resamples questions: it is about these very students, and says
            nothing of what another seed would have given.
    2 to 4  a t interval over seeds, on these questions, with K - 1 degrees of freedom. Of a mean or a difference it is
            the ordinary one; of anything else, the jackknife's over seeds.
    K >= 5  percentiles of a two-level bootstrap: seeds and questions are redrawn, both with replacement and apart from
            each other, as every seed answered every question; all configurations share the draws. Efron and Tibshirani
            (1993), An introduction to the bootstrap, chapter 13; for crossed factors Owen (2007), The pigeonhole
            bootstrap, Annals of Applied Statistics 1, 386-411, by whom it errs on the wide side.

No interval has zero width: where nothing varies, no spread can be estimated, and none is given.

Axes: K seeds, Q questions, C columns (what is averaged), B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from curricula.types import Floats

ENOUGH_SEEDS = 5
"""From so many on, seeds are resampled."""

RESAMPLES = 10_000

_LOW, _HIGH = 0.025, 0.975
_NO_WIDTH = 1e-12
_CHUNK = 500_000  # resampled questions held at a time

Source = Literal["t over seeds", "bootstrap over seeds and questions", "bootstrap over questions", "Wilson"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95% interval, and what varied in it.

    Example:
        Interval(low=0.031, high=0.178, source="t over seeds")
    """

    low: float
    high: float
    source: Source


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its uncertainty.

    Example: a difference of two single runs.
        Estimate(value=0.11, n_seeds=1, interval=None, given_seeds=Interval(low=0.04, high=0.18,
                 source="bootstrap over questions"))
    """

    value: float
    n_seeds: int
    interval: Interval | None  # over seeds; None under two of them, and where nothing varied
    given_seeds: Interval | None  # over questions alone, for these very students


Statistic = Callable[[Floats], Floats]
"""From means (..., C) to values (...)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """Means of C columns by seed, and resampled in step with each other; from `resample`."""

    mean_KC: Floats  # over questions
    both_BC: Floats | None  # seeds and questions redrawn; None under `ENOUGH_SEEDS`
    questions_BC: Floats  # questions redrawn

    def estimate(
        self, statistic: Statistic, *, bounds: tuple[float, float] = (-np.inf, np.inf), logarithmic: bool = False
    ) -> Estimate:
        """A statistic of the means with the interval that the number of seeds allows.

        Args:
            bounds: the values it can take; a t interval is cut to them.
            logarithmic: for positive statistics, whether a t interval is taken of the logarithm.
        """
        if self.both_BC is None:
            interval = self.t_over_seeds(statistic, bounds=bounds, logarithmic=logarithmic)
        else:
            interval = percentiles(statistic(self.both_BC), "bootstrap over seeds and questions")
        return Estimate(
            value=float(statistic(self.mean_KC.mean(axis=0))),
            n_seeds=len(self.mean_KC),
            interval=interval,
            given_seeds=self.over_questions(statistic),
        )

    def over_questions(self, statistic: Statistic) -> Interval | None:
        """The percentile interval of a statistic with the students as they are."""
        return percentiles(statistic(self.questions_BC), "bootstrap over questions")

    def t_over_seeds(
        self, statistic: Statistic, *, bounds: tuple[float, float], logarithmic: bool = False
    ) -> Interval | None:
        """Value +- t times the jackknife's standard error over seeds; None under two, or without a finite spread.

        Tukey (1958), Bias and confidence in not-quite large samples, Annals of Mathematical Statistics 29, 614. With
        v_k the statistic without seed k, the squared error is (K - 1) / K sum (v_k - mean v)^2, which for a mean is
        s^2 / K.
        """
        n_seeds = len(self.mean_KC)
        if n_seeds < 2:
            return None
        value = statistic(self.mean_KC.mean(axis=0))
        without_K = statistic((self.mean_KC.sum(axis=0) - self.mean_KC) / (n_seeds - 1))
        if logarithmic:
            if not (value > 0 and (without_K > 0).all()):
                return None
            value, without_K = np.log(value), np.log(without_K)
        error = math.sqrt((n_seeds - 1) * float(np.var(without_K)))
        half = error * float(stdtrit(n_seeds - 1, _HIGH))
        low, high = float(value) - half, float(value) + half
        if logarithmic:
            low, high = math.exp(low), float(np.exp(min(high, 700.0)))
        if not half > _NO_WIDTH:
            return None
        return Interval(low=max(low, bounds[0]), high=min(high, bounds[1]), source="t over seeds")


def resample(columns: Sequence[NDArray[np.generic]], *, seed: int, resamples: int = RESAMPLES) -> Resampled:
    """Means of columns of one shape (K, Q), as measured and resampled, deterministic in `seed`.

    Raises:
        ValueError: shapes differ, or there is no column or no resample.
    """
    if resamples < 1 or len({np.shape(column) for column in columns}) != 1:
        raise ValueError(
            f"a bootstrap needs columns of one shape and resamples, got shapes {[np.shape(c) for c in columns]} and "
            f"{resamples} resamples"
        )
    column_CKQ = np.stack(columns).astype(np.float64)
    n_seeds, n_questions = column_CKQ.shape[1:]
    rng = np.random.default_rng(seed)
    column_CQ = column_CKQ.mean(axis=1)
    both, questions = [], []
    for share_BQ in _shares(n_questions, resamples, rng):
        questions.append(share_BQ @ column_CQ.T)
        if n_seeds >= ENOUGH_SEEDS:
            by_seed_BKC = np.einsum("bq,ckq->bkc", share_BQ, column_CKQ, optimize=True)
            draws_BK = rng.integers(n_seeds, size=(len(share_BQ), n_seeds))
            both.append(np.take_along_axis(by_seed_BKC, draws_BK[:, :, None], axis=1).mean(axis=1))
    return Resampled(
        mean_KC=column_CKQ.mean(axis=2).T,
        both_BC=np.concatenate(both) if both else None,
        questions_BC=np.concatenate(questions),
    )


def percentiles(value_B: Floats, source: Source) -> Interval | None:
    """The central 95% of resampled values, undefined ones at both ends; None without finite bounds, or width."""
    undefined_B = np.isnan(value_B)
    low_B, high_B = (np.sort(np.where(undefined_B, end, value_B)) for end in (-np.inf, np.inf))
    low = float(low_B[math.ceil(_LOW * len(value_B)) - 1])
    high = float(high_B[math.ceil(_HIGH * len(value_B)) - 1])
    if not (math.isfinite(low) and math.isfinite(high) and high - low > _NO_WIDTH):
        return None
    return Interval(low=low, high=high, source=source)


def _shares(n_questions: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Each question's share (B, Q) of a redrawn test set, a chunk of resamples at a time."""
    size = max(1, _CHUNK // n_questions)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        draws_BQ = rng.integers(n_questions, size=(rows, n_questions)) + np.arange(rows)[:, None] * n_questions
        yield np.bincount(draws_BQ.ravel(), minlength=rows * n_questions).reshape(rows, n_questions) / n_questions
