"""Small worlds for the loop's tests: tables, and a trainer, an evaluator and a record without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from controller.controller import Measured, Order, Trained
from controller.ledger import Budget, Ledger, Unit
from curricula.types import (
    Charge,
    Cost,
    ExampleTable,
    ProbeOutcomes,
    Purpose,
    RunState,
    StagePlan,
    StageResult,
)


def table(examples: int = 40) -> ExampleTable:
    """Two tasks, three supervisions; the odd examples offer no reasoning."""
    target_tokens_NS = np.tile(np.array([2, 10, 80], dtype=np.int32), (examples, 1))
    target_tokens_NS[1::2, 2] = -1
    return ExampleTable(
        tasks=("add", "copy"),
        supervisions=("answer", "compressed", "reasoning"),
        task_N=np.arange(examples, dtype=np.int32) % 2,
        kind_N=np.zeros(examples, dtype=np.int32),
        prompt_tokens_N=np.full(examples, 10, dtype=np.int32),
        target_tokens_NS=target_tokens_NS,
        verified_NS=target_tokens_NS >= 0,
        train_flops_NS=np.where(target_tokens_NS >= 0, 1000.0 * (10 + target_tokens_NS), np.nan),
        answer_flops_N=np.full(examples, 5000.0),
        features_ND=np.zeros((examples, 3), dtype=np.float16),
    )


def fresh_state(total_flops: int) -> RunState:
    """Before the first stage."""
    return RunState(train=table(), probe=table(12), total_flops=total_flops, history=(), checkpoints=(), seed=0)


def fresh_ledger(total: float, unit: Unit = "flops") -> Ledger:
    """Nothing spent. A token is taken to buy 900 FLOPs and a second 90,000; a second costs a fiftieth of a dollar."""
    rates: Mapping[Unit, float] = {"flops": 1.0, "tokens": 900.0, "seconds": 90_000.0, "dollars": 4_500_000.0}
    return Ledger(budget=Budget(unit=unit, total=total, flops_per_unit=rates[unit], dollars_per_second=0.02))


class FakeStudents:
    """Trains in steps of a fixed price, and measures for less than the worst case.

    A step is 61 tokens and takes `step_seconds`; an answer is 12 tokens, 30 at most, and takes a tenth of a second.
    """

    step_tokens = 61

    def __init__(self, *, step_flops: int = 50_000, step_seconds: float = 0.5, overspend: bool = False) -> None:
        self.step_flops, self.step_seconds, self.overspend = step_flops, step_seconds, overspend
        self.orders: list[Order] = []

    def train(self, orders: Sequence[Order]) -> list[Trained]:
        """Take as many steps as the grant buys."""
        self.orders += orders
        return [self._trained(order) for order in orders]

    def measure_ceiling(self, plan: StagePlan) -> Cost:
        """Five thousand FLOPs a probed example."""
        count = 0 if plan.probe is None else len(plan.probe.example_P)
        return Cost(flops=5000 * count, tokens=30 * count)

    def measure(self, plan: StagePlan, checkpoint: str) -> Measured:
        """Even examples are solved; two thousand an example, or twice the worst case for a broken meter."""
        if plan.probe is None:
            return Measured(probe=None, score_M=None, charges=(), seconds={})
        count = len(plan.probe.example_P)
        outcomes = ProbeOutcomes(
            example_P=plan.probe.example_P,
            condition_P=("free",) * count,
            solved_P=plan.probe.example_P % 2 == 0,
            output_tokens_P=np.full(count, 3, dtype=np.int32),
            loss_P=np.full(count, np.nan),
        )
        flops = count * (10_000 if self.overspend else 2000)
        charge = Charge(purpose="probe", flops=flops, positions=count, tokens=12 * count)
        return Measured(probe=outcomes, score_M=None, charges=(charge,), seconds={"probe": 0.1 * count})

    def _trained(self, order: Order) -> Trained:
        steps, allowance = order.train_flops // self.step_flops, order.allowance
        if allowance is not None:
            step = self.step_tokens if allowance.unit == "tokens" else self.step_seconds
            steps = min(steps, int(allowance.ceiling / step))
        rows = len(order.plan)
        return Trained(
            steps=steps,
            next_step=Cost(flops=self.step_flops, tokens=self.step_tokens),
            charge=Charge(
                purpose="train", flops=steps * self.step_flops, positions=steps, tokens=steps * self.step_tokens
            ),
            seconds=steps * self.step_seconds,
            state_digest=f"digest of {order.checkpoint}",
            losses=(),
            mix=(("answer", steps, steps * self.step_flops),),
            seen_R=np.full(rows, steps, dtype=np.int32),
            loss_R=np.zeros(rows, dtype=np.float32),
        )


class FakeRecord:
    """Keeps rounds in memory."""

    def __init__(self) -> None:
        self.results: list[StageResult] = []
        self.seconds: list[Mapping[Purpose, float]] = []
        self.kept: tuple[str, ...] = ()

    def append(self, results: Sequence[StageResult], seconds: Sequence[Mapping[Purpose, float]]) -> None:
        """Remember a round."""
        self.results += results
        self.seconds += seconds

    def retain(self, checkpoints: Sequence[str]) -> None:
        """Remember what stays."""
        self.kept = tuple(checkpoints)
