"""Teachers: whoever writes completions for prompts, with its thinking on or off. One small interface, no torch here.

    requests --Teacher--> (index, Completion | Refusal), in whatever order they are done

A pair is written by asking one teacher the same prompt twice, with only its thinking toggled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from curricula.types import Cost


@dataclass(frozen=True, kw_only=True)
class Request:
    """One completion that is asked for.

    Example:
        Request(prompt="3+4=?", thinking=True, sample=0)
    """

    prompt: str  # as `curricula.rendering.prompt_text` puts the question
    thinking: bool
    sample: int = 0  # which of several for the same prompt; seeds the sampling where the teacher can be seeded


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a teacher wrote, and what that took.

    Example:
        Completion(reasoning="3+4=7", text="7", prompt_tokens=6, output_tokens=9, finished=True, cost=Cost(tokens=15))
    """

    reasoning: str | None  # its thinking, without tags; None where it did not think
    text: str  # what it said, after its thinking
    prompt_tokens: int
    output_tokens: int  # thinking included
    finished: bool  # it ended by itself, not at the limit of tokens
    cost: Cost
    estimated: bool = False  # some of the tokens were not counted by the server, but estimated from lengths of texts


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A request that gave nothing to use, after all retries; what it took is charged all the same.

    Example:
        Refusal(reason="empty completion", cost=Cost(tokens=6))
    """

    reason: str  # short and countable
    cost: Cost = field(default_factory=Cost)
    estimated: bool = False  # as in Completion


class Teacher(Protocol):
    """Writes completions."""

    @property
    def name(self) -> str:
        """As it stands behind `#` in a supervision's spelling."""
        ...

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
        """Answer every request once, each with its index, as they are done.

        Raises:
            TeacherError: the teacher cannot be reached or asked at all; what was yielded before is good.
        """
        ...


class TeacherError(RuntimeError):
    """The teacher is out of reach, or refuses everything: one line that says what was tried and what would help."""
