"""Hypervolume against inclusion and exclusion of boxes, dominance against its definition, ratios by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from curricula.types import Floats
from evaluators.frontier import frontier, hypervolume, retention, token_efficiency
from evaluators.paired import GradedRuns


def make_runs(counts_K: list[int], n_questions: int = 100, tokens: int = 10) -> GradedRuns:
    """As many of the first questions right as said, by seed."""
    return GradedRuns(
        questions_Q=tuple(f"q{index}" for index in range(n_questions)),
        seeds_K=tuple(range(len(counts_K))),
        correct_KQ=np.arange(n_questions) < np.array(counts_K)[:, None],
        output_tokens_KQ=np.full((len(counts_K), n_questions), tokens, dtype=np.int32),
    )


def boxes_volume(flops_P: Floats, accuracy_P: Floats, reference_flops: float, reference_accuracy: float) -> float:
    """The union of the points' boxes, by inclusion and exclusion over all subsets."""
    total = 0.0
    for size in range(1, len(flops_P) + 1):
        for chosen in itertools.combinations(range(len(flops_P)), size):
            decades = math.log10(reference_flops / max(flops_P[list(chosen)]))
            height = min(accuracy_P[list(chosen)]) - reference_accuracy
            total -= (-1) ** size * max(decades, 0.0) * max(height, 0.0)
    return total


@pytest.mark.parametrize("seed", range(40))
def test_hypervolume_is_that_of_the_union_of_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    flops_P = 10.0 ** rng.choice([rng.uniform(11, 15, n), rng.integers(11, 15, n)])  # whole decades tie
    accuracy_P = np.round(rng.random(n), int(rng.integers(1, 6)))
    for reference_flops, reference_accuracy in ((1e14, 0.0), (3e13, 0.25)):
        got = hypervolume(flops_P, accuracy_P, reference_flops=reference_flops, reference_accuracy=reference_accuracy)
        assert got == pytest.approx(boxes_volume(flops_P, accuracy_P, reference_flops, reference_accuracy), abs=1e-12)


def test_hypervolume_does_not_depend_on_units_order_or_dominated_points() -> None:
    flops_P, accuracy_P = np.array([1e12, 1e13, 3e13]), np.array([0.3, 0.5, 0.8])
    volume = hypervolume(flops_P, accuracy_P, reference_flops=1e14)
    assert hypervolume(flops_P * 1e-12, accuracy_P, reference_flops=1e2) == pytest.approx(volume)
    assert hypervolume(flops_P[::-1], accuracy_P[::-1], reference_flops=1e14) == pytest.approx(volume)
    worse = hypervolume(np.append(flops_P, 2e13), np.append(accuracy_P, 0.4), reference_flops=1e14)
    better = hypervolume(np.append(flops_P, 2e13), np.append(accuracy_P, 0.6), reference_flops=1e14)
    assert worse == pytest.approx(volume)
    assert better > volume


def test_hypervolume_without_points_is_nothing() -> None:
    assert hypervolume(np.array([]), np.array([]), reference_flops=1e14) == 0.0


def test_dominance_is_as_defined() -> None:
    counts = {"a": [30, 31, 32], "b": [50, 51, 52], "c": [49, 50, 51], "d": [50, 51, 52], "e": [20, 21, 22]}
    flops = {"a": 1e12, "b": 2e12, "c": 2e12, "d": 2e12, "e": 8e12}
    found = frontier(
        {name: make_runs(counts_K) for name, counts_K in counts.items()},
        flops,
        reference_flops=1e14,
        seed=0,
        resamples=50,
    )
    assert [point.name for point in found.points] == ["a", "b", "c", "d", "e"]
    for point in found.points:
        mine = (-flops[point.name], sum(counts[point.name]))
        others = {name: (-flops[name], sum(counts[name])) for name in counts}
        assert point.dominated_by == tuple(
            name for name, their in others.items() if their != mine and their[0] >= mine[0] and their[1] >= mine[1]
        )
    # b and d tie in both, and neither dominates the other.
    assert [point.name for point in found.points if point.on_frontier] == ["a", "b", "d"]


