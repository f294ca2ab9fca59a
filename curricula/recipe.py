"""How a stage trains, apart from what it shows: which parts of the student, on which objectives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Component = Literal["embeddings", "lower", "upper", "head"]
COMPONENTS: tuple[Component, ...] = ("embeddings", "lower", "upper", "head")
"""The parts of a student, from the bottom: `lower` is the lower half of its blocks (the smaller one where their number
is odd), `head` the output head with the norm before it. Tied embeddings are the head: both are trained or neither."""

Divergence = Literal["forward", "reverse", "jensen_shannon"]
DIVERGENCES: tuple[Divergence, ...] = ("forward", "reverse", "jensen_shannon")


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """The student trains on what it writes itself, with the teacher's logits for a target (on-policy distillation).

    Example:
        Rollouts(max_tokens=64)
    """

    max_tokens: int  # of one rollout; its price is reserved in full, and what is not written is given back
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens of a rollout must be at least 1, got {self.max_tokens}")
        _check_positive("temperature", self.temperature)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, and on which weighted sum of objectives; by default everything, on the target's text.

    Every objective is a mean over supervised tokens. `logits`, `hidden` and `rollouts` need a white-box teacher.

    Example: half the rate; and lower blocks from the teacher's states, the others from its logits.
        Recipe(rate_multiplier=0.5)
        Recipe(text=0.0, logits=1.0, hidden=1.0, layers=((1, 2),), detached=True)
    """

    rate_multiplier: float = 1.0  # times the base rate of (student, supervision)
    components: tuple[Component, ...] = COMPONENTS  # trained in this stage; of a LoRA run, whose adapters
    text: float = 1.0  # weight of the cross-entropy with the target
    logits: float = 0.0  # weight of the divergence from the teacher's next-token distribution
    divergence: Divergence = "forward"
    temperature: float = 1.0  # both distributions are softened by it
    hidden: float = 0.0  # weight of the distance to the teacher's hidden states
    layers: tuple[tuple[int, int], ...] = ()  # (student's, teacher's): blocks, from 1, whose outputs are aligned
    detached: bool = False  # the gradients of `text` and `logits` end above the lower blocks
    reasoning_weight: float = 1.0  # of the tokens inside the think tags, the closing tag counted
    answer_weight: float = 1.0  # of those after them
    rollouts: Rollouts | None = None  # in place of the targets' text

    def __post_init__(self) -> None:
        if not 0.0 < self.rate_multiplier <= 100.0:
            raise ValueError(f"rate_multiplier must lie in (0, 100], got {self.rate_multiplier}")
        _check_positive("temperature", self.temperature)
        for name, weight in (
            ("text", self.text),
            ("logits", self.logits),
            ("hidden", self.hidden),
            ("reasoning_weight", self.reasoning_weight),
            ("answer_weight", self.answer_weight),
        ):
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"{name} must be a weight of 0 or more, got {weight}")
        if not (self.text or self.logits or self.hidden):
            raise ValueError("a recipe needs an objective: text, logits and hidden all have weight 0")
        if not (self.reasoning_weight or self.answer_weight):
            raise ValueError("reasoning_weight and answer_weight are both 0, so no token would be trained on")
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}, got {self.divergence!r}")
        if not self.components or any(name not in COMPONENTS for name in self.components):
            raise ValueError(f"components must be some of {', '.join(COMPONENTS)}, got {', '.join(self.components)!r}")
        if bool(self.hidden) != bool(self.layers):
            raise ValueError(
                f"hidden={self.hidden} with layers={self.layers}: aligned layers need a weight, and it them"
            )
        if any(number < 1 for pair in self.layers for number in pair):
            raise ValueError(f"layers are counted from 1, got {self.layers}")
        if self.rollouts is not None and (
            self.text or self.hidden or self.detached or self.reasoning_weight != self.answer_weight
        ):
            raise ValueError(
                "rollouts have no target text: give logits a weight, text and hidden 0, all tokens the same, and "
                "detach nothing"
            )

    @property
    def asks_teacher(self) -> bool:
        """Whether the stage needs a white-box teacher."""
        return bool(self.logits or self.hidden)


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive, got {value}")
