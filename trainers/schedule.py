"""Learning rate as a function of budget progress, so that stages can be cut anywhere without breaking the schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Warm-up, then either a plateau with a linear decay (`wsd`) or a cosine, over the share of the budget spent.

    Example:
        Schedule(kind="wsd", warmup=0.02, decay=0.3, floor=0.05)
    """

    kind: Literal["wsd", "cosine"] = "wsd"
    warmup: float = 0.02  # share of the budget, linear from 0
    decay: float = 0.4  # share of the budget at its end, linear to the floor; wsd only
    floor: float = 0.02  # of the base rate, reached when the budget is spent

    def __post_init__(self) -> None:
        if not (0.0 <= self.warmup < 1.0 and 0.0 <= self.decay <= 1.0 - self.warmup and 0.0 <= self.floor <= 1.0):
            raise ValueError(
                f"schedule: warmup in [0, 1), decay in [0, 1 - warmup] and floor in [0, 1] wanted, "
                f"got warmup={self.warmup}, decay={self.decay}, floor={self.floor}"
            )

    def factor(self, progress: float) -> float:
        """What the base rate is multiplied by when `progress` (0 to 1) of the budget is spent."""
        if progress < self.warmup:
            # Never zero: a first step at rate zero would be paid for and teach nothing.
            return max(progress / self.warmup, 0.05)
        if self.kind == "cosine":
            turn = (progress - self.warmup) / (1.0 - self.warmup)
            return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * min(turn, 1.0)))
        if self.decay == 0.0 or progress < 1.0 - self.decay:
            return 1.0
        left = max(1.0 - progress, 0.0) / self.decay
        return self.floor + (1.0 - self.floor) * left
