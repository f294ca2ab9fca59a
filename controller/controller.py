"""The loop: a policy plans, the trainer trains, the evaluator measures, the ledger pays, the record remembers.

    tables + history --policy--> StagePlan --reserve--> trainer --checkpoint--> evaluator --charges, outcomes-->
        ledger + StageResult --append--> stages.jsonl --> history --> policy ...     until the budget is spent

`run` is handed its trainer, evaluator and record, and works as well on fakes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from controller.ledger import UNIT_NAMES, Ledger, Reservation
from curricula.digest import plan_digest
from curricula.plans import PlanError, check_plan
from curricula.policy import CurriculumPolicy
from curricula.probes import probe_reserve_flops
from curricula.types import (
    Charge,
    Cost,
    ProbeOutcomes,
    Purpose,
    RunState,
    StagePlan,
    StageResult,
    TrainingLoss,
)
from trainers.jobs import Allowance


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """A stage as the trainer gets it: planned, granted, and with its place in the run."""

    plan: StagePlan
    start: str | None  # checkpoint, resolved
    start_digest: str | None  # what its state must be
    checkpoint: str  # name to save under
    train_flops: int  # granted
    allowance: Allowance | None  # granted of a budget that is not in FLOPs
    spent_flops: int  # by the run before this round
    total_flops: int  # what the budget comes to


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What training a stage gave. `steps` is 0, and there is no checkpoint, where the grant buys no step."""

    steps: int
    next_step: Cost  # what one step more would have taken, in FLOPs and tokens
    charge: Charge
    seconds: float  # of the worker
    state_digest: str
    losses: tuple[TrainingLoss, ...]
    mix: tuple[tuple[str, int, int], ...]
    seen_R: NDArray[np.int32]
    loss_R: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was measured after a stage, and what it cost."""

    probe: ProbeOutcomes | None
    score_M: NDArray[np.float32] | None
    charges: tuple[Charge, ...]
    seconds: Mapping[Purpose, float]  # of workers


class Trainer(Protocol):
    """Trains the stages of a round side by side."""

    def train(self, orders: Sequence[Order]) -> list[Trained]:
        """What each order gave, in their order."""
        ...


class Evaluator(Protocol):
    """Measures what a plan asks for."""

    def measure_ceiling(self, plan: StagePlan) -> Cost:
        """The most that the plan's probe and scores can cost in FLOPs and tokens, exactly."""
        ...

    def measure(self, plan: StagePlan, checkpoint: str) -> Measured:
        """The plan's probe and scores, of that checkpoint."""
        ...


class Record(Protocol):
    """Remembers rounds, and keeps checkpoints."""

    def append(self, results: Sequence[StageResult], seconds: Sequence[Mapping[Purpose, float]]) -> None:
        """Remember a whole round, and the seconds of workers that each stage of it took."""
        ...

    def retain(self, checkpoints: Sequence[str]) -> None:
        """Delete every checkpoint but these."""
        ...


def run(
    *,
    policy: CurriculumPolicy,
    state: RunState,
    ledger: Ledger,
    trainer: Trainer,
    evaluator: Evaluator,
    record: Record,
) -> RunState:
    """Spend the budget, from `state` on, and return the last state.

    Args:
        ledger: the account of `state.history`. What its budget comes to in FLOPs is renewed before every plan.

    Raises:
        PlanError: a plan names what does not exist, or its ceiling (not the budget) buys no step.
        OverspentError: a stage cost more than was reserved for it.
    """
    while True:
        state = dataclasses.replace(state, total_flops=ledger.total_flops)
        if state.history and not state.remaining_flops:
            return state
        plans = policy.next_stages(state)
        for plan in plans:
            check_plan(state, plan)
        orders, reservations = _grant(plans, state, ledger, evaluator)
        trained = trainer.train(orders) if orders else []
        if orders and not any(stage.steps for stage in trained):
            # Training a little further is worth more than one last measurement, and may have what that was to cost.
            most_flops = state.remaining_flops // len(plans)
            unmeasured = [_unmeasured(plan, state, evaluator, most_flops=most_flops) for plan in plans]
            orders, reservations = _grant(unmeasured, state, ledger, evaluator)
            trained = trainer.train(orders)
            if not any(stage.steps for stage in trained):
                _refuse_small_ceilings(orders, trained, ledger)
        rounds = [
            (order, reservation, stage)
            for order, reservation, stage in zip(orders, reservations, trained, strict=True)
            if stage.steps
        ]
        if not rounds:
            if not state.history:
                raise PlanError(_too_small(ledger, trained))
            return state
        results, seconds = [], []
        for order, reservation, stage in rounds:
            measured = evaluator.measure(order.plan, order.checkpoint)
            result = _result(state, order, stage, measured, index=len(state.history) + len(results))
            seconds.append({"train": stage.seconds, **measured.seconds})
            ledger = ledger.settle(reservation, result.charges, seconds[-1])
            results.append(result)
        record.append(results, seconds)
        history = (*state.history, *results)
        state = dataclasses.replace(state, history=history, checkpoints=kept_checkpoints(history))
        record.retain(state.checkpoints)


