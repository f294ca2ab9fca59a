"""The loop on fakes: the budget holds, replay equals run, plans are checked, forks share what is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.controller import kept_checkpoints, latest, probe_accuracy, run
from controller.encoding import encode
from controller.ledger import Ledger, OverspentError, Unit
from curricula.plans import PlanError
from curricula.policies import Fixed, Mixed, Routed, Sequential, Staged
from curricula.policy import CurriculumPolicy, plan_uniform
from curricula.recipe import Recipe
from curricula.types import ProbePlan, RunState, StagePlan
from tests.controller.worlds import FakeRecord, FakeStudents, fresh_ledger, fresh_state

POLICIES: tuple[CurriculumPolicy, ...] = (
    Fixed(supervision="compressed"),
    Fixed(supervision="answer", probe_examples=6),
    Staged(stages=(("answer", 0.3), ("compressed", 0.7))),
    Sequential(first="answer", then="reasoning", fraction_of_examples=0.25),
    Mixed(shares=(("answer", 0.5), ("compressed", 0.5))),
    Routed(probe_examples=6, probe_share=0.2),
)


@dataclass(frozen=True, kw_only=True)
class Forking(CurriculumPolicy):
    """Tries both supervisions side by side, each round from the better one."""

    ceiling_flops: int = 400_000

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Not asked: this policy forks."""
        return self.next_stages(state)[0]

    def next_stages(self, state: RunState) -> tuple[StagePlan, ...]:
        """One fork a supervision."""
        if state.remaining_flops < 2 * self.ceiling_flops:
            return ()
        probe = ProbePlan(example_P=np.arange(4, dtype=np.int32))
        return tuple(
            plan_uniform(state, name, ceiling_flops=self.ceiling_flops, probe=probe) for name in ("answer", "reasoning")
        )


