"""The saturating curve of accuracy against training FLOPs: acc(x) = a + b (1 - exp(-g x^k)).

Scale or Reason? (arXiv 2509.22193): a, b >= 0, a + b <= ceiling (the teacher's accuracy), g > 0, 0 < k <= 1. We fit by
least squares, weighted by the number of runs at a budget, where the paper takes the mean absolute error.

For fixed shape (g, k) the curve is linear in a and b, so the best a and b are had in closed form, inside the bounds,
and the shape by search over a grid: variable projection, Golub and Pereyra (1973), The differentiation of
pseudo-inverses and nonlinear least squares problems whose variables separate, SIAM Journal on Numerical Analysis 10,
413-432. It finds the best point of the grid, always, which no descent from a starting point promises; the grid's step
moves the curve by about a thousandth of accuracy, well under what test sets can tell.

A fit is refused, with a reason, unless all of these hold (the constants below are judgements, not results):

    1. There are at least MIN_BUDGETS distinct budgets: one more than there are parameters.
    2. Accuracy rises: the 95% interval of the largest budget's less the smallest's lies above 0.
    3. The curve describes the data: its root mean square error is at most MAX_ERROR of the range of the accuracies.
    4. No parameter is at a bound that the data did not set: not a + b at the ceiling, nor the exponent or scale at the
       edge of the grid, where no end of the rise is in sight. Allowed are a = 0 and k = 1, shapes like others.
    5. Nor is one in at least MIN_FITTED of the bootstrap's resamples.
    6. The asymptote a + b is known: its 95% interval is at most MAX_WIDTH wide.

The bootstrap redraws questions, the same ones for all budgets, and from the n runs of each budget n - 1, with
replacement: so few redrawn in full would show too small a spread (Rao and Wu, 1988, Resampling inference with complex
survey data, JASA 83, 231-241). A budget with one run is left as it is; then the intervals hold for these very students.

Axes: M budgets, J shapes of the grid, B resamples, Q questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curricula.types import Bools, Floats
from evaluators.paired import GradedRuns, check_same_questions
from evaluators.resampling import Interval, Source, percentiles

MIN_BUDGETS = 5
MAX_ERROR = 0.1
MIN_FITTED = 0.9
MAX_WIDTH = 0.2

_EXPONENTS = np.linspace(0.1, 1.0, 19)
_MARGIN = 10.0  # the scale is sought from the smallest budget over this to the largest times this
_STEPS_PER_DECADE = 40
_CHUNK = 100  # resamples fitted at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class SaturatingFit:
    """A fitted curve: accuracy = a + b (1 - exp(-g x^k)) at x training FLOPs.

    Example:
        fit.accuracy(6e12), fit.asymptote_interval.low
    """

    a: float
    b: float
    g: float  # per FLOP^k
    k: float
    asymptote_interval: Interval  # of a + b
    k_interval: Interval | None  # None where every resample had the same exponent
    error: float  # root mean square over budgets, in accuracy
    fitted: float  # share of resamples with no parameter at a bound; the intervals are theirs
    parameter_B4: Floats  # their a, b, g and k

    @property
    def asymptote(self) -> float:
        """a + b: the accuracy that no budget passes."""
        return self.a + self.b

    def accuracy(self, flops: float) -> float:
        """The curve at so many training FLOPs."""
        return self.a + self.b * -math.expm1(-self.g * flops**self.k)

    def interval(self, flops: float) -> Interval | None:
        """The curve's 95% interval at so many training FLOPs; None where all resamples agree.

        It is the uncertainty of the parameters, if the curve is the right one: far from the budgets, trust it less.
        """
        a_B, b_B, g_B, k_B = self.parameter_B4.T
        return percentiles(a_B - b_B * np.expm1(-g_B * flops**k_B), self.asymptote_interval.source)


@dataclass(frozen=True, kw_only=True)
class NotFitted:
    """Why these data cannot carry the curve.

    Example:
        NotFitted(reason="3 distinct budgets: a curve of four parameters needs 5")
    """

    reason: str


def fit_saturating(
    flops_M: Sequence[float], runs_M: Sequence[GradedRuns], *, ceiling: float, seed: int, resamples: int = 1000
) -> SaturatingFit | NotFitted:
    """Fit the curve to the mean accuracy at each budget, or say why not; deterministic in `seed`.

    Args:
        flops_M: training FLOPs of each budget, in any order.
        runs_M: its runs. All answered the same questions; seeds may differ from budget to budget.
        ceiling: what no student passes, in (0, 1]: the teacher's accuracy, or 1.

    Raises:
        ValueError: a budget stands twice or is not positive, the ceiling is outside (0, 1], there are no resamples,
            lengths differ, or the test sets do.
    """
    _check(flops_M, runs_M, ceiling, resamples)
    if len(flops_M) < MIN_BUDGETS:
        return NotFitted(reason=f"{len(flops_M)} distinct budgets: a curve of four parameters needs {MIN_BUDGETS}")
    order = sorted(range(len(flops_M)), key=lambda place: flops_M[place])
    runs_M = [runs_M[place] for place in order]
    curves = _Curves(np.array([flops_M[place] for place in order], dtype=np.float64), ceiling)
    weight_M = np.array([len(runs.seeds_K) for runs in runs_M], dtype=np.float64)
    accuracy_M = np.array([np.mean(runs.correct_KQ) for runs in runs_M], dtype=np.float64)
    accuracy_BM = _resampled(runs_M, seed, resamples)
    source: Source = "bootstrap over seeds and questions" if weight_M.min() > 1 else "bootstrap over questions"

    if np.quantile(accuracy_BM[:, -1] - accuracy_BM[:, 0], 0.025) <= 0:
        return NotFitted(reason="flat within noise: the largest budget's accuracy is not surely above the smallest's")
    (best,), inside_1 = curves.fit(accuracy_M[None], weight_M)
    error = math.sqrt(float(np.mean((curves.accuracy_M(best) - accuracy_M) ** 2)))
    if error > MAX_ERROR * float(np.ptp(accuracy_M)):
        return NotFitted(
            reason=f"the curve does not describe these accuracies: it misses them by {error:.3f} on average, and they "
            f"range over {float(np.ptp(accuracy_M)):.3f}"
        )
    if not inside_1[0]:
        return NotFitted(
            reason=f"no end of the rise is in sight under the ceiling of {ceiling:g}: a parameter is at its bound"
        )
    parameter_B4, inside_B = curves.fit(accuracy_BM, weight_M)
    fitted = float(np.mean(inside_B))
    if fitted < MIN_FITTED:
        return NotFitted(
            reason=f"not identified: of the bootstrap's resamples only {fitted:.0%} have their parameters within bounds"
        )
    parameter_B4 = parameter_B4[inside_B]
    asymptote = percentiles(parameter_B4[:, 0] + parameter_B4[:, 1], source)
    if asymptote is None or asymptote.high - asymptote.low > MAX_WIDTH:
        width = "of no width" if asymptote is None else f"[{asymptote.low:.2f}, {asymptote.high:.2f}]"
        return NotFitted(reason=f"the asymptote is not known: its 95% interval is {width}")
    a, b, g, k = best.tolist()
    return SaturatingFit(
        a=a,
        b=b,
        g=g,
        k=k,
        asymptote_interval=asymptote,
        k_interval=percentiles(parameter_B4[:, 3], source),
        error=error,
        fitted=fitted,
        parameter_B4=parameter_B4,
    )


def _check(flops_M: Sequence[float], runs_M: Sequence[GradedRuns], ceiling: float, resamples: int) -> None:
    if len(flops_M) != len(runs_M):
        raise ValueError(f"each budget needs its runs, got {len(flops_M)} budgets and {len(runs_M)} sets of runs")
    if len(set(flops_M)) < len(flops_M) or not all(math.isfinite(flops) and flops > 0 for flops in flops_M):
        raise ValueError(f"budgets must be positive and distinct, got {list(flops_M)}: stack the runs of one budget")
    if not 0.0 < ceiling <= 1.0 or resamples < 1:
        raise ValueError(f"ceiling must lie in (0, 1] and resamples be positive, got {ceiling} and {resamples}")
    for runs in runs_M[1:]:
        check_same_questions(runs_M[0], runs)


class _Curves:
    """Every shape of the grid at the budgets x_M: rise_JM = 1 - exp(-(x / scale_J)^k_J), with g = scale^-k."""

    def __init__(self, flops_M: Floats, ceiling: float) -> None:
        first, last = math.log(flops_M[0] / _MARGIN), math.log(flops_M[-1] * _MARGIN)
        log_scales = np.linspace(first, last, math.ceil((last - first) / math.log(10) * _STEPS_PER_DECADE))
        self.ceiling = ceiling
        self.flops_M = flops_M
        self.log_scale_J, self.k_J = (grid.ravel() for grid in np.meshgrid(log_scales, _EXPONENTS))
        self.rise_JM = -np.expm1(-np.exp(self.k_J[:, None] * (np.log(flops_M) - self.log_scale_J[:, None])))
        # The largest exponent is a bound of the model and may be reached: the curve is then a plain exponential.
        self.inside_J = (self.k_J > _EXPONENTS[0]) & (self.log_scale_J > first) & (self.log_scale_J < last)

    def accuracy_M(self, parameter_4: Floats) -> Floats:
        """A curve at the budgets."""
        a, b, g, k = parameter_4
        return a - b * np.expm1(-g * self.flops_M**k)

    def fit(self, accuracy_BM: Floats, weight_M: Floats) -> tuple[Floats, Bools]:
        """Best a, b, g and k (B, 4), and whether none is at a bound (B,)."""
        parts = [self._fit(accuracy_BM[at : at + _CHUNK], weight_M) for at in range(0, len(accuracy_BM), _CHUNK)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _fit(self, accuracy_BM: Floats, weight_M: Floats) -> tuple[Floats, Bools]:
        weight_M = weight_M / weight_M.sum()
        f_J, ff_J = self.rise_JM @ weight_M, self.rise_JM**2 @ weight_M
        y_B, yy_B = accuracy_BM @ weight_M, accuracy_BM**2 @ weight_M
        fy_BJ = (accuracy_BM * weight_M) @ self.rise_JM.T
        y_B1, yy_B1, top = y_B[:, None], yy_B[:, None], self.ceiling
        # The error is convex in (a, b): where its minimum is out of bounds, the least is on one of three edges.
        free = (fy_BJ - y_B1 * f_J) / np.maximum(ff_J - f_J**2, 1e-12)
        on_zero = np.clip(fy_BJ / ff_J, 0.0, top)  # a = 0
        on_top = np.clip((top * (1 - f_J) - y_B1 + fy_BJ) / np.maximum(1 - 2 * f_J + ff_J, 1e-12), 0.0, top)
        flat = np.broadcast_to(np.clip(y_B1, 0.0, top), fy_BJ.shape)  # b = 0
        candidates = (
            (y_B1 - free * f_J, free),
            (np.zeros_like(on_zero), on_zero),
            (top - on_top, on_top),
            (flat, np.zeros_like(flat)),
        )
        least_BJ, a_BJ, b_BJ = np.full_like(fy_BJ, np.inf), np.zeros_like(fy_BJ), np.zeros_like(fy_BJ)
        for a, b in candidates:
            error = yy_B1 - 2 * (a * y_B1 + b * fy_BJ) + a * a + 2 * a * b * f_J + b * b * ff_J
            better = (a >= 0) & (b >= 0) & (a + b <= top + 1e-12) & (error < least_BJ)
            least_BJ, a_BJ, b_BJ = (np.where(better, *pair) for pair in ((error, least_BJ), (a, a_BJ), (b, b_BJ)))
        best_B = least_BJ.argmin(axis=1)
        rows_B = np.arange(len(best_B))
        k_B = self.k_J[best_B]
        g_B = np.exp(-k_B * self.log_scale_J[best_B])
        a_B, b_B = a_BJ[rows_B, best_B], b_BJ[rows_B, best_B]
        inside_B = self.inside_J[best_B] & (b_B > 0) & (a_B + b_B < top - 1e-9)
        return np.stack([a_B, b_B, g_B, k_B], axis=1), inside_B


def _resampled(runs_M: Sequence[GradedRuns], seed: int, resamples: int) -> Floats:
    """Accuracy at each budget (B, M), with questions redrawn for all budgets alike and runs for each apart."""
    rng = np.random.default_rng(seed)
    n_questions = len(runs_M[0].questions_Q)
    correct_MKQ = [runs.correct_KQ.astype(np.float64) for runs in runs_M]
    accuracy_BM = np.empty((resamples, len(runs_M)))
    for row_M in accuracy_BM:
        share_Q = np.bincount(rng.integers(n_questions, size=n_questions), minlength=n_questions) / n_questions
        for place, correct_KQ in enumerate(correct_MKQ):
            by_seed_K = correct_KQ @ share_Q
            n_seeds = len(by_seed_K)
            row_M[place] = by_seed_K[rng.integers(n_seeds, size=max(1, n_seeds - 1))].mean()
    return accuracy_BM
