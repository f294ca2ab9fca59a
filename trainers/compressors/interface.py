"""What a compressor is given and what it gives back. No torch here.

Axes: N traces, K shares to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from curricula.types import Cost, Floats, SupervisionKind


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One trace to shorten.

    Example:
        Trace(prompt="3+4, then times 2?", trace="3+4=7. Let me check. 7*2=14.", answer="14")
    """

    prompt: str  # as `curricula.rendering.prompt_text` puts the question
    trace: str  # without think tags
    answer: str
    spellings: tuple[str, ...] = ()  # of the answer, besides: the text of the choice that a letter names

    @property
    def answers(self) -> tuple[str, ...]:
        """The answer in all of its spellings."""
        return (self.answer, *self.spellings)


@dataclass(frozen=True, kw_only=True)
class Shortened:
    """A shorter trace.

    Example:
        Shortened(trace="3+4=7. 7*2=14.", kept_tokens=14, source_tokens=28, cost=Cost(flops=10**9, tokens=40))
    """

    trace: str  # never empty, and shorter than its source
    kept_tokens: int  # of the compressor's tokenizer
    source_tokens: int
    cost: Cost = field(default_factory=Cost)  # what having this one trace takes


@dataclass(frozen=True, kw_only=True)
class Unshortened:
    """A trace that could not be shortened to be trained on; what was tried is charged all the same.

    Example:
        Unshortened(reason="every step carries the result", cost=Cost(flops=10**9, tokens=40))
    """

    reason: str  # short and countable
    cost: Cost = field(default_factory=Cost)


Outcome = Shortened | Unshortened


class Compressor(Protocol):
    """Shortens traces."""

    @property
    def kind(self) -> SupervisionKind:
        """The kind of supervision it makes."""
        ...

    @property
    def name(self) -> str | None:
        """As it stands behind the kind and a colon; None where it does not."""
        ...

    def compress(self, traces: Sequence[Trace], keep_NK: Floats) -> list[tuple[Outcome, ...]]:
        """Shorten each trace to each of its K shares, in (0, 1), of its tokens: K outcomes for each of N traces.

        What can be done once for all K is done once. Each outcome's cost is what it would be alone: a corpus that keeps
        several of them holds the shared part of it several times. Nothing depends on the other traces.
        """
        ...
