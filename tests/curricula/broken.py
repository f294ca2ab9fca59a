"""Policies that each break the contract in one way, and one outside the project that keeps it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from curricula.policy import CurriculumPolicy, plan_uniform
from curricula.types import ProbePlan, RunState, StagePlan


@dataclass(frozen=True, kw_only=True)
class Quarters(CurriculumPolicy):
    """Bare answers, a quarter of the budget at a time: keeps the contract, and is what the others break."""

    def next_stage(self, state: RunState) -> StagePlan | None:
        if state.rounds >= 4 or state.remaining_flops < 20 * np.nanmax(state.train.train_flops_NS):
            return None
        ceiling_flops = max(state.total_flops // 4, int(20 * np.nanmax(state.train.train_flops_NS)))
        return plan_uniform(state, "answer", ceiling_flops=min(ceiling_flops, state.remaining_flops))

    def scaled(self, state: RunState, share: float) -> StagePlan | None:
        plan = Quarters.next_stage(self, state)
        return None if plan is None else replace(plan, ceiling_flops=max(int(plan.ceiling_flops * share), 1))


class DrawsGlobalRandom(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return self.scaled(state, 0.9 + 0.1 * random.random())


class DrawsGlobalNumpy(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        np.random.rand()
        return self.scaled(state, 1.0)


class DrawsEntropy(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return self.scaled(state, np.random.default_rng().uniform(0.9, 1.0))


class ReadsClock(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return self.scaled(state, 1.0 if time.time() > 0 else 0.5)


class ReadsClockByName(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return self.scaled(state, 1.0 if perf_counter() >= 0 else 0.5)


class OpensFile(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return self.scaled(state, 1.0 if Path(__file__).read_text() else 0.5)


class WritesTable(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        state.train.task_N[:] = 0
        return self.scaled(state, 1.0)


class UnlocksTable(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        state.train.task_N.setflags(write=True)
        state.train.task_N[:] += 1
        return self.scaled(state, 1.0)


class PlansUnoffered(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        plan = self.scaled(state, 1.0)
        return None if plan is None else replace(plan, supervision_R=plan.supervision_R + len(state.train.supervisions))


class IgnoresGaps(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        plan = self.scaled(state, 1.0)
        last = len(state.train.supervisions) - 1
        return None if plan is None else replace(plan, supervision_R=np.full_like(plan.supervision_R, last))


class PlansBeyondTable(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        plan = self.scaled(state, 1.0)
        return None if plan is None else replace(plan, example_R=plan.example_R + 1)


class PlansZeroShares(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        plan = self.scaled(state, 1.0)
        return None if plan is None else replace(plan, share_R=plan.share_R * (plan.example_R > 0))


class Overspends(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        plan = self.scaled(state, 1.0)
        return None if plan is None else replace(plan, ceiling_flops=state.remaining_flops + 1)


class ForgetsProbe(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        plan = self.scaled(state, 1.0)
        probe = ProbePlan(example_P=np.arange(4, dtype=np.int32))
        return None if plan is None else replace(plan, ceiling_flops=state.remaining_flops, probe=probe)


class BuysNothing(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return plan_uniform(state, "answer", ceiling_flops=1)


class NeverEnds(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        ceiling_flops = int(40 * np.nanmin(state.train.train_flops_NS))
        return plan_uniform(state, "answer", ceiling_flops=max(min(ceiling_flops, state.remaining_flops), 1))


class NeverBegins(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return None


class FollowsHash(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        return self.scaled(state, 0.8 + 0.2 * (hash("order") % 1009) / 1009)


class RefusesAll(Quarters):
    def next_stage(self, state: RunState) -> StagePlan | None:
        state.train.supervision_index("compressed:mine@0.5")
        return None


@dataclass(frozen=True, kw_only=True)
class HoldsLambda(Quarters):
    share: Callable[[], float] = field(default=lambda: 1.0)


@dataclass(frozen=True, kw_only=True)
class KeepsState(Quarters):
    rounds_seen: list[int] = field(default_factory=list)

    def next_stage(self, state: RunState) -> StagePlan | None:
        self.rounds_seen.append(state.rounds)
        return self.scaled(state, 1.0)


BREACHES: tuple[tuple[CurriculumPolicy, str], ...] = (
    (DrawsGlobalRandom(), "draws global random numbers"),
    (DrawsGlobalNumpy(), "draws global random numbers"),
    (DrawsEntropy(), "entropy|plans differently"),
    (ReadsClock(), "reads the clock"),
    (ReadsClockByName(), "reads the clock"),
    (OpensFile(), "reads files"),
    (WritesTable(), "read-only"),
    (UnlocksTable(), "changes the state|plans differently"),
    (PlansUnoffered(), "there are only"),
    (IgnoresGaps(), "does not offer"),
    (PlansBeyondTable(), "names example 400"),
    (PlansZeroShares(), "share_R must be positive"),
    (Overspends(), "ceiling_flops must be positive and within"),
    (ForgetsProbe(), "probes at their worst included"),
    (BuysNothing(), "buys no step"),
    (NeverEnds(), "does not end"),
    (NeverBegins(), "ends before it has spent anything"),
    (FollowsHash(), "PYTHONHASHSEED"),
    (RefusesAll(), "refuses every corpus"),
    (HoldsLambda(), "does not pickle"),
    (KeepsState(), "keeps state"),
)
