"""The plug-in: a policy is a frozen dataclass with one method, a pure function of recorded history.

    @dataclass(frozen=True, kw_only=True)
    class AnswersFirst(CurriculumPolicy):
        '''Bare answers for the first part of the budget, full traces after it.'''

        warmup: float = 0.25  # share of total_flops, in [0, 1]

        def next_stage(self, state: RunState) -> StagePlan | None:
            if state.rounds == 0:
                return plan_uniform(state, "answer", ceiling_flops=int(self.warmup * state.total_flops))
            return plan_uniform(state, "reasoning", ceiling_flops=state.remaining_flops)

Its fields are its hyper-parameters. It keeps no state, reads no clock, no file and no global random numbers, so a
resume is a replay, a search can sweep its fields, and Ray can pickle it. `check_policy` (curricula.contract) tests it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from curricula.types import ProbePlan, RunState, StagePlan


@dataclass(frozen=True, kw_only=True)
class CurriculumPolicy(ABC):
    """Decides the next stage from what was measured so far."""

    @abstractmethod
    def next_stage(self, state: RunState) -> StagePlan | None:
        """Plan one stage, or None to end the run early. Called again until the budget buys no further step."""

    def next_stages(self, state: RunState) -> tuple[StagePlan, ...]:
        """Plan stages that run side by side, each from its own `start`; by default one. Empty ends the run."""
        plan = self.next_stage(state)
        return () if plan is None else (plan,)

    @property
    def asks_teacher(self) -> bool:
        """Whether a stage of it may ask for a white-box teacher; then a run without one is refused at once."""
        return False


def plan_uniform(
    state: RunState, supervision: str, *, ceiling_flops: int, name: str | None = None, probe: ProbePlan | None = None
) -> StagePlan:
    """A stage that shows every example which offers `supervision` under it, in equal shares.

    Raises:
        ValueError: no example offers it; the message names those offered.
    """
    column = state.train.supervision_index(supervision)
    example_R = np.flatnonzero(state.train.offered_NS[:, column]).astype(np.int32)
    return StagePlan(
        name=name or supervision,
        example_R=example_R,
        supervision_R=np.full(len(example_R), column, dtype=np.int32),
        share_R=np.ones(len(example_R)),
        ceiling_flops=ceiling_flops,
        probe=probe,
    )
