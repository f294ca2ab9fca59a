"""A cell of the decision matrix in one sentence, for somebody who decides and does not train."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from evaluators.answering import Figure
from evaluators.decision import Cell, Evidence

POWERS = ((1e18, "quintillion"), (1e15, "quadrillion"), (1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def sentence(cell: Cell) -> str:
    """The cell in words: where it stands, what to choose or why not, and the figures behind it.

    Example:
        "For sums asked of tiny, trained with 6 trillion operations, over 1 million queries: choose short at $1.20
        (likely $1.10 to $1.30) per thousand right answers, with 87% (likely 84% to 90%) right over 120 questions and 3
        training runs; next comes answer at $1.90 (likely $1.70 to $2.20) per thousand right answers, with ..."
    """
    where = (
        f"For {cell.task_group} asked of {cell.student}, trained with {count_text(cell.budget_flops)} operations, over "
        f"{count_text(cell.queries)} {'query' if cell.queries == 1 else 'queries'}: "
    )
    return f"{where}{_finding(cell)}{_removed(cell)}."


def _finding(cell: Cell) -> str:
    if cell.verdict == "none left":
        return "nothing that was measured keeps within the limits"
    prices = [each.dollars_per_correct.value for each in cell.evidence if each.dollars_per_correct.value]
    unit = price_unit(prices)
    said = {each.supervision: f"{each.supervision} at {_figures(each, unit)}" for each in cell.evidence}
    best = cell.evidence[0]
    match cell.verdict:
        case "none right":
            asked = ", ".join(f"{each.supervision} on {_sample(each)}" for each in cell.evidence)
            return f"nothing to choose, for no answer was right ({asked})"
        case "no rival":
            return f"only {said[best.supervision]} was measured within the limits, so there is nothing to compare"
        case "decided":
            return f"choose {said[best.supervision]}; next comes {said[cell.evidence[1].supervision]}"
    worse = [each.supervision for each in cell.evidence if each.supervision not in cell.open]
    behind = f"; clearly behind: {listed(worse)}" if worse else ""
    why = "their likely ranges overlap"
    if cell.verdict == "too little data":
        why = "one training run, or no known range, cannot tell them apart"
    return f"not decided by this data: {', or '.join(said[name] for name in cell.open)}, because {why}{behind}"


def _removed(cell: Cell) -> str:
    if not cell.removed:
        return ""
    return "; left out: " + "; ".join(f"{each.supervision} {each.reason}" for each in cell.removed)


def _figures(each: Evidence, unit: tuple[float, str]) -> str:
    """Cost and share of right answers with their ranges, and on how much they rest."""
    times, name = unit
    cost = _range(each.dollars_per_correct, lambda dollars: f"${dollars_text(dollars * times)}")
    right = _range(each.right, lambda share: f"{100 * share:.3g}%")
    price = "no price, as nothing was right" if each.dollars_per_correct.value is None else f"{cost} per {name}"
    return f"{price}, with {right} right over {_sample(each)}"


def _sample(each: Evidence) -> str:
    questions = f"{each.questions:,} question{'' if each.questions == 1 else 's'}"
    return f"{questions} and {each.runs} training run{'' if each.runs == 1 else 's'}"


def _range(figure: Figure, spell: Callable[[float], str]) -> str:
    """A value and its likely range."""
    value = spell(figure.value or 0.0)
    if figure.ci95 is None:
        return f"{value} (range unknown)"
    low, high = figure.ci95
    upper = f"to {spell(high)}" if math.isfinite(high) else "or more, without limit"
    return f"{value} (likely {spell(low)} {upper})"


def price_unit(prices: Sequence[float]) -> tuple[float, str]:
    """How many right answers to price at once, so that the cheapest, in dollars each, come to a cent or more."""
    for times, name in ((1.0, "right answer"), (1e3, "thousand right answers"), (1e6, "million right answers")):
        if not prices or min(prices) * times >= 0.01:
            return times, name
    return 1e9, "billion right answers"


def dollars_text(amount: float) -> str:
    """Cents, or three digits where they say more.

    Example:
        >>> dollars_text(1234.5), dollars_text(0.0123)
        ('1,234.50', '0.0123')
    """
    return f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.3g}"


def count_text(amount: float) -> str:
    """An amount in words: 6e12 is 6 trillion."""
    for power, name in POWERS:
        if power <= amount < 1000 * power:
            return f"{amount / power:.3g} {name}"
    return f"{amount:,.0f}" if amount < 1e6 else f"{amount:.3g}"


def listed(names: Sequence[str]) -> str:
    """Names in a row, of which there is one at least: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
