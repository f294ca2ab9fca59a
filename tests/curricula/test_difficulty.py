"""Text features are stable and local; difficulty is calibrated, recent, deterministic, and honest about ignorance."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curricula.difficulty import MIN_ROWS, fit_difficulty
from curricula.features import BUCKETS, STATISTICS, text_features
from curricula.policies import Mixed
from curricula.types import ExampleTable, RunState
from tests.curricula.states import feature_table, probed_state, rehearsal_of, run_policy

Measured = tuple[np.ndarray, np.ndarray, np.ndarray]


def _free(example_P: np.ndarray, solved_P: np.ndarray) -> dict[str, Measured]:
    return {"free": (example_P, solved_P, np.full(len(example_P), np.nan))}


def _column(name: str) -> int:
    return STATISTICS.index(name)


def test_features_count_what_a_reader_would_count() -> None:
    row = text_features(["Add 12 + 3456 =?\nThen 7"], ["choice"], [["a", "bc"]])[0].astype(float)
    expected = {
        "log characters": np.log1p(23),
        "log words": np.log1p(8),
        "log digits": np.log1p(7),
        "log numbers": np.log1p(3),
        "digits of the longest number": 4,
        "log operators": np.log1p(2),
        "log line breaks": np.log1p(1),
        "log capitals": np.log1p(2),
        "is multiple choice": 1,
        "number of choices": 2,
        "log characters of the choices": np.log1p(3),
    }
    for name, value in expected.items():
        assert row[_column(name)] == pytest.approx(value, rel=2e-3), name


def test_hashed_words_match_a_plain_crc32_count() -> None:
    row = text_features(["red fish blue fish"], ["open"], [[]])[0].astype(float)
    sums = np.zeros(BUCKETS)
    for word in ("red", "fish", "blue", "fish"):
        code = zlib.crc32(word.encode())
        sums[code % BUCKETS] += 1 if (code >> 16) & 1 else -1
    assert row[len(STATISTICS) :] == pytest.approx(np.sign(sums) * np.log1p(np.abs(sums)), rel=2e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=6))
def test_a_row_depends_on_its_own_prompt_alone(prompts: list[str]) -> None:
    together = text_features(prompts, ["open"] * len(prompts), [()] * len(prompts))
    assert together.dtype == np.float16
    assert together.shape == (len(prompts), len(STATISTICS) + BUCKETS)
    assert np.isfinite(together).all()
    for row, prompt in enumerate(prompts):
        assert np.array_equal(text_features([prompt], ["open"], [()])[0], together[row])


def test_features_refuse_sequences_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="equally long, got 2, 1 and 2"):
        text_features(["a", "b"], ["open"], [(), ()])


def test_nothing_is_said_from_nothing() -> None:
    table = feature_table(np.zeros((40, 3)))
    assert fit_difficulty(probed_state(table, table, [])) is None
    few = np.arange(MIN_ROWS - 1)
    assert fit_difficulty(probed_state(table, table, [_free(few, few % 2 == 0)])) is None


@pytest.mark.parametrize("solved", [True, False])
def test_unanimous_outcomes_give_everyone_the_same_cautious_chance(solved: bool) -> None:
    table = feature_table(np.random.default_rng(0).normal(size=(40, 3)))
    difficulty = fit_difficulty(probed_state(table, table, [_free(np.arange(40), np.full(40, solved))]))
    assert difficulty is not None
    expected = (40 * solved + 0.5) / 41
    assert difficulty.p_solved_N(table) == pytest.approx(np.full(40, expected), abs=1e-3)


def test_probabilities_are_calibrated_on_examples_never_probed() -> None:
    rng = np.random.default_rng(3)
    features_ND = rng.normal(size=(20_300, 6))
    truth_N = 1 / (1 + np.exp(-(1.5 * features_ND[:, 0] - 1.0 * features_ND[:, 1] + 0.5)))
    solved_N = rng.random(len(truth_N)) < truth_N
    probe, train = feature_table(features_ND[:300]), feature_table(features_ND[300:])
    difficulty = fit_difficulty(probed_state(train, probe, [_free(np.arange(300), solved_N[:300])]))
    assert difficulty is not None
    p_N = difficulty.p_solved_N(train)
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (p_N >= low) & (p_N < low + 0.25)
        assert p_N[inside].mean() == pytest.approx(solved_N[300:][inside].mean(), abs=0.1)
    assert np.corrcoef(p_N, truth_N[300:])[0, 1] > 0.95


def _two_tasks() -> ExampleTable:
    rng = np.random.default_rng(1)
    return feature_table(rng.normal(size=(200, 4)), task_N=np.arange(200) % 2, tasks=2)


def test_a_task_with_its_own_rate_is_told_apart_by_name() -> None:
    table = _two_tasks()
    rows = np.arange(60)
    difficulty = fit_difficulty(probed_state(table, table, [_free(rows, rows % 2 == 0)]))
    assert difficulty is not None
    p_N = difficulty.p_solved_N(table)
    assert p_N[0::2].min() > 0.6
    assert p_N[1::2].max() < 0.4


def test_recent_outcomes_weigh_more() -> None:
    table = _two_tasks()
    early, late = np.arange(0, 60), np.arange(60, 120)
    difficulty = fit_difficulty(
        probed_state(table, table, [_free(early, np.zeros(60)), _free(early, np.zeros(60)), _free(late, np.ones(60))])
    )
    assert difficulty is not None
    # Weights 1/4, 1/2 and 1 of equally many outcomes: 1 / 1.75 of the weight is on solved.
    assert difficulty.p_solved_N(table).mean() == pytest.approx(1 / 1.75, abs=0.08)


def test_forced_outcomes_tell_the_reach_and_the_gain_of_a_supervision() -> None:
    table = _two_tasks()
    rows = np.arange(80)
    even = rows % 2 == 0
    loss = np.full(80, 0.1)
    state = probed_state(
        table,
        table,
        [{**_free(rows, rows % 8 == 0), "reasoning": (rows, even, loss), "answer": (rows, np.zeros(80), loss)}],
    )
    difficulty = fit_difficulty(state)
    assert difficulty is not None
    gain_NS = difficulty.gain_NS(table)
    assert gain_NS[0::2, 1].min() > 0.3
    assert gain_NS[1::2, 1].max() < 0.3
    assert gain_NS[:, 0].max() < 0.05


def test_reach_is_unknown_where_not_offered_and_where_never_measured_nor_trained() -> None:
    table = _two_tasks()
    rows = np.arange(40)
    difficulty = fit_difficulty(probed_state(table, table, [_free(rows, rows % 3 == 0)]))
    assert difficulty is not None
    assert np.isnan(difficulty.reach_NS(table)).all()
    assert np.isnan(difficulty.gain_NS(table)).all()


def test_training_losses_stand_in_where_no_forced_outcome_was_bought() -> None:
    rehearsal = rehearsal_of(30)
    shares = (("answer", 0.5), ("compressed:steps", 0.5))
    state, _ = run_policy(Mixed(shares=shares, probe_examples=40), rehearsal)
    difficulty = fit_difficulty(state)
    assert difficulty is not None
    reach_NS = difficulty.reach_NS(state.train)
    assert np.isnan(reach_NS[:, 1]).all()
    reflex_N, chain_N = rehearsal.family_N == 0, rehearsal.family_N == 3
    assert np.median(reach_NS[reflex_N, 0]) > np.median(reach_NS[chain_N, 0]) + 0.3


def test_the_same_history_gives_the_same_fit_whatever_the_table_order() -> None:
    state, _ = run_policy(Mixed(shares=(("answer", 1.0),), probe_examples=60), rehearsal_of(20))
    first, second = fit_difficulty(state), fit_difficulty(replace(state))
    assert first is not None
    assert second is not None
    p_N = first.p_solved_N(state.train)
    assert np.array_equal(p_N, second.p_solved_N(state.train))
    backwards = _reordered(state)
    assert np.allclose(first.p_solved_N(backwards.train)[::-1], p_N, atol=1e-6)


def _reordered(state: RunState) -> RunState:
    table = state.train
    flipped = replace(
        table,
        task_N=table.task_N[::-1],
        kind_N=table.kind_N[::-1],
        prompt_tokens_N=table.prompt_tokens_N[::-1],
        target_tokens_NS=table.target_tokens_NS[::-1],
        features_ND=table.features_ND[::-1],
    )
    return replace(state, train=flipped)


def test_chances_are_the_same_bit_for_bit_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(3)
    table = feature_table(rng.normal(size=(60_000, 31)))
    probed = np.arange(200)
    difficulty = fit_difficulty(probed_state(table, table, [_free(probed, table.features_ND[:200, 0] > 0)]))
    assert difficulty is not None
    p_N = difficulty.p_solved_N(table)
    for threads in (1, 2, 3, 5, 7):
        with threadpool_limits(threads, user_api="blas"):
            assert np.array_equal(difficulty.p_solved_N(table), p_N)
