"""What right answers cost, in words and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable

from evaluators.ownership import BreakEven, Terms
from evaluators.sentences import count_text, price_unit
from evaluators.serving import Hardware, Once, Retries
from experiments.findings.findings import Costs, QuestionSet
from experiments.findings.markdown import estimate_text, money_text, percent_text, table, to_text
from experiments.summary import flops_text, share_text


def costs_in_words(each: QuestionSet) -> list[str]:
    """The terms, what each setting took to make, and what a right answer costs by volume; break-even of every pair."""
    costs = each.costs
    if costs is None:
        return ["Not known: see the notes."]
    prices = [
        owned.dollars_per_correct.value
        for of_setting in costs.owned.values()
        for owned in of_setting
        if owned.dollars_per_correct.value
    ]
    times, unit = price_unit(prices)
    making_times = next((t for t in (1.0, 1e3, 1e6) if min(_making(costs), default=0.0) * t >= 0.01), 1e6)
    rows = [
        (
            name,
            *(f"{making_times * dollars:.3g}" for dollars in _parts(costs, name)),
            *(money_text(owned.dollars_per_correct, times) for owned in of_setting),
        )
        for name, of_setting in costs.owned.items()
    ]
    making_unit = {1.0: "dollars", 1e3: "thousandths of a dollar", 1e6: "millionths of a dollar"}[making_times]
    header = (
        *("setting", "teacher", "compression", "selection", "training"),
        *(f"over {count_text(volume)} queries" for volume in costs.volumes),
    )
    return [
        terms_text(costs.terms),
        f"What making a student took, in {making_unit}, and then what a {unit} costs in dollars, making included, by "
        "the number of queries it is ever asked:",
        table(header, rows),
        "These ranges redraw questions and runs; those of one run are about its questions alone.",
        "From how many queries on is one cheaper than another, by the right answer?",
        table(
            ("setting", "against", "is cheaper"),
            [
                (one, other, crossing_text(costs.break_evens[one, other]))
                for place, one in enumerate(costs.owned)
                for other in [*costs.owned][place + 1 :]
            ],
        ),
    ]


def _making(costs: Costs) -> list[float]:
    return [sum(of_setting[0].making_dollars.values()) for of_setting in costs.owned.values()]


def _parts(costs: Costs, name: str) -> Iterable[float]:
    parts = costs.owned[name][0].making_dollars
    return (parts["teacher"] + parts["rejected"], parts["compression"], parts["selection"], parts["training"])


def terms_text(terms: Terms) -> str:
    """Prices, and how answers are used, in words."""
    serving = terms.serving
    served = (
        f"at {_machine(serving)}"
        if isinstance(serving, Hardware)
        else f"behind an API, at ${serving.prompt_dollars_per_million_tokens:g} a million tokens read and "
        f"${serving.output_dollars_per_million_tokens:g} a million written"
    )
    match terms.usage:
        case Once():
            used = "The first answer is taken"
        case Retries() as usage:
            used = f"Up to {usage.max_attempts} attempts until a checker accepts one"
        case _:
            used = "A second pass looks at the first answer again"
    return (
        f"Prices: made at {_machine(terms.making)}; served {served}. {used}; a wrong answer costs "
        f"${terms.error_dollars:g}."
    )


def _machine(hardware: Hardware) -> str:
    reached = hardware.peak_flops_per_second * hardware.utilisation
    return f"${hardware.dollars_per_hour:.3g} an hour for {flops_text(reached)} FLOPs a second"


def crossing_text(found: BreakEven) -> str:
    """From when on one is cheaper than another, or until when: what follows on "is cheaper"."""
    if found.crossing in ("from the start", "never"):
        share = found.shares.get(found.crossing)
        return found.crossing if share in (None, 1.0) else f"{found.crossing} (so in {share_text(share)} of the draws)"
    low, high = found.ci95 if found.ci95 is not None else (math.nan, math.nan)
    spread = f" ({count_text(low)} {to_text(high, count_text)})" if found.ci95 is not None else ""
    return f"{found.crossing} {count_text(found.queries)} queries{spread}"


def frontiers_in_words(each: QuestionSet) -> list[str]:
    """Both frontiers as tables, where there is more than one setting."""
    parts = []
    for what, frontier in (("training", each.training_frontier), ("an answer", each.inference_frontier)):
        if frontier is None or len(frontier.points) < 2:
            continue
        rows = [
            (
                point.name,
                flops_text(point.flops),
                percent_text(point.accuracy),
                "yes" if point.on_frontier else "no",
                ", ".join(point.surely_dominated_by),
            )
            for point in frontier.points
        ]
        parts += [
            f"FLOPs of {what} against accuracy, under seeds {', '.join(map(str, each.frontier_seeds))}. Nothing that "
            "costs as little is more accurate than what is on the frontier:",
            table(("setting", f"FLOPs of {what}", "accuracy", "on the frontier", "surely behind"), rows),
            f"Hypervolume up to {flops_text(frontier.reference_flops)} FLOPs: "
            f"{estimate_text(frontier.hypervolume, '{:.3f}'.format)} accuracy x decades.",
        ]
    return parts
