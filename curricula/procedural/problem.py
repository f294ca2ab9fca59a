"""What a procedural family returns: one problem with its working at three lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from curricula.types import Domain

LEVELS = 3
"""Difficulty of an in-domain problem is an integer in [0, LEVELS)."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem, its answer, and the working without think tags and without the answer.

    Example:
        Problem(prompt="47+38=", answer="85", short="15 8", compressed="7+8=15 4+3+1=8", reasoning="units 7+8=15 ...")
    """

    prompt: str
    answer: str
    short: str  # visible steps
    compressed: str
    reasoning: str
    choices: tuple[str, ...] = ()  # the answer is then a letter


Family = Callable[[np.random.Generator, int, Domain], Problem]
"""A pure function of (random numbers, difficulty in [0, LEVELS), domain); transfer problems ignore difficulty."""


def size(sizes: Sequence[int], difficulty: int, domain: Domain) -> int:
    """The instance size for a difficulty: `sizes` holds one per level, then the transfer domain's."""
    return sizes[LEVELS] if domain == "transfer" else sizes[difficulty]


def digits_of(rng: np.random.Generator, count: int, largest: int = 9) -> str:
    """A number of `count` decimal digits up to `largest`, without a leading zero, as text."""
    first = rng.integers(1, largest + 1)
    return "".join(str(digit) for digit in (first, *rng.integers(largest + 1, size=count - 1)))


def every(steps: Sequence[str], stride: int) -> str:
    """Keep one step in `stride` (the last of each group), joined by spaces: compression at a uniform ratio."""
    return " ".join(steps[stride - 1 :: stride])
