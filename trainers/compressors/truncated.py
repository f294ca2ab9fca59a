"""The beginning of a trace, as long as asked: the length-matched control, and nothing clever about what is kept."""

from __future__ import annotations

from collections.abc import Sequence

from curricula.rendering import split_thinking, think
from curricula.traces.truncation import truncate_to
from curricula.types import Floats, SupervisionKind
from trainers.compressors.interface import Outcome, Shortened, Trace, Unshortened
from trainers.compressors.measure import Measure


class Truncated:
    """`truncated`. It costs nothing."""

    kind: SupervisionKind = "truncated"

    def __init__(self, measure: Measure, *, matched: str | None = None) -> None:
        """Cut by tokens of a measure; `matched` is the compressor whose lengths the shares are."""
        self._measure = measure
        self.name = matched

    def compress(self, traces: Sequence[Trace], keep_NK: Floats) -> list[tuple[Outcome, ...]]:
        """Each trace up to the last whole word within its share of tokens."""
        encoded = self._measure.encode([trace.trace for trace in traces])
        outcomes: list[tuple[Outcome, ...]] = []
        for trace, (ids, start_T), keep_K in zip(traces, encoded, keep_NK, strict=True):
            # A share that was made from a count gives that count again, in spite of rounding.
            budgets = [int(float(keep) * len(ids) + 1e-6) for keep in keep_K]
            ends = [int(start_T[budget]) if budget < len(ids) else len(trace.trace) for budget in budgets]
            texts = [_beginning(trace.trace, end) for end in ends]
            outcomes.append(
                tuple(
                    Shortened(trace=text, kept_tokens=count, source_tokens=len(ids))
                    if text and len(text) < len(trace.trace)
                    else Unshortened(reason="not shorter" if text else "no word fits")
                    for text, count in zip(texts, self._measure.count(texts), strict=True)
                )
            )
        return outcomes


def _beginning(trace: str, keep_chars: int) -> str:
    kept, _ = split_thinking(truncate_to(think(trace, ""), keep_chars, ""))
    assert kept is not None
    return kept
