"""Figures and names in Markdown: text from a corpus or a model reads as it is, and a range stands by its figure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from evaluators.answering import Figure
from evaluators.resampling import Estimate, Interval
from evaluators.sentences import dollars_text
from experiments.findings.findings import INTERVAL_NOTE

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#$!])")
_LINK = re.compile(r"(?i)(?<=:)(?=//)|(?<=www)(?=\.)")
_OPENING = re.compile(r"^(\d*)([-+=.)])(?=\s|[-=]*$)")  # of a list, a rule or an underlined heading


def escaped(text: str) -> str:
    """A text as it reads, on one line, whatever Markdown or HTML stands in it.

    Example:
        >>> escaped("<b>max</b> | x_1")
        '\\\\<b\\\\>max\\\\</b\\\\> \\\\| x\\\\_1'
    """
    flat = " ".join(text.split())
    return _OPENING.sub(r"\1\\\2", _LINK.sub(r"\\", _SPECIAL.sub(r"\\\1", flat)))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; every cell is escaped, and a column without any text is left out."""
    filled = [at for at in range(len(header)) if any(row[at] for row in rows)]
    lines = [" | ".join(escaped(row[at]) for at in filled) for row in (header, *rows)]
    lines.insert(1, " | ".join("---" for _ in filled))
    return "\n".join(f"| {line} |" for line in lines)


def span(interval: Interval | None, form: Callable[[float], str]) -> str:
    """A range in brackets behind a figure; nothing where there is none."""
    return "" if interval is None else f" ({form(interval.low)} to {form(interval.high)})"


def estimate_text(estimate: Estimate | None, form: Callable[[float], str]) -> str:
    """A value with the range that is shown beside it; nothing where there is none."""
    return "" if estimate is None else f"{form(estimate.value)}{span(shown(estimate), form)}"


def percent_text(estimate: Estimate) -> str:
    """An accuracy with its range."""
    value, *rest = estimate_text(estimate, lambda share: f"{100 * share:.1f}").split(" ", 1)
    return " ".join([f"{value}%", *rest])


def points_text(estimate: Estimate) -> str:
    """A difference of accuracies in points."""
    return estimate_text(estimate, lambda difference: f"{100 * difference:+.1f}")


def shown(estimate: Estimate) -> Interval | None:
    """The interval over seeds; of one run alone, that over its questions."""
    return estimate.given_seeds if estimate.n_seeds == 1 else estimate.interval


def source_text(estimate: Estimate) -> str:
    """What the range that is shown is about."""
    interval = shown(estimate)
    return "none: nothing varied" if interval is None else INTERVAL_NOTE[interval.source].removeprefix("95% ")


def money_text(figure: Figure, times: float) -> str:
    """Dollars for so many; none where there is no price, because nothing was right."""
    if figure.value is None:
        return "none right"
    text = dollars_text(times * figure.value)
    if figure.ci95 is None:
        return text
    low, high = figure.ci95
    return f"{text} ({dollars_text(times * low)} {to_text(high, lambda dollars: dollars_text(times * dollars))})"


def to_text(high: float, form: Callable[[float], str]) -> str:
    """The upper end of a range, which may have none."""
    return f"to {form(high)}" if math.isfinite(high) else "or more, without limit"