def latest(history: Sequence[StageResult]) -> StageResult | None:
    """The stage that the next one builds on: of the last round, the best by its free probe; else its last."""
    if not history:
        return None
    forks = [result for result in history if result.round == history[-1].round]
    return max(forks, key=lambda result: (probe_accuracy(result), result.index))


def probe_accuracy(result: StageResult) -> float:
    """Share of freely answered probe questions that were solved; -1 where none was asked."""
    if result.probe is None or len(rows := result.probe.under("free")) == 0:
        return -1.0
    return float(result.probe.solved_P[rows].mean())


def kept_checkpoints(history: Sequence[StageResult]) -> tuple[str, ...]:
    """What stays on disk: the last round's, and the best by probe, the earliest of equals."""
    if not history:
        return ()
    last = [result.checkpoint for result in history if result.round == history[-1].round]
    best = max(history, key=lambda result: (probe_accuracy(result), -result.index))
    return tuple(dict.fromkeys([best.checkpoint, *last])) if probe_accuracy(best) >= 0 else tuple(last)


def _unmeasured(plan: StagePlan, state: RunState, evaluator: Evaluator, *, most_flops: int) -> StagePlan:
    """A plan without its measurements; what they would have taken is for training, up to `most_flops` in all."""
    # A policy sets aside what the probe table says, row by row; batches come to a little more or less.
    set_aside = max(probe_reserve_flops(state.probe, plan.probe), evaluator.measure_ceiling(plan).flops)
    ceiling_flops = max(plan.ceiling_flops, min(plan.ceiling_flops + set_aside, most_flops))
    return dataclasses.replace(
        plan, ceiling_flops=ceiling_flops, probe=None, score_example_M=None, score_supervision_M=None
    )


def _grant(
    plans: Sequence[StagePlan], state: RunState, ledger: Ledger, evaluator: Evaluator
) -> tuple[list[Order], list[Reservation]]:
    before = latest(state.history)
    # A fork that bought no step leaves no result, so counting results would name a later checkpoint like an earlier.
    first_name = int(state.history[-1].checkpoint) + 1 if state.history else 0
    digests = {result.checkpoint: result.state_digest for result in state.history}
    orders, reservations = [], []
    for fork, plan in enumerate(plans):
        reservation = ledger.reserve(
            ceiling_flops=int(plan.ceiling_flops),
            measure=evaluator.measure_ceiling(plan),
            share=len(plans),
        )
        start = plan.start if plan.start is not None else (before.checkpoint if before else None)
        orders.append(
            Order(
                plan=plan,
                start=start,
                start_digest=None if start is None else digests[start],
                checkpoint=f"{first_name + fork:04d}",
                train_flops=reservation.train_flops,
                allowance=ledger.allowance(reservation),
                spent_flops=state.spent_flops,
                total_flops=state.total_flops,
            )
        )
        reservations.append(reservation)
    return orders, reservations


def _refuse_small_ceilings(orders: Sequence[Order], trained: Sequence[Trained], ledger: Ledger) -> None:
    """Tell a plan that asks for too little from a budget that is dry."""
    remaining_flops = ledger.total_flops - ledger.total_spent.flops
    for order, stage in zip(orders, trained, strict=True):
        # No plan can ask for more FLOPs than the budget is taken to come to, though it might buy a step more.
        within_flops = stage.next_step.flops <= remaining_flops // len(orders)
        if within_flops and ledger.expected(stage.next_step) <= ledger.remaining / len(orders):
            raise PlanError(
                f"stage {order.plan.name!r}: its ceiling of {order.plan.ceiling_flops:.3g} FLOPs buys no step, "
                f"which costs {stage.next_step.flops:.3g}, while {remaining_flops:.3g} are left"
            )


def _too_small(ledger: Ledger, trained: Sequence[Trained]) -> str:
    if not trained:
        return "the policy planned no stage at all, so nothing was trained"
    price = min(ledger.expected(stage.next_step) for stage in trained)
    unit = ledger.budget.unit
    return (
        f"a budget of {ledger.budget.total:.3g} {UNIT_NAMES[unit]} buys no training step, which costs {price:.3g}; "
        f"raise --total_{unit}"
    )


def _result(state: RunState, order: Order, stage: Trained, measured: Measured, *, index: int) -> StageResult:
    plan = order.plan
    return StageResult(
        index=index,
        round=state.rounds,
        name=plan.name,
        plan_digest=plan_digest(plan),
        start=order.start,
        checkpoint=order.checkpoint,
        state_digest=stage.state_digest,
        steps=stage.steps,
        charges=(stage.charge, *measured.charges),
        losses=stage.losses,
        mix=stage.mix,
        example_R=plan.example_R.astype(np.int32),
        supervision_R=plan.supervision_R.astype(np.int32),
        seen_R=stage.seen_R,
        loss_R=stage.loss_R,
        probe=measured.probe,
        score_M=measured.score_M,
        score_example_M=plan.score_example_M,
        score_supervision_M=plan.score_supervision_M,
        recipe=plan.recipe,
    )
