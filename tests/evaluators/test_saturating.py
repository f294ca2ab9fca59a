"""The fit on simulated runs whose curve is known, against a general optimiser, and on data that must be refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import least_squares

from curricula.types import Floats
from evaluators.paired import GradedRuns
from evaluators.saturating import NotFitted, SaturatingFit, fit_saturating

FLOPS_M = np.geomspace(5e11, 6e13, 8)


def curve(flops: Floats, a: float, b: float, scale: float, k: float) -> Floats:
    return a + b * (1 - np.exp(-((flops / scale) ** k)))


def simulate(accuracy_M: Floats, *, n_seeds: int = 3, n_questions: int = 400, seed: int = 0) -> list[GradedRuns]:
    """Runs whose seeds differ by a point of accuracy; half of the answers are decided by how hard the question is."""
    rng = np.random.default_rng(seed)
    hardness_Q = rng.random(n_questions)
    runs = []
    for accuracy in accuracy_M:
        chance_K1 = accuracy + rng.normal(0, 0.01, (n_seeds, 1))
        shape = (n_seeds, n_questions)
        luck_KQ = np.where(rng.random(shape) < 0.5, hardness_Q, rng.random(shape))
        runs.append(
            GradedRuns(
                questions_Q=tuple(f"q{index}" for index in range(n_questions)),
                seeds_K=tuple(range(n_seeds)),
                correct_KQ=luck_KQ < chance_K1,
                output_tokens_KQ=np.ones(shape, dtype=np.int32),
            )
        )
    return runs


def fitted(accuracy_M: Floats, *, seed: int = 0, ceiling: float = 1.0, resamples: int = 100) -> SaturatingFit:
    fit = fit_saturating(
        FLOPS_M.tolist(), simulate(accuracy_M, seed=seed), ceiling=ceiling, seed=0, resamples=resamples
    )
    assert isinstance(fit, SaturatingFit), fit
    return fit


def refused(accuracy_M: Floats, flops_M: Floats = FLOPS_M, ceiling: float = 1.0) -> str:
    fit = fit_saturating(flops_M.tolist(), simulate(accuracy_M), ceiling=ceiling, seed=0, resamples=100)
    assert isinstance(fit, NotFitted), fit
    return fit.reason


def test_the_true_curve_is_covered_about_as_often_as_it_says() -> None:
    true = (0.1, 0.7, 3e12, 0.8)
    asymptotes, middles = [], []
    for seed in range(12):
        fit = fitted(curve(FLOPS_M, *true), seed=seed)
        asymptotes.append(fit.asymptote_interval.low <= 0.8 <= fit.asymptote_interval.high)
        middle = fit.interval(1e13)
        assert middle is not None
        middles.append(middle.low <= curve(np.array(1e13), *true) <= middle.high)
    assert sum(asymptotes) >= 10
    assert sum(middles) >= 10


def test_a_curve_without_noise_is_found() -> None:
    # Ten thousand questions in order of hardness: accuracies are exact to 1e-4.
    accuracy_M = curve(FLOPS_M, 0.05, 0.85, 4e12, 0.75)
    order_Q = (np.arange(10_000) + 0.5) / 10_000
    runs = [
        dataclasses.replace(run, correct_KQ=order_Q[None] < accuracy)
        for run, accuracy in zip(simulate(accuracy_M, n_seeds=1, n_questions=10_000), accuracy_M, strict=True)
    ]
    fit = fit_saturating(FLOPS_M.tolist(), runs, ceiling=1.0, seed=0, resamples=30)
    assert isinstance(fit, SaturatingFit), fit
    assert fit.error < 2e-3
    assert fit.asymptote == pytest.approx(0.9, abs=0.01)
    assert fit.k == pytest.approx(0.75, abs=0.051)
    assert fit.accuracy(6e12) == pytest.approx(float(curve(np.array(6e12), 0.05, 0.85, 4e12, 0.75)), abs=2e-3)
    assert fit.asymptote_interval.source == "bootstrap over questions"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("true", [(0.1, 0.7, 3e12, 0.8), (0.0, 0.85, 4e12, 1.0)])
def test_no_general_optimiser_finds_a_much_better_curve(seed: int, true: tuple[float, float, float, float]) -> None:
    fit = fitted(curve(FLOPS_M, *true), seed=seed, ceiling=0.95)
    runs = simulate(curve(FLOPS_M, *true), seed=seed)
    accuracy_M = np.array([run.correct_KQ.mean() for run in runs])

    def residual(parameters: Floats) -> Floats:
        a, share, log_scale, k = parameters  # share of what the ceiling leaves, so that a + b <= ceiling
        return curve(FLOPS_M, a, share * (0.95 - a), 10**log_scale, k) - accuracy_M

    other = least_squares(residual, (0.1, 0.8, 12.5, 0.7), bounds=((0, 0, 10, 0.1), (0.95, 1, 15, 1)))
    assert fit.error <= float(np.sqrt(np.mean(residual(other.x) ** 2))) + 1e-3
    a_B, b_B, g_B, k_B = np.vstack([fit.parameter_B4, [fit.a, fit.b, fit.g, fit.k]]).T
    assert (a_B >= 0).all() and (b_B > 0).all() and (a_B + b_B < 0.95).all()
    assert (g_B > 0).all() and (k_B > 0).all() and (k_B <= 1).all()


def test_order_of_budgets_does_not_matter_and_the_seed_decides() -> None:
    runs = simulate(curve(FLOPS_M, 0.1, 0.7, 3e12, 0.8))
    one = fit_saturating(FLOPS_M.tolist(), runs, ceiling=1.0, seed=0, resamples=50)
    other = fit_saturating(FLOPS_M[::-1].tolist(), runs[::-1], ceiling=1.0, seed=0, resamples=50)
    third = fit_saturating(FLOPS_M.tolist(), runs, ceiling=1.0, seed=1, resamples=50)
    assert isinstance(one, SaturatingFit) and isinstance(other, SaturatingFit) and isinstance(third, SaturatingFit)
    np.testing.assert_array_equal(one.parameter_B4, other.parameter_B4)
    assert one.asymptote_interval != third.asymptote_interval
    assert one.asymptote == third.asymptote


def test_too_few_budgets_are_refused() -> None:
    assert "4 distinct budgets" in refused(curve(FLOPS_M[::2], 0.1, 0.7, 3e12, 0.8), FLOPS_M[::2])


def test_accuracy_that_does_not_rise_is_refused() -> None:
    assert "flat within noise" in refused(np.full(8, 0.5))
    assert "flat within noise" in refused(np.linspace(0.6, 0.4, 8))


def test_a_valley_is_refused() -> None:
    assert "does not describe" in refused(np.array([0.5, 0.3, 0.2, 0.2, 0.4, 0.6, 0.75, 0.8]))


def test_an_asymptote_that_only_the_ceiling_sets_is_refused() -> None:
    assert "under the ceiling of 0.75" in refused(curve(FLOPS_M, 0.1, 0.7, 3e12, 0.8), ceiling=0.75)


@pytest.mark.parametrize("scale", [1e14, 1e15])
def test_a_rise_without_an_end_in_sight_is_refused(scale: float) -> None:
    reason = refused(curve(FLOPS_M, 0.1, 0.85, scale, 0.5))
    assert any(words in reason for words in ("asymptote is not known", "no end of the rise", "not identified"))


def test_input_that_makes_no_sense_is_an_error() -> None:
    runs = simulate(curve(FLOPS_M, 0.1, 0.7, 3e12, 0.8), n_seeds=1, n_questions=10)
    flops = FLOPS_M.tolist()
    with pytest.raises(ValueError, match="each budget needs its runs"):
        fit_saturating(flops[:-1], runs, ceiling=1.0, seed=0)
    with pytest.raises(ValueError, match="positive and distinct"):
        fit_saturating([flops[1], *flops[1:]], runs, ceiling=1.0, seed=0)
    with pytest.raises(ValueError, match="positive and distinct"):
        fit_saturating([0.0, *flops[1:]], runs, ceiling=1.0, seed=0)
    with pytest.raises(ValueError, match="ceiling must lie in"):
        fit_saturating(flops, runs, ceiling=80.0, seed=0)
    other = dataclasses.replace(runs[0], questions_Q=tuple(f"other {index}" for index in range(10)))
    with pytest.raises(ValueError, match="different questions"):
        fit_saturating(flops, [*runs[:-1], other], ceiling=1.0, seed=0)
