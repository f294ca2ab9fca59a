"""Intervals against their definition, and scores against plain counting."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.accuracy import Outputs, Scores, mean_of, score, wilson

calm = settings(deadline=None, derandomize=True)
counts = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def make_outputs(n: int = 60, seed: int = 0) -> Outputs:
    rng = np.random.default_rng(seed)
    return Outputs(
        correct_N=rng.random(n) < 0.6,
        output_tokens_N=rng.integers(1, 50, n).astype(np.int32),
        truncated_N=rng.random(n) < 0.1,
        task_N=tuple(f"task {index}" for index in rng.integers(0, 4, n)),
        kind_N=tuple("choice" if choice else "open" for choice in rng.random(n) < 0.3),
        domain_N=tuple("transfer" if away else "in_domain" for away in rng.random(n) < 0.2),
        graded_N=rng.random(n) < 0.8,
        parsed_N=rng.random(n) < 0.9,
        prompt_chars_N=rng.integers(5, 30, n).astype(np.int32),
    )


@calm
@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_bounds_solve_the_score_equation(pair: tuple[int, int], confidence: float) -> None:
    successes, n = pair
    low, high = wilson(successes, n, confidence)
    assert 0.0 <= low <= (successes / n if n else 0.5) <= high <= 1.0
    z = {0.5: 0.6744898, 0.9: 1.6448536, 0.95: 1.9599640, 0.99: 2.5758293}[confidence]
    for bound in (low, high):
        if 0.0 < bound < 1.0:
            assert abs(successes / n - bound) == pytest.approx(
                z * math.sqrt(bound * (1 - bound) / n), rel=1e-5, abs=1e-9
            )


@calm
@given(counts)
def test_interval_mirrors_when_successes_and_failures_swap(pair: tuple[int, int]) -> None:
    successes, n = pair
    low, high = wilson(successes, n)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low))


def test_interval_without_trials_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_interval_covers_the_true_share_about_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).binomial(30, 0.9, size=2000)
    covered = [low <= 0.9 <= high for low, high in (wilson(int(successes), 30) for successes in drawn)]
    assert 0.92 < np.mean(covered) < 0.98


@pytest.mark.parametrize(("successes", "n", "confidence"), [(-1, 3, 0.95), (4, 3, 0.95), (1, 3, 0.0), (1, 3, 1.0)])
def test_impossible_counts_are_refused(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        wilson(successes, n, confidence)


def test_groups_agree_with_counting_row_by_row() -> None:
    outputs = make_outputs()
    scores = score(outputs)
    assert outputs.graded_N is not None and outputs.parsed_N is not None
    for group_N, by in ((outputs.task_N, scores.by_task), (outputs.kind_N, scores.by_kind)):
        assert list(by) == sorted(set(group_N))
        for name, got in by.items():
            rows = [row for row, group in enumerate(group_N) if group == name]
            graded = [row for row in rows if outputs.graded_N[row]]
            tokens = {
                solved: [int(outputs.output_tokens_N[row]) for row in graded if outputs.correct_N[row] == solved]
                for solved in (True, False)
            }
            assert (got.n, got.ungraded) == (len(graded), len(rows) - len(graded))
            assert got.accuracy == len(tokens[True]) / len(graded)
            assert got.ci95 == wilson(len(tokens[True]), len(graded))
            lengths = sorted(int(outputs.output_tokens_N[row]) for row in rows)
            assert got.mean_output_tokens == pytest.approx(sum(lengths) / len(rows))
            assert got.p90_output_tokens == lengths[math.ceil(0.9 * len(rows)) - 1]
            for mean, of_those in ((got.right_output_tokens, tokens[True]), (got.wrong_output_tokens, tokens[False])):
                assert mean == pytest.approx(sum(of_those) / len(of_those))
            assert got.truncated == pytest.approx(sum(outputs.truncated_N[row] for row in rows) / len(rows))
            assert got.unparsable == pytest.approx(sum(not outputs.parsed_N[row] for row in rows) / len(rows))
    assert sum(got.n for got in scores.by_domain.values()) == scores.overall.n == outputs.graded_N.sum()
    assert scores.overall.accuracy == outputs.correct_N[outputs.graded_N].mean()


def test_a_group_of_which_nothing_was_graded_claims_nothing() -> None:
    nothing = dataclasses.replace(make_outputs(), graded_N=np.zeros(60, dtype=bool))
    overall = score(nothing).overall
    assert (overall.n, overall.ungraded, overall.ci95) == (0, 60, (0.0, 1.0))
    assert overall.right_output_tokens is None and overall.wrong_output_tokens is None


def test_a_mean_of_shares_has_an_interval_that_covers_it_often_enough() -> None:
    rng = np.random.default_rng(2)
    for alpha, beta in ((0.2, 0.1), (5.0, 1.0)):
        means = [mean_of(rng.beta(alpha, beta, size=20).tolist()) for _ in range(500)]
        truth = alpha / (alpha + beta)
        assert np.mean([mean.ci95[0] <= truth <= mean.ci95[1] for mean in means]) > 0.92
    assert mean_of([1.0] * 10).ci95 == wilson(10, 10)
    with pytest.raises(ValueError, match="must lie in"):
        mean_of([1.5])


def test_scores_survive_json() -> None:
    scores = score(make_outputs())
    assert Scores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def test_an_early_summary_is_read_with_what_it_has() -> None:
    data = score(make_outputs()).to_json()
    early = {name: data[name] for name in ("accuracy", "ci95", "n", "mean_output_tokens", "truncated")}
    scores = Scores.from_json(early | {"by_task": {}, "by_kind": {}, "by_domain": {}})
    assert scores.overall.accuracy == data["accuracy"]
    assert scores.overall.p90_output_tokens is None


def test_an_unreadable_score_is_named_by_its_place() -> None:
    data = score(make_outputs()).to_json()
    with pytest.raises(ValueError, match="test must be a mapping"):
        Scores.from_json(None, "test")
    with pytest.raises(ValueError, match=r"test\.accuracy must be a number, got 'high'"):
        Scores.from_json(data | {"accuracy": "high"}, "test")
    with pytest.raises(ValueError, match=r"test\.by_task\.add\.ci95 must be a pair"):
        Scores.from_json(data | {"by_task": {"add": {"accuracy": 1.0}}}, "test")


def test_an_empty_split_and_ragged_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="no outputs to score"):
        score(make_outputs(0))
    with pytest.raises(ValueError, match="of one length"):
        Outputs(
            correct_N=np.ones(2, dtype=bool),
            output_tokens_N=np.ones(2, dtype=np.int32),
            truncated_N=np.zeros(2, dtype=bool),
            task_N=("add",),
            kind_N=("open", "open"),
            domain_N=("in_domain", "in_domain"),
        )
