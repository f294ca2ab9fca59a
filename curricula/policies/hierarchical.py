"""A student built from the bottom up: hidden states for its lower part, logits for its upper part, then text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from curricula.policies.slices import next_slice
from curricula.policies.staged import Staged
from curricula.policy import CurriculumPolicy
from curricula.recipe import Component, Divergence, Recipe
from curricula.types import RunState, StagePlan


@dataclass(frozen=True, kw_only=True)
class Hierarchical(CurriculumPolicy):
    """Three phases on one supervision; the first two learn from a white-box teacher (`--white_box_teacher`).

    The lower part is aligned with the teacher's hidden states, as FitNets (arXiv 1412.6550) begin; the upper part
    learns from its logits on top of it; the whole student learns from text. The defaults suit `tiny`, whose
    embeddings are its head, under `tiny-3m`: its one lower block ends where the teacher's lower half does.

    Example: a student whose embeddings and head are apart, half of its eight blocks under a teacher of sixteen.
        Hierarchical(lower=("embeddings", "lower"), upper=("upper", "head"), layers=((2, 4), (4, 8)))
    """

    supervision: str = "reasoning"  # the spelling of a Supervision
    hidden_share: float = 0.15  # of total_flops, for the lower part ...
    logits_share: float = 0.25  # ... and for the upper; what is left goes to text
    lower: tuple[Component, ...] = ("embeddings", "lower", "head")
    upper: tuple[Component, ...] = ("upper",)
    layers: tuple[tuple[int, int], ...] = ((1, 2),)  # (student's, teacher's) blocks, from 1, whose outputs are aligned
    divergence: Divergence = "forward"
    slices: int = 8  # parts of the budget in all, one stage each; every phase has at least one
    probe_examples: int = 0  # measured freely after each slice, always the same ones; paid from the budget

    def __post_init__(self) -> None:
        taught = self.hidden_share + self.logits_share
        if min(self.hidden_share, self.logits_share) < 0 or taught > 1:
            raise ValueError(
                "Hierarchical: hidden_share and logits_share are parts of one budget, got "
                f"{self.hidden_share} and {self.logits_share}"
            )
        self.phases()
        self.staged()

    @property
    def asks_teacher(self) -> bool:
        """Always."""
        return True

    def phases(self) -> tuple[Recipe, Recipe, Recipe]:
        """How each phase trains."""
        return (
            Recipe(text=0.0, hidden=1.0, layers=self.layers, components=self.lower),
            Recipe(text=0.0, logits=1.0, divergence=self.divergence, components=self.upper),
            Recipe(),
        )

    def staged(self) -> Staged:
        """The same rows and shares without a teacher."""
        shares = (self.hidden_share, self.logits_share, 1.0 - (self.hidden_share + self.logits_share))
        stages = tuple((self.supervision, share) for share in shares)
        return Staged(stages=stages, slices=self.slices, probe_examples=self.probe_examples)

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Raises ValueError where no example offers the supervision."""
        staged = self.staged()
        plan = staged.next_stage(state)
        piece = next_slice(state, shares=tuple(share for _, share in staged.stages), slices=self.slices)
        if plan is None or piece is None:
            return None
        name = f"{('hidden states', 'logits', 'text')[piece.phase]}: {plan.name}"
        return dataclasses.replace(plan, name=name, recipe=self.phases()[piece.phase])
