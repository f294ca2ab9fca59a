"""The rank statistic against two references, and the classifier against outcomes it was not fitted on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from curricula.difficulty import fit_difficulty
from curricula.types import ExampleTable, ProbeOutcomes, RunState, StageResult
from evaluators.accuracy import wilson
from evaluators.calibration import auc, difficulty_on_later_outcomes, later_outcomes, reliability_bins

calm = settings(deadline=None, derandomize=True)
EXAMPLES = 80


def make_table(n: int) -> ExampleTable:
    """Prompts that alternate between long (even rows) and short, one feature that says so and one of noise."""
    short_N = np.arange(n) % 2 == 1
    noise_N = np.random.default_rng(0).normal(size=n)
    return ExampleTable(
        tasks=("add",),
        supervisions=("answer",),
        task_N=np.zeros(n, dtype=np.int32),
        kind_N=np.zeros(n, dtype=np.int32),
        prompt_tokens_N=np.where(short_N, 5, 60).astype(np.int32),
        target_tokens_NS=np.full((n, 1), 3, dtype=np.int32),
        verified_NS=np.ones((n, 1), dtype=bool),
        train_flops_NS=np.full((n, 1), 1e6),
        answer_flops_N=np.full(n, 1e6),
        features_ND=np.stack([short_N, noise_N], axis=1).astype(np.float16),
    )


def make_stage(index: int, *, round: int, solved_N: np.ndarray | None) -> StageResult:
    probe = None
    if solved_N is not None:
        rows = np.arange(EXAMPLES, dtype=np.int32)
        probe = ProbeOutcomes(
            example_P=np.concatenate([rows, rows]),
            condition_P=("free",) * EXAMPLES + ("answer",) * EXAMPLES,
            solved_P=np.concatenate([solved_N, ~solved_N]),
            output_tokens_P=np.full(2 * EXAMPLES, 3, dtype=np.int32),
            loss_P=np.full(2 * EXAMPLES, 0.5),
        )
    nothing = np.empty(0, dtype=np.int32)
    return StageResult(
        index=index,
        round=round,
        name=f"stage {index}",
        plan_digest="",
        start=None,
        checkpoint=f"{index:04d}",
        state_digest="",
        steps=1,
        charges=(),
        losses=(),
        mix=(),
        example_R=nothing,
        supervision_R=nothing,
        seen_R=nothing,
        loss_R=np.empty(0, dtype=np.float32),
        probe=probe,
        score_M=None,
        score_example_M=None,
        score_supervision_M=None,
    )


def make_state(*stages: StageResult) -> RunState:
    table = make_table(EXAMPLES)
    return RunState(train=table, probe=table, total_flops=10**9, history=stages, checkpoints=(), seed=0)


def short_solved(noise: float, seed: int) -> np.ndarray:
    flipped = np.random.default_rng(seed).random(EXAMPLES) < noise
    return (np.arange(EXAMPLES) % 2 == 1) ^ flipped


@calm
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=60))
def test_auc_agrees_with_sklearn_and_with_counting_pairs(rows: list[tuple[int, bool]]) -> None:
    score_N = np.array([score for score, _ in rows], dtype=np.float64)
    label_N = np.array([label for _, label in rows])
    got = auc(score_N, label_N)
    if label_N.all() or not label_N.any():
        assert got is None
        return
    pairs = [(true > false) + 0.5 * (true == false) for true in score_N[label_N] for false in score_N[~label_N]]
    assert got == pytest.approx(np.mean(pairs))
    assert got == pytest.approx(roc_auc_score(label_N, score_N))


def test_auc_refuses_what_has_no_rank() -> None:
    with pytest.raises(ValueError, match="must not be NaN, got 1 of 2"):
        auc(np.array([np.nan, 1.0]), np.array([True, False]))
    with pytest.raises(ValueError, match="of one length"):
        auc(np.array([1.0]), np.array([True, False]))


def test_pooled_outcomes_are_one_sample() -> None:
    first = (np.array([0.1, 0.9]), np.array([False, True]))
    second = (np.array([0.5]), np.array([True]))
    pooled = later_outcomes([first, second])
    assert (pooled.auc, pooled.base_rate, pooled.n) == (1.0, 2 / 3, 3)
    assert later_outcomes([second]).auc is None
    with pytest.raises(ValueError, match="no outcomes"):
        later_outcomes([])


def test_squared_error_stands_beside_that_of_the_base_rate() -> None:
    rng = np.random.default_rng(3)
    p_N = rng.random(200)
    solved_N = rng.random(200) < p_N
    got = later_outcomes([(p_N, solved_N)])
    assert got.brier == pytest.approx(brier_score_loss(solved_N, p_N))
    assert got.base_brier == pytest.approx(brier_score_loss(solved_N, np.full(200, solved_N.mean())))
    assert got.brier is not None and got.base_brier is not None and got.brier < got.base_brier
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1.5"):
        later_outcomes([(np.array([1.5]), np.array([True]))])


def test_reliability_bins_hold_every_outcome_once_and_the_last_holds_certainty() -> None:
    p_N = np.array([0.0, 0.05, 0.31, 0.39, 0.35, 0.9, 1.0])
    solved_N = np.array([False, True, True, False, False, True, True])
    bins = reliability_bins(p_N, solved_N)
    assert [(one.low, one.n, one.solved) for one in bins] == [(0.0, 2, 0.5), (0.3, 3, 1 / 3), (0.9, 2, 1.0)]
    assert [one.mean_predicted for one in bins] == pytest.approx([0.025, 0.35, 0.95])
    assert bins[1].ci95 == wilson(1, 3)
    assert sum(one.n * one.solved for one in bins) == pytest.approx(solved_N.sum())


def test_a_classifier_is_judged_on_probes_after_its_fit() -> None:
    state = make_state(
        make_stage(0, round=0, solved_N=short_solved(0.1, 1)),
        make_stage(1, round=1, solved_N=None),
        make_stage(2, round=2, solved_N=short_solved(0.1, 2)),
    )
    fitted = fit_difficulty(dataclasses.replace(state, history=state.history[:2]))
    assert fitted is not None
    later = short_solved(0.1, 2)
    got = difficulty_on_later_outcomes(state)
    assert got is not None
    assert got.n == EXAMPLES
    assert got.base_rate == later.mean()
    assert got.auc == auc(fitted.p_solved_N(state.probe), later)
    assert got.auc is not None
    assert got.auc > 0.8


def test_a_run_that_turns_round_shows_a_classifier_that_did_not_know() -> None:
    state = make_state(
        make_stage(0, round=0, solved_N=short_solved(0.0, 0)), make_stage(1, round=1, solved_N=~short_solved(0.0, 0))
    )
    got = difficulty_on_later_outcomes(state)
    assert got is not None
    assert got.auc is not None
    assert got.auc < 0.2


def test_forks_of_one_round_are_not_predicted_from_each_other() -> None:
    alone = make_stage(0, round=0, solved_N=short_solved(0.1, 1))
    sibling = make_stage(1, round=0, solved_N=short_solved(0.1, 2))
    assert difficulty_on_later_outcomes(make_state(alone, sibling)) is None


def test_no_probe_with_a_history_is_no_calibration() -> None:
    assert difficulty_on_later_outcomes(make_state()) is None
    assert difficulty_on_later_outcomes(make_state(make_stage(0, round=0, solved_N=short_solved(0.1, 1)))) is None
