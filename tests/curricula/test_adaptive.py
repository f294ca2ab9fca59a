"""What the default policy decides, on histories made by hand: nats of a whole target by task, supervision and stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from curricula.contract import check_policy
from curricula.policies import Adaptive
from curricula.policies.adaptive import DONE_NATS, price_flops, shares_by_need
from curricula.probes import probe_reserve_flops
from curricula.rehearsal import synthetic_rehearsal
from curricula.types import Charge, ExampleTable, ProbeOutcomes, RunState, StagePlan, StageResult, TrainingLoss
from tests.curricula.states import run_policy

LIGHT, MIDDLE, DEEP = "answer", "compressed:steps", "reasoning"
TOKENS = {"answer": 2, "short": 20, "compressed:steps": 12, "compressed:equations": 12, "reasoning": 90}
TOTAL_FLOPS = 10**12
STAGE_FLOPS = 10**9  # of one task under one supervision
FALLING = (64.0, 32.0, 16.0, 8.0, 4.0, 2.6, 1.7, 1.1)
STILL = (40.0,) * 8
# Light losses that fall at first, so that the task stays light, and then stand still.
FALLING_THEN_STILL = (8.0, 6.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)
SLOW = (40.0, 39.9, 39.8, 39.7, 39.6, 39.5, 39.4, 39.3)

Curves = dict[tuple[str, str], tuple[float, ...]]


def table_of(
    tasks: tuple[str, ...], *, supervisions: tuple[str, ...] = (LIGHT, MIDDLE, DEEP), each: int = 20
) -> ExampleTable:
    """`each` examples a task, of one length; the only feature is 1 for every second example, else -1."""
    count = each * max(len(tasks), 1)
    tokens_NS = np.tile(np.array([TOKENS[name] for name in supervisions], dtype=np.int32), (count, 1))
    return ExampleTable(
        tasks=tasks,
        supervisions=supervisions,
        task_N=np.repeat(np.arange(len(tasks)), each).astype(np.int32) if tasks else np.full(count, -1, dtype=np.int32),
        kind_N=np.zeros(count, dtype=np.int32),
        prompt_tokens_N=np.full(count, 10, dtype=np.int32),
        target_tokens_NS=tokens_NS,
        verified_NS=np.ones(tokens_NS.shape, dtype=bool),
        train_flops_NS=1.0e6 * (10.0 + tokens_NS.astype(np.float64)),
        answer_flops_N=np.full(count, 1.0e7),
        features_ND=np.where(np.arange(count) % 2, -1.0, 1.0).astype(np.float16)[:, None],
    )


def state_of(
    table: ExampleTable,
    curves: Curves,
    *,
    stages: int,
    spent: float | None = None,
    probe: ProbeOutcomes | None = None,
) -> RunState:
    """A state after so many stages, which spent an equal part each of `spent`: by default a sixteenth of the budget."""
    stage_flops = int((stages / 16 if spent is None else spent) * TOTAL_FLOPS / max(stages, 1))
    history = tuple(
        _result(index, losses_of(curves, index), stage_flops, probe if index == stages - 1 else None)
        for index in range(stages)
    )
    return RunState(
        train=table,
        probe=table,
        total_flops=TOTAL_FLOPS,
        history=history,
        checkpoints=tuple(result.checkpoint for result in history[-1:]),
        seed=0,
    )


def losses_of(curves: Curves, stage: int) -> tuple[TrainingLoss, ...]:
    return tuple(
        TrainingLoss(
            task=task,
            supervision=supervision,
            examples=10,
            supervised_tokens=10 * TOKENS[supervision],
            loss=nats[stage] / TOKENS[supervision],
            flops=STAGE_FLOPS,
        )
        for (task, supervision), nats in curves.items()
        if stage < len(nats)
    )


def _result(index: int, losses: tuple[TrainingLoss, ...], flops: int, probe: ProbeOutcomes | None) -> StageResult:
    empty_R = np.zeros(0, dtype=np.int32)
    return StageResult(
        index=index,
        round=index,
        name="by hand",
        plan_digest="",
        start=None,
        checkpoint=f"{index:04d}",
        state_digest="",
        steps=1,
        charges=(Charge(purpose="train", flops=flops, positions=1, tokens=1),),
        losses=losses,
        mix=(),
        example_R=empty_R,
        supervision_R=empty_R,
        seen_R=empty_R,
        loss_R=np.zeros(0, dtype=np.float32),
        probe=probe,
        score_M=None,
        score_example_M=None,
        score_supervision_M=None,
    )


def planned(state: RunState, policy: Adaptive | None = None) -> StagePlan:
    plan = (policy or Adaptive()).next_stage(state)
    assert plan is not None
    return plan


def chosen(state: RunState, policy: Adaptive | None = None) -> list[str]:
    """The supervision that each task stands under; every example of it must."""
    plan = planned(state, policy)
    task_R = state.train.task_N[plan.example_R]
    found = []
    for task in np.unique(task_R):
        (column,) = np.unique(plan.supervision_R[task_R == task])
        found.append(state.train.supervisions[column])
    return found


def task_flops(state: RunState, plan: StagePlan, task: int) -> float:
    """What a task gets of a plan, as a share of all FLOPs."""
    flops_R = plan.share_R * state.train.train_flops_NS[plan.example_R, plan.supervision_R]
    return float(flops_R[state.train.task_N[plan.example_R] == task].sum() / flops_R.sum())


def test_adaptive_keeps_the_contract() -> None:
    check_policy(Adaptive())


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_the_warmup_shows_light_and_middle_side_by_side_at_equal_cost(stages: int) -> None:
    state = state_of(table_of(("a",)), {}, stages=stages)
    plan = planned(state)
    flops_R = plan.share_R * state.train.train_flops_NS[plan.example_R, plan.supervision_R]
    assert flops_R[plan.supervision_R == 0].sum() == pytest.approx(flops_R[plan.supervision_R == 1].sum())
    assert not np.any(plan.supervision_R == 2)
    assert plan.ceiling_flops + probe_reserve_flops(state.probe, plan.probe) <= TOTAL_FLOPS // 16 + 1


def test_a_task_whose_light_losses_fall_like_its_middle_ones_stays_light() -> None:
    curves: Curves = {("a", LIGHT): FALLING, ("a", MIDDLE): FALLING, ("b", LIGHT): STILL, ("b", MIDDLE): FALLING}
    table = table_of(("a", "b"))
    for stages in (3, 6, 8):
        assert chosen(state_of(table, curves, stages=stages)) == [LIGHT, MIDDLE]


def test_light_may_be_dearer_by_its_bias_and_no_more() -> None:
    # At half the rate per FLOP, with the same loss now, light costs twice as much to learn.
    curves: Curves = {("a", LIGHT): (40.0, 20.0, 10.0), ("a", MIDDLE): (160.0, 40.0, 10.0)}
    state = state_of(table_of(("a",)), curves, stages=3)
    assert chosen(state, Adaptive(light_bias=2.05)) == [LIGHT]
    assert chosen(state, Adaptive(light_bias=1.95)) == [MIDDLE]


def test_light_losses_that_stand_still_after_a_fall_send_a_task_to_middle() -> None:
    table, curves = table_of(("a",)), {("a", LIGHT): FALLING_THEN_STILL, ("a", MIDDLE): SLOW}
    assert chosen(state_of(table, curves, stages=5)) == [LIGHT]
    assert chosen(state_of(table, curves, stages=6)) == [MIDDLE]


def test_middle_losses_that_stand_still_twice_running_send_a_task_to_deep() -> None:
    table, curves = table_of(("a",)), {("a", LIGHT): STILL, ("a", MIDDLE): STILL}
    assert chosen(state_of(table, curves, stages=5)) == [MIDDLE]
    assert chosen(state_of(table, curves, stages=6)) == [DEEP]
    # What was decided then is replayed, not taken back, however little is left of the budget.
    late = replace(
        state_of(table, {**curves, ("a", DEEP): STILL}, stages=8),
        history=(
            *state_of(table, curves, stages=6).history,
            *(_result(index, (), int(0.3 * TOTAL_FLOPS), None) for index in (6, 7)),
        ),
    )
    assert late.progress > 0.95
    assert chosen(late) == [DEEP]


@pytest.mark.parametrize(
    "nats",
    [
        (50.0, 40.0, 34.0, 30.0, 30.0, 30.0),  # stands still once: 30 after 30, but 30 after 34 before
        (50.0, 45.0, 40.0, 36.0, 32.0, 28.0),  # falls slowly
        (9.0, 3.0, 2.4, 2.4, 2.4, 2.4),  # stands still where a target is nearly learnt
    ],
)
def test_a_task_that_has_not_stood_still_twice_running_is_left_alone(nats: tuple[float, ...]) -> None:
    curves: Curves = {("a", LIGHT): STILL, ("a", MIDDLE): nats}
    assert chosen(state_of(table_of(("a",)), curves, stages=6)) == [MIDDLE]


def test_no_task_goes_deep_where_the_rest_of_the_budget_does_not_hold_it() -> None:
    table, curves = table_of(("a",)), {("a", LIGHT): STILL, ("a", MIDDLE): STILL}
    assert chosen(state_of(table, curves, stages=6, spent=0.91)) == [MIDDLE]
    assert chosen(state_of(table, curves, stages=6, spent=0.89)) == [DEEP]
    assert chosen(state_of(table, curves, stages=6, spent=0.89), Adaptive(deep_share=0.2)) == [MIDDLE]


def test_those_that_fell_least_go_deep_first_and_only_as_many_as_the_budget_holds() -> None:
    curves: Curves = {(task, LIGHT): STILL for task in "abc"}
    for task, rate in (("a", 0.98), ("b", 1.0), ("c", 0.99)):
        curves[task, MIDDLE] = tuple(40.0 * rate**stage for stage in range(6))
    table = table_of(("a", "b", "c"))
    assert chosen(state_of(table, curves, stages=6, spent=0.85)) == [MIDDLE, DEEP, MIDDLE]
    assert chosen(state_of(table, curves, stages=6, spent=0.75)) == [MIDDLE, DEEP, DEEP]
    assert chosen(state_of(table, curves, stages=6, spent=0.65)) == [DEEP, DEEP, DEEP]


@pytest.mark.parametrize(("flops_before", "flops_after"), [(10**9, 10**9), (10**9, 3 * 10**9)])
def test_a_price_is_what_a_loss_that_falls_at_a_constant_rate_takes(flops_before: int, flops_after: int) -> None:
    start_nats, rate = 30.0, 0.7e-9

    def nats(flops: float) -> float:
        return start_nats * math.exp(-rate * flops)

    # A stage's mean loss is taken for the loss half way through it.
    looks = [
        replace(losses_of({("a", LIGHT): (nats(at),)}, 0)[0], flops=flops)
        for at, flops in ((flops_before / 2, flops_before), (flops_before + flops_after / 2, flops_after))
    ]
    learnt_flops = math.log(start_nats / DONE_NATS) / rate
    assert price_flops(looks) == pytest.approx(learnt_flops - (flops_before + flops_after / 2))
    assert price_flops(looks[:1]) == float("inf")
    assert price_flops(looks[::-1]) == float("inf")


def test_solved_examples_get_less_share_and_are_never_dropped() -> None:
    table = table_of(("a", "b"))
    easy_N = table.features_ND[:, 0] > 0
    probed = ProbeOutcomes(
        example_P=np.arange(len(table), dtype=np.int32),
        condition_P=("free",) * len(table),
        solved_P=easy_N,
        output_tokens_P=np.full(len(table), 5, dtype=np.int32),
        loss_P=np.full(len(table), np.nan),
    )
    curves: Curves = {(task, MIDDLE): FALLING for task in "ab"}
    plan = planned(state_of(table, curves, stages=4, probe=probed))
    share_N = np.bincount(plan.example_R, weights=plan.share_R, minlength=len(table))
    for task in (0, 1):
        of_task = table.task_N == task
        ratio = share_N[of_task & easy_N].max() / share_N[of_task & ~easy_N].min()
        assert Adaptive().maintenance / (1 + Adaptive().maintenance) <= ratio < 0.5
    before = planned(state_of(table, curves, stages=4))
    assert np.ptp(before.share_R) == pytest.approx(0.0)  # nothing was measured, so that all are in equal need


def test_a_task_that_the_student_solves_gets_fewer_flops_whatever_its_supervision_costs() -> None:
    table = table_of(("a", "b"))
    solved = ProbeOutcomes(
        example_P=np.arange(len(table), dtype=np.int32),
        condition_P=("free",) * len(table),
        solved_P=table.task_N == 0,
        output_tokens_P=np.full(len(table), 5, dtype=np.int32),
        loss_P=np.full(len(table), np.nan),
    )
    curves: Curves = {("a", LIGHT): STILL, ("a", MIDDLE): FALLING, ("b", LIGHT): FALLING, ("b", MIDDLE): FALLING}
    unmeasured = state_of(table, curves, stages=4)
    assert chosen(unmeasured) == [MIDDLE, LIGHT]
    assert task_flops(unmeasured, planned(unmeasured), 0) == pytest.approx(0.5)
    measured = state_of(table, curves, stages=4, probe=solved)
    assert task_flops(measured, planned(measured), 0) < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_flops_follow_need_between_groups_and_draws_follow_need_within_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = table_of(("a", "b", "c"))
    table = replace(table, train_flops_NS=rng.uniform(1e6, 1e9, table.train_flops_NS.shape))
    rows = rng.permutation([(example, column) for example in range(len(table)) for column in range(3)])[:70]
    example_R, supervision_R = rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int32)
    need_N = rng.uniform(0.1, 1.1, len(table))
    share_R = shares_by_need(table, example_R, supervision_R, need_N)

    groups: dict[tuple[int, int], list[int]] = {}
    for row, (example, column) in enumerate(rows.tolist()):
        groups.setdefault((int(table.task_N[example]), column), []).append(row)
    flops_by_need = []
    for members in groups.values():
        needs = [need_N[example_R[row]] for row in members]
        draws = [share_R[row] for row in members]
        prices = [table.train_flops_NS[example_R[row], supervision_R[row]] for row in members]
        assert np.allclose(np.divide(draws, needs), draws[0] / needs[0])
        flops_by_need.append(np.dot(draws, prices) / sum(needs))
    assert np.allclose(flops_by_need, flops_by_need[0])


def test_withheld_tasks_count_as_one() -> None:
    table = table_of((), each=40)
    stalled: Curves = {("(withheld)", LIGHT): STILL, ("(withheld)", MIDDLE): FALLING}
    learnt: Curves = {("(withheld)", LIGHT): FALLING, ("(withheld)", MIDDLE): FALLING}
    assert chosen(state_of(table, stalled, stages=4)) == [MIDDLE]
    assert chosen(state_of(table, learnt, stages=4)) == [LIGHT]
    assert len(planned(state_of(table, learnt, stages=4))) == 40


def test_a_corpus_without_full_traces_is_taught_from_what_it_has() -> None:
    supervisions = (LIGHT, "short", "compressed:equations")
    table = table_of(("gsm8k",), supervisions=supervisions)
    curves: Curves = {("gsm8k", LIGHT): STILL, ("gsm8k", "compressed:equations"): STILL}
    assert chosen(state_of(table, curves, stages=8)) == ["compressed:equations"]
    # Where equations are not marked, an example falls back on what it offers.
    tokens_NS = table.target_tokens_NS.copy()
    tokens_NS[::4, 2] = -1
    gaps = state_of(replace(table, target_tokens_NS=tokens_NS), curves, stages=8)
    plan = planned(gaps)
    assert gaps.train.offered_NS[plan.example_R, plan.supervision_R].all()
    assert np.array_equal(np.unique(plan.example_R), np.arange(len(table)))


def test_a_whole_run_on_such_a_corpus_spends_its_budget_on_what_is_offered() -> None:
    supervisions = (LIGHT, "short", "compressed:equations")
    rehearsal = synthetic_rehearsal(
        total_flops=10**12, supervisions=supervisions, families=1, examples=200, offered_share=0.8
    )
    state, plans = run_policy(Adaptive(), rehearsal)  # checks every plan
    assert state.progress > 0.95
    assert {name for result in state.history for name, _, _ in result.mix} <= set(supervisions)
    assert len(plans) >= 16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adaptive(slices=0), "slices must be at least 1, got 0"),
        (lambda: Adaptive(probe_examples=-3), "probe_examples must not be negative, got -3"),
        (lambda: Adaptive(warmup_slices=1), r"warmup_slices must lie in \[2, slices=16\], got 1"),
        (lambda: Adaptive(slices=4, warmup_slices=5), r"warmup_slices must lie in \[2, slices=4\], got 5"),
        (lambda: Adaptive(light_bias=-0.5), "light_bias must be finite and not negative, got -0.5"),
        (lambda: Adaptive(light_bias=float("inf")), "light_bias must be finite and not negative, got inf"),
        (lambda: Adaptive(stall=0.0), r"stall must lie in \(0, 1\], got 0.0"),
        (lambda: Adaptive(deep_share=1.5), r"deep_share must lie in \(0, 1\], got 1.5"),
        (lambda: Adaptive(maintenance=float("nan")), r"maintenance must lie in \(0, 1\], got nan"),
        (lambda: Adaptive(probe_share=-0.1), r"probe_share must lie in \(0, 1\], got -0.1"),
    ],
)
def test_senseless_fields_are_refused_with_their_value(make: Callable[[], Adaptive], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
