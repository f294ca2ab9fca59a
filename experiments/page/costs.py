"""What a correct answer costs: frontiers over training and answering, the bill by part, break-even, sensitivity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from evaluators.ownership import BreakEven, Ownership
from evaluators.sentences import count_text, price_unit
from experiments.findings.costs_in_words import crossing_text, terms_text
from experiments.findings.findings import Costs, QuestionSet, Setting
from experiments.page.areas import Bar, bar_chart
from experiments.page.charts import Crossing, Dot, Place, Series, line_chart
from experiments.page.markup import Html, figure, folded, joined, note, table, tag
from experiments.page.svg import Axis, area_legend, around_logarithmic
from experiments.page.wording import (
    Facet,
    called,
    dollars,
    facets,
    money,
    percent,
    range_text,
    side_by_side,
    slots_of,
)
from experiments.summary import flops_text

PARTS = ("teacher and compression", "selection", "training", "serving", "errors")
_CURVE_POINTS = 41
_SENTENCES = 4  # of break-even that stand in the open


Owned = Mapping[str, tuple[Ownership, ...]]
"""What policies of one student and budget cost to own, at every volume."""


def costs_section(questions: QuestionSet) -> Html:
    """The bill by part at each volume, cost over volume with its crossings, and the tables behind them."""
    costs = questions.costs
    if costs is None:
        return note("Dollars are not known: the notes below say why.")
    prices = [each.dollars_per_correct.value for owned in costs.owned.values() for each in owned]
    times, unit = price_unit([price for price in prices if price])
    return joined(
        [
            note(f"{terms_text(costs.terms)} All of this is stated by flags of the command."),
            area_legend((part, place) for place, part in enumerate(PARTS)),
            side_by_side([(facet, _charts(facet, costs, questions, times, unit)) for facet in facets(questions)]),
            folded("The bill in figures", _bill_table(costs, times, unit)),
            folded("If an input were half or twice what it is", _sensitivity_table(costs, times, unit)),
        ]
    )


def _charts(facet: Facet, costs: Costs, questions: QuestionSet, times: float, unit: str) -> Html:
    owned = {each.policy: costs.owned[each.name] for each in facet.settings if each.name in costs.owned}
    slots = {each.policy: slots_of(questions)[each.name] for each in facet.settings}
    bills = [
        figure(f"Over {count_text(volume)} queries, dollars per {unit}", _bill(owned, place, times, unit))
        for place, volume in enumerate(costs.volumes)
    ]
    title = "Break-even: cost of a correct answer" if len(owned) > 1 else "Cost of a correct answer"
    lines = [
        figure(title, _per_correct(owned, slots, times, unit, _pairs(costs, facet)), _BREAK_EVEN_NOTE),
        figure("Total cost", _total(owned, slots), "Making, serving and errors; the band is the 95% interval."),
    ]
    return tag("div", *bills, *lines, _crossings(_pairs(costs, facet)), class_="charts")


_BREAK_EVEN_NOTE = (
    "Cost of one correct answer over the queries of a student's life. Where lines cross, in a ring, the cheaper one "
    "changes; points and rings carry 95% intervals."
)


def _amounts(owned: Ownership) -> tuple[float, ...]:
    """Dollars of a student's life by part, in the order of PARTS."""
    made = owned.making_dollars
    corpus = sum(made.get(name, 0.0) for name in ("teacher", "rejected", "compression"))
    serving, errors = owned.serving_dollars.value or 0.0, owned.error_dollars.value or 0.0
    return corpus, made.get("selection", 0.0), made.get("training", 0.0), serving, errors


def _bill(owned_by_policy: Owned, place: int, times: float, unit: str) -> Html:
    bars = []
    for name, at_volumes in owned_by_policy.items():
        owned = at_volumes[place]
        right = owned.queries * (owned.right.value or 0.0)
        parts = [(slot, times * amount / right) for slot, amount in enumerate(_amounts(owned))] if right else []
        whole = f"in all {money(owned.dollars_per_correct, times)}"
        tips = (f"{called(name)}\n{PARTS[slot]}: {dollars(amount)} per {unit}\n{whole}" for slot, amount in parts)
        words = dollars(sum(amount for _, amount in parts)) if right else "no answer is right"
        bars.append(
            Bar(name=called(name), parts=tuple((*part, tip) for part, tip in zip(parts, tips, strict=True)), note=words)
        )
    longest = max((sum(amount for _, amount, _ in bar.parts) for bar in bars), default=0.0)
    return bar_chart(f"Cost of {unit}", bars, Axis(low=0.0, high=longest or 1.0, spell="${:g}".format))


def _volume_axis(owned_by_policy: Owned) -> tuple[Axis, list[float]]:
    volumes = [owned.queries for at_volumes in owned_by_policy.values() for owned in at_volumes] or [1.0]
    low, high = min(volumes) / 10, max(volumes) * 10
    axis = Axis(low=low, high=high, label="queries", spell=flops_text, scale="logarithmic")
    return axis, np.geomspace(low, high, _CURVE_POINTS).tolist()


def _line_of(owned: Ownership) -> tuple[float, float, tuple[float, float] | None]:
    """Dollars before the first query, dollars of a query, and the interval of the latter."""
    each = ((owned.serving_dollars.value or 0.0) + (owned.error_dollars.value or 0.0)) / owned.queries
    making = sum(owned.making_dollars.values())
    ends = owned.total_dollars.ci95
    if ends is None or not math.isfinite(ends[1]):
        return making, each, None
    return making, each, ((ends[0] - making) / owned.queries, (ends[1] - making) / owned.queries)


