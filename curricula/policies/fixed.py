"""The baseline: one supervision for every example, from the first FLOP to the last."""

from __future__ import annotations

from dataclasses import dataclass

from curricula.policies.slices import check_slices
from curricula.policies.staged import Staged
from curricula.policy import CurriculumPolicy
from curricula.types import RunState, StagePlan, Supervision


@dataclass(frozen=True, kw_only=True)
class Fixed(CurriculumPolicy):
    """Shows every example that offers it under one supervision throughout."""

    supervision: str  # the spelling of a Supervision
    slices: int = 8  # equal parts of the budget, one stage each
    probe_examples: int = 0  # measured freely after each slice, always the same ones; paid from the budget

    def __post_init__(self) -> None:
        Supervision.parse(self.supervision)
        check_slices("Fixed", self.slices, self.probe_examples)

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Raises ValueError where no example offers the supervision."""
        whole = Staged(stages=((self.supervision, 1.0),), slices=self.slices, probe_examples=self.probe_examples)
        return whole.next_stage(state)
