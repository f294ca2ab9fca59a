"""One supervision throughout, learnt from its text and from a white-box teacher's logits over it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from curricula.policies.fixed import Fixed
from curricula.policy import CurriculumPolicy
from curricula.recipe import Divergence, Recipe
from curricula.types import RunState, StagePlan


@dataclass(frozen=True, kw_only=True)
class Distilled(CurriculumPolicy):
    """`Fixed`, with a teacher's next-token distribution beside the target's tokens (`--white_box_teacher`).

    Example:
        Distilled(supervision="compressed", logits=1.0, divergence="reverse")
    """

    supervision: str  # the spelling of a Supervision
    text: float = 0.5  # weight of the cross-entropy with the target
    logits: float = 0.5  # weight of the divergence from the teacher's distribution
    divergence: Divergence = "forward"
    temperature: float = 1.0  # both distributions are softened by it
    slices: int = 8  # equal parts of the budget, one stage each
    probe_examples: int = 0  # measured freely after each slice, always the same ones; paid from the budget

    def __post_init__(self) -> None:
        self.recipe()
        self.fixed()

    @property
    def asks_teacher(self) -> bool:
        """Always."""
        return True

    def recipe(self) -> Recipe:
        """How every stage trains."""
        return Recipe(text=self.text, logits=self.logits, divergence=self.divergence, temperature=self.temperature)

    def fixed(self) -> Fixed:
        """The same rows without a teacher."""
        return Fixed(supervision=self.supervision, slices=self.slices, probe_examples=self.probe_examples)

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Raises ValueError where no example offers the supervision."""
        plan = self.fixed().next_stage(state)
        return None if plan is None else dataclasses.replace(plan, recipe=self.recipe())