def test_domination_is_sure_where_the_paired_interval_says_so() -> None:
    runs = {"good": make_runs([80, 82, 81]), "close": make_runs([79, 75, 83]), "poor": make_runs([40, 43, 44])}
    found = frontier(runs, dict.fromkeys(runs, 6e12), reference_flops=1e13, seed=0, resamples=50)
    points = {point.name: point for point in found.points}
    assert points["poor"].dominated_by == points["poor"].surely_dominated_by == ("close", "good")
    assert points["close"].dominated_by == ("good",)
    assert points["close"].surely_dominated_by == ()
    single = frontier(
        {name: make_runs([count]) for name, count in (("good", 90), ("poor", 10))},
        {"good": 1e12, "poor": 1e12},
        reference_flops=1e13,
        seed=0,
    )
    assert single.points[1].dominated_by == ("good",)
    assert single.points[1].surely_dominated_by == ()  # a single seed decides nothing
    assert single.hypervolume.interval is None


@pytest.mark.parametrize("n_seeds", [3, 6])
def test_the_frontier_carries_intervals(n_seeds: int) -> None:
    rng = np.random.default_rng(0)
    runs = {
        name: make_runs(rng.integers(level, level + 10, n_seeds).tolist()) for name, level in (("a", 30), ("b", 60))
    }
    flops = {"a": 1e12, "b": 1e13}
    found = frontier(runs, flops, reference_flops=1e14, reference_accuracy=0.1, seed=0, resamples=500)
    accuracy_P = np.array([point.accuracy.value for point in found.points])
    expected = hypervolume(np.array([1e12, 1e13]), accuracy_P, reference_flops=1e14, reference_accuracy=0.1)
    assert found.hypervolume.value == pytest.approx(expected)
    interval = found.hypervolume.interval
    assert interval is not None and interval.low < expected < interval.high
    assert all(point.accuracy.interval is not None for point in found.points)


def test_retention_and_efficiency_by_hand() -> None:
    short, raw = make_runs([60, 66], tokens=20), make_runs([80, 70], tokens=200)
    kept = retention(short, raw, seed=0, resamples=200)
    per_token = token_efficiency(short, raw, seed=0, resamples=200)
    assert kept is not None and kept.value == pytest.approx(126 / 150)
    assert per_token is not None and per_token.value == pytest.approx(126 / 150 * 10)
    for estimate in (kept, per_token):
        for interval in (estimate.interval, estimate.given_seeds):
            assert interval is not None and 0 < interval.low < estimate.value < interval.high
    itself = retention(raw, raw, seed=0, resamples=200)
    assert itself is not None and (itself.value, itself.interval) == (1.0, None)


def test_no_right_answers_and_empty_outputs_are_not_divided_by() -> None:
    none, some, silent = make_runs([0, 0]), make_runs([50, 60]), make_runs([50, 60], tokens=0)
    assert retention(some, none, seed=0) is None
    assert token_efficiency(some, none, seed=0) is None
    assert token_efficiency(silent, some, seed=0) is None


def test_what_cannot_be_compared_is_refused() -> None:
    runs = {"a": make_runs([50, 60]), "b": make_runs([50, 60], n_questions=70)}
    flops = {"a": 1e12, "b": 1e12}
    with pytest.raises(ValueError, match="different questions"):
        frontier(runs, flops, reference_flops=1e14, seed=0)
    with pytest.raises(ValueError, match="different questions"):
        retention(runs["a"], runs["b"], seed=0)
    with pytest.raises(ValueError, match="same seeds"):
        token_efficiency(runs["a"], dataclasses.replace(runs["a"], seeds_K=(3, 4)), seed=0)
    with pytest.raises(ValueError, match="same configurations"):
        frontier(runs, {"a": 1e12}, reference_flops=1e14, seed=0)
    with pytest.raises(ValueError, match=r"positive and finite, got 0\.0 for b"):
        frontier(runs, flops | {"b": 0.0}, reference_flops=1e14, seed=0)
    with pytest.raises(ValueError, match="no runs"):
        frontier({}, {}, reference_flops=1e14, seed=0)
    with pytest.raises(ValueError, match="as many as each other"):
        hypervolume(np.array([1e12]), np.array([]), reference_flops=1e14)
