"""What steps of corpus building hand to each other: examples that go on, and what was left out and why.

Reading, verifying and compressing are all of one form, rows in and an `Intake` out, so that one pipeline runs them over
files of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

from curricula.types import Example


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One row, or one target of an example, that was left out.

    Example:
        Drop(where="traces.jsonl, line 7", reason="cut before its end", shown="<think>First, we")
    """

    where: str  # file and line or row, or the example and its supervision
    reason: str  # short and without particulars: equal reasons are counted together
    shown: str = ""  # the beginning of what is at fault


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What came of some rows.

    Example:
        Intake(examples=(example,), drops=(Drop(where="a.jsonl, line 2", reason="not JSON"),))
    """

    examples: tuple[Example, ...] = ()
    drops: tuple[Drop, ...] = ()


class UnusableError(ValueError):
    """A row that cannot be used, or a target; its message is the reason, short and countable."""