def _total(owned_by_policy: Owned, slots: Mapping[str, int]) -> Html:
    x, volumes = _volume_axis(owned_by_policy)
    series = []
    for name, at_volumes in owned_by_policy.items():
        making, each, ends = _line_of(at_volumes[-1])
        around_it = tuple((making + q * ends[0], making + q * ends[1]) if ends else None for q in volumes)
        points = tuple((q, making + q * each) for q in volumes)
        series.append(Series(name=called(name), slot=slots[name], points=points, band=around_it))
    return line_chart("Total cost over query volume", series, x, _dollar_axis(series))


def _per_correct(
    owned_by_policy: Owned, slots: Mapping[str, int], times: float, unit: str, pairs: Sequence[_Pair]
) -> Html:
    x, volumes = _volume_axis(owned_by_policy)
    series, places = [], []
    for name, at_volumes in owned_by_policy.items():
        owned = at_volumes[-1]
        if not owned.right.value:
            continue
        points = tuple((q, _at(q, owned, times)) for q in volumes)
        series.append(Series(name=called(name), slot=slots[name], points=points))
        for at in at_volumes:
            if at.dollars_per_correct.value is not None:
                ends = at.dollars_per_correct.ci95
                scaled = (times * ends[0], times * ends[1]) if ends and math.isfinite(ends[1]) else None
                cost, volume = money(at.dollars_per_correct, times), count_text(at.queries)
                tip = f"{called(name)}\n{cost} per {unit}\nover {volume} queries"
                dot = Dot(value=times * at.dollars_per_correct.value, ci95=scaled, slot=slots[name], tip=tip)
                places.append(Place(name=name, x=at.queries, dot=dot))
    crossings = [
        Crossing(
            x=found.queries,
            y=_at(found.queries, owned_by_policy[challenger.policy][-1], times),
            ci95=found.ci95,
            tip=f"break-even\n{_crossing(challenger, incumbent, found)}",
        )
        for challenger, incumbent, found in pairs
        if found.crossing in ("from", "until") and x.low <= found.queries <= x.high
    ]
    y = _dollar_axis(series, f"dollars per {unit}")
    title = "Cost of a correct answer over query volume"
    return line_chart(title, series, x, y, places=places, crossings=crossings)


def _at(queries: float, owned: Ownership, times: float) -> float:
    """Dollars of so many correct answers over another volume than that of `owned`."""
    making, each, _ = _line_of(owned)
    return times * (making / queries + each) / (owned.right.value or math.inf)


def _dollar_axis(series: Sequence[Series], label: str = "dollars") -> Axis:
    amounts = [amount for each in series for _, amount in each.points if amount > 0] or [1.0]
    low, high = around_logarithmic(amounts)
    return Axis(low=low, high=high, label=label, spell="${:g}".format, scale="logarithmic")


_Pair = tuple[Setting, Setting, BreakEven]  # challenger, incumbent, and where they break even


def _pairs(costs: Costs, facet: Facet) -> list[_Pair]:
    """Every pair of a facet, the one that is cheaper at large volumes first; those that cross before the others."""
    pairs: list[_Pair] = []
    for one, other in itertools.combinations(facet.settings, 2):
        forward = costs.break_evens.get((one.name, other.name))
        back = costs.break_evens.get((other.name, one.name))
        if forward is not None and back is not None:
            late = ("from", "from the start")
            turned = back.crossing in late and forward.crossing not in late
            pairs.append((other, one, back) if turned else (one, other, forward))
    return sorted(pairs, key=lambda pair: pair[2].crossing not in ("from", "until"))


def _crossings(pairs: Sequence[_Pair]) -> Html:
    """A sentence for every pair."""
    said = [_crossing(*pair) for pair in pairs]
    shown = tag("ul", *(tag("li", words) for words in said[:_SENTENCES]), class_="note")
    more = folded("Every other pair", tag("ul", *(tag("li", words) for words in said[_SENTENCES:]), class_="note"))
    return figure("Where it breaks even", joined([shown, more if said[_SENTENCES:] else ""]) if said else "")


def _crossing(challenger: Setting, incumbent: Setting, found: BreakEven) -> str:
    never = "never " if found.crossing == "never" else ""
    when = crossing_text(found).removeprefix("never").strip()
    words = f"{called(challenger.policy)} is {never}cheaper than {called(incumbent.policy)} {when}"
    return f"{words.strip()}."


def _bill_table(costs: Costs, times: float, unit: str) -> Html:
    header = ("setting", "queries", *PARTS, "in all [95%]", "right [95%]", f"per {unit} [95%]")
    rows = [
        (
            called(name),
            count_text(owned.queries),
            *(dollars(amount) for amount in _amounts(owned)),
            money(owned.total_dollars),
            f"{percent(owned.right.value or 0.0)} {range_text(owned.right.ci95)}",
            money(owned.dollars_per_correct, times),
        )
        for name, at_volumes in costs.owned.items()
        for owned in at_volumes
    ]
    return table(header, rows)


def _sensitivity_table(costs: Costs, times: float, unit: str) -> Html:
    header = ("setting", "what is changed", "half", "as it is", "double")
    rows = [
        (called(name), each.changed, money(each.half, times), money(each.same, times), money(each.double, times))
        for name, changes in costs.sensitivity.items()
        for each in changes
    ]
    middle = costs.volumes[len(costs.volumes) // 2]
    words = f"Dollars per {unit} over {count_text(middle)} queries, if one input were half or twice what it is."
    return joined([table(header, rows, numeric_from=2), note(words)])
