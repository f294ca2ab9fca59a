"""What a corpus is made of: how much of what, how long, how sure, how dear, and what stands in it twice.

A `Description` is plain data. Lengths are those of whole targets, as the student is to write them: think tags and final
answer are part of them, and in tokens the end token too. Quantiles are lengths that occur: the shortest that at least
that share of the targets does not exceed.
"""

from __future__ import annotations

from dataclasses import dataclass

from curricula.description.overlap import Overlap
from curricula.types import VERDICTS, Cost, Verdict

_FOUND_RIGHT: tuple[Verdict, ...] = ("exact", "numeric", "choice", "math")
_FOUND_WRONG: tuple[Verdict, ...] = ("wrong", "no_answer")


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long some texts are.

    Example:
        Lengths(p10=40, p50=95, p90=230, p99=410, most=871, total=812_000)
    """

    p10: int
    p50: int
    p90: int
    p99: int
    most: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Ratios of lengths, example by example.

    Example:
        Ratios(n=7473, p10=0.21, p50=0.3, p90=0.42, overall=0.28)
    """

    n: int
    p10: float
    p50: float
    p90: float
    overall: float | None  # of the summed lengths; None where these are not known


@dataclass(frozen=True, kw_only=True)
class Offered:
    """What a corpus offers under one supervision."""

    supervision: str
    targets: int
    chars: Lengths
    tokens: Lengths | None  # None where none were counted
    reference: str | None  # the supervision that its lengths are held against, on the same examples
    char_ratios: Ratios | None  # None for the reference itself, and where no example offers both
    token_ratios: Ratios | None
    stored_char_ratios: Ratios | None  # as its compressor measured them, of the trace alone; None where it says nothing
    stored_token_ratios: Ratios | None
    verdicts: dict[Verdict, int]
    too_long: int | None  # with their prompts, than `Description.max_tokens`; None where that is not known
    teach: Cost  # of what its targets are made from, rejected samples included, as if nothing else were made from it
    compress: Cost

    @property
    def found_right(self) -> int:
        """Targets whose answer was looked at and is right."""
        return sum(self.verdicts.get(verdict, 0) for verdict in _FOUND_RIGHT)

    @property
    def checked(self) -> int:
        """Targets whose answer was looked at."""
        return self.found_right + sum(self.verdicts.get(verdict, 0) for verdict in _FOUND_WRONG)


@dataclass(frozen=True, kw_only=True)
class Description:
    """A corpus in figures."""

    name: str
    fingerprint: str
    examples: int
    targets: int
    splits: dict[str, int]  # examples by split; all four, in their order
    tasks: dict[str, dict[str, int]]  # examples by task and split, tasks in alphabetical order
    domains: dict[str, int]
    kinds: dict[str, int]
    dropped: dict[str, int]  # when the corpus was built: reason -> count
    tokenizer: str | None  # what tokens were counted with
    max_tokens: int | None  # the longest row, prompt and target, that the student takes
    prompt_chars: Lengths
    prompt_tokens: Lengths | None
    offered: tuple[Offered, ...]  # by kind, then by spelling
    teach: Cost  # of each completion once, however many targets are made from it
    compress: Cost  # of each target as if it were the only one made from its trace
    overlap: Overlap

    def verdicts(self) -> dict[Verdict, int]:
        """Targets by verdict; all verdicts, in their order."""
        return {verdict: sum(part.verdicts.get(verdict, 0) for part in self.offered) for verdict in VERDICTS}
