"""Text first, then what the student writes itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from curricula.policies.slices import next_slice
from curricula.policy import CurriculumPolicy, plan_uniform
from curricula.recipe import Recipe, Rollouts
from curricula.types import RunState, StagePlan, Supervision


@dataclass(frozen=True, kw_only=True)
class OnPolicy(CurriculumPolicy):
    """One supervision's text, then on-policy distillation (reverse KL) on the same prompts; needs a white-box teacher.

    Example: half the budget on compressed traces, the rest on rollouts of up to 96 tokens.
        OnPolicy(supervision="compressed", max_tokens=96)
    """

    supervision: str = "answer"  # the spelling of a Supervision
    warmup: float = 0.5  # share of total_flops that goes to text, in (0, 1)
    max_tokens: int = 64  # of one rollout

    def __post_init__(self) -> None:
        Supervision.parse(self.supervision)
        Rollouts(max_tokens=self.max_tokens)
        if not 0.0 < self.warmup < 1.0:
            raise ValueError(f"OnPolicy: warmup must lie in (0, 1), got {self.warmup}")

    @property
    def asks_teacher(self) -> bool:
        """Always."""
        return True

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Raises ValueError where no example offers the supervision."""
        piece = next_slice(state, shares=(self.warmup, 1.0 - self.warmup), slices=1)
        if piece is None:
            return None
        plan = plan_uniform(state, self.supervision, ceiling_flops=piece.budget_flops)
        recipe = Recipe(text=0.0, logits=1.0, divergence="reverse", rollouts=Rollouts(max_tokens=self.max_tokens))
        return plan if piece.phase == 0 else dataclasses.replace(plan, name="rollouts", recipe=recipe)
