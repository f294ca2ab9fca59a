"""Intervals against tables of t, small bootstraps written out in full, and simulated runs whose truth is known."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from curricula.types import Bools, Floats
from evaluators.accuracy import wilson
from evaluators.paired import GradedRuns, difference, mean_accuracy, ratio, stack
from evaluators.resampling import Interval, resample

T_975 = {1: 12.706205, 2: 4.302653, 3: 3.182446, 4: 2.776445}
"""By degrees of freedom, from a table."""


def make_runs(correct_KQ: Bools, tokens: int = 1) -> GradedRuns:
    n_seeds, n_questions = correct_KQ.shape
    return GradedRuns(
        questions_Q=tuple(f"q{index}" for index in range(n_questions)),
        seeds_K=tuple(range(n_seeds)),
        correct_KQ=correct_KQ,
        output_tokens_KQ=np.full((n_seeds, n_questions), tokens, dtype=np.int32),
    )


def first_right(counts_K: list[int], n_questions: int = 20) -> GradedRuns:
    """As many of the first questions right as said, by seed."""
    return make_runs(np.arange(n_questions) < np.array(counts_K)[:, None])


def bounds(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def quantiles(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)


@pytest.mark.parametrize("n_seeds", [2, 3, 4])
def test_under_five_seeds_the_interval_is_that_of_a_paired_t_test(n_seeds: int) -> None:
    one, other = [9, 11, 12, 8][:n_seeds], [8, 9, 8, 7][:n_seeds]
    estimate = difference(first_right(one), first_right(other), seed=0, resamples=10)
    by_seed = (np.array(one) - np.array(other)) / 20
    half = T_975[n_seeds - 1] * by_seed.std(ddof=1) / math.sqrt(n_seeds)
    assert estimate.value == pytest.approx(by_seed.mean())
    assert bounds(estimate.interval) == pytest.approx(
        (max(by_seed.mean() - half, -1.0), min(by_seed.mean() + half, 1.0)), rel=1e-5
    )
    assert estimate.interval is not None and estimate.interval.source == "t over seeds"


def test_mean_accuracy_has_a_t_interval_over_five_seeds_too() -> None:
    counts = [9, 11, 12, 8, 10]
    estimate = mean_accuracy(first_right(counts), seed=0, resamples=10)
    half = T_975[4] * np.std(np.array(counts) / 20, ddof=1) / math.sqrt(5)
    assert estimate.value == pytest.approx(0.5)
    assert bounds(estimate.interval) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-5)


def test_a_single_seed_has_no_interval_over_seeds() -> None:
    one, other = first_right([12]), first_right([7])
    compared, alone = difference(one, other, seed=0), mean_accuracy(one, seed=0)
    over = ratio([one.correct_KQ], [other.correct_KQ], seed=0)
    assert over is not None
    assert compared.interval is alone.interval is over.interval is None
    assert compared.n_seeds == alone.n_seeds == over.n_seeds == 1
    assert compared.given_seeds is not None and compared.given_seeds.source == "bootstrap over questions"
    assert bounds(alone.given_seeds) == wilson(12, 20)


def test_five_seeds_are_resampled_with_the_questions_as_in_the_full_enumeration() -> None:
    rng = np.random.default_rng(3)
    column_CKQ = rng.integers(0, 50, (2, 5, 3)).astype(np.float64)
    means = resample(list(column_CKQ), seed=0, resamples=40_000)
    seeds = np.array(list(itertools.product(range(5), repeat=5)))
    questions = np.array(list(itertools.product(range(3), repeat=3)))
    by_seed = column_CKQ[:, :, questions].mean(axis=3)  # 2, 5 seeds, 27 draws of questions
    every = by_seed[:, seeds, :].mean(axis=2).reshape(2, -1)
    assert means.both_BC is not None
    for sampled, exact in zip(means.both_BC.T, every, strict=True):
        assert sampled.mean() == pytest.approx(exact.mean(), abs=0.1)
        assert sampled.std() == pytest.approx(exact.std(), rel=0.02)
    # The columns share their draws: the spread of their difference is that of the enumeration as well.
    estimate = means.estimate(lambda mean_C: mean_C[..., 0] - mean_C[..., 1])
    assert bounds(estimate.interval) == pytest.approx(quantiles(every[0] - every[1]), abs=0.4)
    assert estimate.interval is not None and estimate.interval.source == "bootstrap over seeds and questions"


def test_questions_alone_are_resampled_as_in_the_full_enumeration() -> None:
    one, other = np.array([[1, 1, 0, 1, 1]], dtype=bool), np.array([[0, 1, 0, 0, 1]], dtype=bool)
    draws = np.array(list(itertools.product(range(5), repeat=5)))
    exact = (one[0].astype(float) - other[0])[draws].mean(axis=1)
    estimate = difference(make_runs(one), make_runs(other), seed=0)
    assert bounds(estimate.given_seeds) == pytest.approx(quantiles(exact))


def test_chunks_of_resamples_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    column = np.random.default_rng(0).random((6, 30))
    whole = resample([column], seed=0, resamples=3000)
    monkeypatch.setattr("evaluators.resampling._CHUNK", 30 * 70)
    cut = resample([column], seed=0, resamples=3000)
    assert whole.both_BC is not None and cut.both_BC is not None
    assert cut.both_BC.shape == whole.both_BC.shape
    assert cut.both_BC.std() == pytest.approx(whole.both_BC.std(), rel=0.1)
    assert cut.questions_BC.mean() == pytest.approx(column.mean(), abs=0.01)


@pytest.mark.parametrize("n_seeds", [3, 6])
def test_intervals_cover_the_true_difference_about_as_often_as_they_say(n_seeds: int) -> None:
    covered = []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        hardness_Q = rng.uniform(-0.3, 0.3, 80)
        runs = [
            make_runs(rng.random((n_seeds, 80)) < level + rng.normal(0, 0.04, (n_seeds, 1)) + hardness_Q)
            for level in (0.6, 0.5)
        ]
        interval = difference(*runs, seed=0, resamples=400).interval
        if interval is not None:  # three seeds may agree by chance
            covered.append(interval.low <= 0.1 <= interval.high)
    assert len(covered) > 190
    assert 0.9 <= np.mean(covered) <= 0.995


def test_pairing_takes_out_what_questions_have_in_common() -> None:
    hard_Q = np.arange(200) % 2 == 0
    other = make_runs(np.tile(~hard_Q, (5, 1)))
    better_KQ = other.correct_KQ.copy()
    better_KQ[:, :20] = True  # ten of the hard ones as well
    low, high = bounds(difference(make_runs(better_KQ), other, seed=0).interval)
    assert 0.0 < low < 0.05 < high < 0.1


def test_the_seed_decides_the_resamples() -> None:
    rng = np.random.default_rng(0)
    one, other = make_runs(rng.random((5, 50)) < 0.6), make_runs(rng.random((5, 50)) < 0.5)
    assert difference(one, other, seed=1) == difference(one, other, seed=1)
    assert difference(one, other, seed=1) != difference(one, other, seed=2)


@pytest.mark.parametrize("n_seeds", [1, 3, 6])
def test_where_nothing_varies_no_interval_is_made_up(n_seeds: int) -> None:
    runs = first_right([12] * n_seeds)
    same = difference(runs, runs, seed=0)
    assert (same.value, same.interval, same.given_seeds) == (0.0, None, None)
    assert mean_accuracy(runs, seed=0).interval is None


def test_intervals_of_accuracy_stay_within_0_and_1() -> None:
    assert bounds(mean_accuracy(first_right([20, 15]), seed=0).interval)[1] == 1.0


def test_two_seeds_give_a_ratio_the_t_interval_of_its_logarithm() -> None:
    one, other = first_right([12, 10]), first_right([8, 9])
    estimate = ratio([one.correct_KQ], [other.correct_KQ], seed=0)
    assert estimate is not None and estimate.value == pytest.approx(22 / 17)
    half = T_975[1] * abs(math.log(12 / 8) - math.log(10 / 9)) / 2
    assert bounds(estimate.interval) == pytest.approx((22 / 17 * math.exp(-half), 22 / 17 * math.exp(half)), rel=1e-5)


def test_a_ratio_of_five_seeds_is_resampled_as_its_parts_are() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((5, 40)) < 0.7, rng.random((5, 40)) < 0.4
    means = resample([one, other], seed=5)
    assert means.both_BC is not None
    estimate = ratio([one], [other], seed=5)
    assert estimate is not None
    assert bounds(estimate.interval) == pytest.approx(quantiles(means.both_BC[:, 0] / means.both_BC[:, 1]))


def test_no_right_answer_is_not_divided_by() -> None:
    one, none, few = first_right([12]), first_right([0]), first_right([1])
    assert ratio([one.correct_KQ], [none.correct_KQ], seed=0) is None
    zero = ratio([none.correct_KQ], [one.correct_KQ], seed=0)
    assert zero is not None and zero.value == 0.0 and zero.interval is None
    # With one right answer in twenty, a third of all test sets redrawn have none.
    unbounded = ratio([one.correct_KQ], [few.correct_KQ], seed=0)
    assert unbounded is not None and unbounded.value == pytest.approx(12) and unbounded.given_seeds is None


def test_a_ratio_without_a_right_answer_in_one_of_few_seeds_has_no_t_interval() -> None:
    estimate = ratio([first_right([12, 11]).correct_KQ], [first_right([0, 9]).correct_KQ], seed=0)
    assert estimate is not None and estimate.value == pytest.approx(23 / 9) and estimate.interval is None


def test_runs_on_other_questions_or_seeds_are_refused() -> None:
    runs = first_right([12, 10])
    fewer = first_right([12, 10], n_questions=15)
    reordered = dataclasses.replace(runs, questions_Q=runs.questions_Q[::-1])
    reseeded = dataclasses.replace(runs, seeds_K=(0, 2))
    with pytest.raises(ValueError, match=r"20 and 15, 15 of them the same"):
        difference(runs, fewer, seed=0)
    with pytest.raises(ValueError, match="different orders"):
        difference(runs, reordered, seed=0)
    with pytest.raises(ValueError, match=r"\[0, 1\] and \[0, 2\]"):
        difference(runs, reseeded, seed=0)
    with pytest.raises(ValueError, match="different questions"):
        stack([runs, fewer])


def test_runs_of_one_configuration_are_put_together_by_seed() -> None:
    whole = first_right([12, 10, 9])
    parts = [
        dataclasses.replace(
            whole,
            seeds_K=(seed,),
            correct_KQ=whole.correct_KQ[[seed]],
            output_tokens_KQ=whole.output_tokens_KQ[[seed]],
        )
        for seed in range(3)
    ]
    together = stack(parts)
    assert together.seeds_K == (0, 1, 2)
    np.testing.assert_array_equal(together.correct_KQ, whole.correct_KQ)
    with pytest.raises(ValueError, match="seeds_K must be distinct"):
        stack([parts[0], parts[0]])
    with pytest.raises(ValueError, match="no runs"):
        stack([])


def test_shapes_that_do_not_fit_are_refused() -> None:
    runs = first_right([12, 10])
    with pytest.raises(ValueError, match=r"correct_KQ must have a row for each of 3 seeds.*\(2, 20\)"):
        dataclasses.replace(runs, seeds_K=(0, 1, 2))
    with pytest.raises(ValueError, match="at least one seed and one question"):
        make_runs(np.zeros((0, 4), dtype=bool))
    with pytest.raises(ValueError, match="columns of one shape"):
        resample([runs.correct_KQ, runs.correct_KQ[:1]], seed=0)