@dataclass(frozen=True, kw_only=True)
class Planned(CurriculumPolicy):
    """Plans what it is given, once."""

    change: tuple[tuple[str, object], ...] = ()

    def next_stage(self, state: RunState) -> StagePlan | None:
        """A good plan, changed."""
        if state.history:
            return None
        plan = plan_uniform(state, "answer", ceiling_flops=state.total_flops // 2)
        return dataclasses.replace(plan, **dict(self.change))  # pyright: ignore[reportArgumentType]


def _run(
    policy: CurriculumPolicy, state: RunState, students: FakeStudents | None = None, ledger: Ledger | None = None
) -> tuple[RunState, FakeRecord]:
    """To the end of a budget in FLOPs, or of the ledger's."""
    students, record = students or FakeStudents(), FakeRecord()
    if ledger is None:
        ledger = fresh_ledger(state.total_flops)
        for result in state.history:
            ledger = ledger.charged(result.charges, {})
    state = run(policy=policy, state=state, ledger=ledger, trainer=students, evaluator=students, record=record)
    return state, record


def _account(ledger: Ledger, record: FakeRecord) -> Ledger:
    """The account of what was recorded."""
    for result, seconds in zip(record.results, record.seconds, strict=True):
        ledger = ledger.charged(result.charges, seconds)
    return ledger


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@given(total=st.integers(60_000, 30_000_000))
def test_the_budget_is_never_exceeded_and_is_used_up(policy: CurriculumPolicy, total: int) -> None:
    state, record = _run(policy, fresh_state(total))
    assert state.spent_flops <= total
    assert [result.index for result in record.results] == list(range(len(record.results)))
    if isinstance(policy, Fixed) and not policy.probe_examples:
        assert total - state.spent_flops < 50_000 + 0.01 * total


@given(total=st.integers(500_000, 20_000_000), cut=st.integers(0, 6))
def test_replay_from_any_point_equals_the_run(total: int, cut: int) -> None:
    policy = Routed(probe_examples=6, probe_share=0.2)
    whole, _ = _run(policy, fresh_state(total))
    kept = whole.history[:cut]
    state = dataclasses.replace(fresh_state(total), history=kept, checkpoints=kept_checkpoints(kept))
    resumed, _ = _run(policy, state)
    assert [result.plan_digest for result in resumed.history] == [result.plan_digest for result in whole.history]
    assert resumed.spent_flops == whole.spent_flops


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@given(total=st.integers(300, 40_000))
def test_a_budget_in_tokens_is_never_exceeded_and_is_used_up(policy: CurriculumPolicy, total: int) -> None:
    students, ledger = FakeStudents(), fresh_ledger(total, "tokens")
    state, record = _run(policy, fresh_state(ledger.total_flops), students, ledger)
    spent = _account(ledger, record).total_spent
    assert spent.tokens <= total
    for order in students.orders:
        assert order.allowance is not None
        assert order.allowance.spent + order.allowance.ceiling <= order.allowance.total == total
        assert order.spent_flops + order.train_flops <= order.total_flops
    if isinstance(policy, Fixed) and not policy.probe_examples:
        assert total - spent.tokens < 61 + 0.02 * total
        assert state.progress == pytest.approx(spent.tokens / total, abs=1e-4)


@given(total=st.integers(2000, 40_000), cut=st.integers(0, 6))
def test_a_budget_in_tokens_replays_from_any_point(total: int, cut: int) -> None:
    policy, ledger = Routed(probe_examples=6, probe_share=0.2), fresh_ledger(total, "tokens")
    whole, record = _run(policy, fresh_state(1), None, ledger)
    kept = whole.history[:cut]
    for result in kept:
        ledger = ledger.charged(result.charges, {"train": 77.0})
    state = dataclasses.replace(fresh_state(1), history=kept, checkpoints=kept_checkpoints(kept))
    resumed, _ = _run(policy, state, FakeStudents(step_seconds=3.0), ledger)
    assert [encode(result, forks=1, arrays_digest="") for result in resumed.history] == [
        encode(result, forks=1, arrays_digest="") for result in record.results
    ]


@pytest.mark.parametrize("unit", ["seconds", "dollars"])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@given(total_seconds=st.floats(5, 300), step_seconds=st.floats(0.1, 1.5))
def test_a_budget_by_the_clock_holds_up_to_what_was_begun_in_it(
    policy: CurriculumPolicy, unit: Unit, total_seconds: float, step_seconds: float
) -> None:
    ledger = fresh_ledger(total_seconds * (1.0 if unit == "seconds" else 0.02), unit)
    students = FakeStudents(step_seconds=step_seconds)
    state, record = _run(policy, fresh_state(1), students, ledger)
    account = _account(ledger, record)
    # A probe of at most twelve answers may be asked for before it is known how long they take.
    assert account.total_spent.seconds <= total_seconds + 12 * 0.1
    assert account.total_spent.dollars == pytest.approx(0.02 * account.total_spent.seconds)
    assert state.progress <= 1.0
    if isinstance(policy, Fixed) and not policy.probe_examples and step_seconds < 0.02 * total_seconds:
        assert total_seconds - account.total_spent.seconds < step_seconds + 0.05 * total_seconds


def test_a_budget_in_tokens_below_one_step_is_an_error_that_says_the_price() -> None:
    with pytest.raises(PlanError, match=r"budget of 40 tokens buys no training step, which costs 61; raise"):
        _run(Fixed(supervision="answer"), fresh_state(1), None, fresh_ledger(40, "tokens"))


def test_a_budget_below_one_step_is_an_error_that_says_the_price() -> None:
    with pytest.raises(PlanError, match=r"budget of 4e\+04 FLOPs buys no training step, which costs 5e\+04"):
        _run(Fixed(supervision="answer"), fresh_state(40_000))


def test_a_ceiling_below_one_step_is_told_apart_from_a_dry_budget() -> None:
    with pytest.raises(PlanError, match=r"stage 'answer': its ceiling of 3e\+04 FLOPs buys no step"):
        _run(Planned(change=(("ceiling_flops", 30_000),)), fresh_state(10_000_000))


def test_spending_more_than_reserved_stops_the_run() -> None:
    policy = Fixed(supervision="answer", probe_examples=6)
    with pytest.raises(OverspentError, match="measured for"):
        _run(policy, fresh_state(10_000_000), FakeStudents(overspend=True))


def test_a_last_probe_that_does_not_fit_gives_way_to_training() -> None:
    probe = ProbePlan(example_P=np.arange(10, dtype=np.int32))
    state, record = _run(Planned(change=(("probe", probe), ("ceiling_flops", 80_000))), fresh_state(80_000))
    assert state.spent_flops == 50_000
    assert record.results[0].probe is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("supervision_R", np.full(40, 2, dtype=np.int32)), "example 1 under reasoning, which it does not offer"),
        (("supervision_R", np.full(40, 7, dtype=np.int32)), "supervision 7"),
        (("example_R", np.full(40, 99, dtype=np.int32)), "example 99"),
        (("share_R", np.zeros(40)), "share_R must be positive"),
        (("share_R", np.ones(3)), "equally long"),
        (("start", "0007"), "start is '0007'"),
        (("probe", ProbePlan(example_P=np.array([12], dtype=np.int32))), "outside the 12"),
        (("ceiling_flops", 0), "ceiling_flops must be positive"),
        (("recipe", Recipe(detached=True)), "hidden is 0, so nothing would train them"),
        (("recipe", Recipe(answer_weight=0.0)), "row 0 shows answer, which is all answer"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_plan_that_names_what_does_not_exist_is_refused(change: tuple[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        _run(Planned(change=(change,)), fresh_state(10_000_000))


def test_forks_share_what_is_left_and_the_best_is_built_on() -> None:
    students = FakeStudents()
    state, record = _run(Forking(), fresh_state(2_000_000), students)
    assert state.spent_flops <= 2_000_000
    rounds = {result.round for result in record.results}
    for number in rounds:
        forks = [result for result in record.results if result.round == number]
        assert {result.start for result in forks} == {forks[0].start}
    best = latest(state.history)
    assert best is not None
    assert best.checkpoint in record.kept
    assert probe_accuracy(best) == max(probe_accuracy(r) for r in state.history if r.round == best.round)


def test_a_fork_that_bought_no_step_leaves_no_name_to_be_used_twice() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Lopsided(CurriculumPolicy):
        def next_stage(self, state: RunState) -> StagePlan | None:
            return None

        def next_stages(self, state: RunState) -> tuple[StagePlan, ...]:
            ceilings = (1000, 200_000) if len(state.history) < 4 else ()
            return tuple(plan_uniform(state, "answer", ceiling_flops=ceiling) for ceiling in ceilings)

    state, _ = _run(Lopsided(), fresh_state(5_000_000))
    names = [result.checkpoint for result in state.history]
    assert len(names) == len(set(names)) == 4
    assert names == sorted(names)
    assert [result.start for result in state.history] == [None, *names[:-1]]


def test_kept_checkpoints_are_the_last_round_and_the_best_by_probe() -> None:
    state, record = _run(Fixed(supervision="answer", probe_examples=6), fresh_state(5_000_000))
    best = max(state.history, key=lambda result: (probe_accuracy(result), -result.index))
    assert set(record.kept) == {best.checkpoint, state.history[-1].checkpoint}


def test_a_policy_sees_the_checkpoints_it_may_start_from() -> None:
    seen: list[Sequence[str]] = []

    @dataclass(frozen=True, kw_only=True)
    class Watching(CurriculumPolicy):
        def next_stage(self, state: RunState) -> StagePlan | None:
            seen.append(state.checkpoints)
            return None if len(seen) > 3 else plan_uniform(state, "answer", ceiling_flops=200_000)

    _run(Watching(), fresh_state(5_000_000))
    assert seen == [(), ("0000",), ("0001",), ("0002",)]
