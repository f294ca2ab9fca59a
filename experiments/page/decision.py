"""Which supervision to use: the decision matrix, its evidence, and its sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from evaluators.decision import Cell, Limits
from evaluators.sentences import count_text, listed, price_unit
from experiments.findings.findings import Decisions, QuestionSet
from experiments.page.markup import Html, folded, joined, note, table, tag
from experiments.page.svg import COLOURS
from experiments.page.wording import NOT_DECIDED, called, money, percent, range_text
from experiments.summary import flops_text

_WORDS = {
    "tied": NOT_DECIDED,
    "too little data": NOT_DECIDED,
    "no rival": "nothing to compare with",
    "none right": "no answer was right",
    "none left": "nothing keeps within the limits",
}


def decision_section(questions: QuestionSet) -> Html:
    """The matrix: a row for every task group, student and budget, a column for every volume; evidence below."""
    found = questions.decisions
    if found is None or not found.cells:
        return note("Nothing can be decided: the notes below say why.")
    slots: dict[str, int] = {}
    for setting in questions.settings:
        slots.setdefault(setting.policy, len(slots))
    volumes = list(dict.fromkeys(cell.queries for cell in found.cells))
    students = {(cell.student, cell.budget_flops) for cell in found.cells}
    header = ["questions", *(["student and budget"] if len(students) > 1 else [])]
    header += [f"{count_text(volume)} queries" for volume in volumes]
    rows, evidence = [], []
    said = dict(zip(found.cells, found.sentences, strict=True))
    for (group, student, budget), cells in groupby(found.cells, key=_row_key):
        of_row = list(cells)
        by_volume = {cell.queries: cell for cell in of_row}
        place = [f"{student}, {flops_text(budget)} FLOPs"] if len(students) > 1 else []
        unit = _unit(of_row)
        chips = [_chip(by_volume[volume], slots, unit) if volume in by_volume else "" for volume in volumes]
        rows.append([group, *place, *chips])
        title = ", ".join([group, *place])
        sentences = tag("ul", *(tag("li", said[cell]) for cell in of_row), class_="sentences")
        evidence.append(folded(f"Evidence: {title}", sentences, _evidence(of_row)))
    return joined(
        [
            note(_rule(found)),
            table(header, rows, numeric_from=len(header), class_="matrix"),
            *evidence,
        ]
    )


def choices(questions: QuestionSet) -> list[str]:
    """For every student and budget a sentence: what to choose for all questions at each volume, or that nothing is."""
    found = questions.decisions
    if found is None or not found.cells or len(questions.settings) < 2:
        return []
    first = [cell for cell in found.cells if cell.task_group == found.cells[0].task_group]
    what = "By cost of a correct answer" if found.criterion == "dollars_per_correct" else "By share answered right"
    said = []
    for (_, student, budget), cells in groupby(first, key=_row_key):
        of_row = list(cells)
        parts = []
        times, unit = _unit(of_row)
        for (verdict, choice, _), alike in groupby(of_row, key=lambda c: (c.verdict, c.choice, frozenset(c.open))):
            same = list(alike)
            volumes = listed([count_text(cell.queries) for cell in same])
            words, open_ = _WORDS.get(verdict, ""), [called(name) for name in same[0].open]
            if choice is not None:
                prices = listed([money(cell.evidence[0].dollars_per_correct, times) for cell in same])
                words = f"choose {called(choice)}, at {prices} per {unit}"
            elif verdict == "no rival":
                words += f" {open_[0]}"
            elif verdict in ("tied", "too little data"):
                words += f" between {listed(open_)}"
            parts.append(f"over {volumes} queries {words}")
        several = len({_row_key(cell) for cell in first}) > 1
        said.append(f"{what}{f' ({student}, {flops_text(budget)} FLOPs)' if several else ''}: {'; '.join(parts)}.")
    return said


def _unit(cells: Sequence[Cell]) -> tuple[float, str]:
    """How many right answers are priced at once in these cells, and in words."""
    prices = [each.dollars_per_correct.value for cell in cells for each in cell.evidence]
    return price_unit([price for price in prices if price])


def _row_key(cell: Cell) -> tuple[str, str, int]:
    return cell.task_group, cell.student, cell.budget_flops


def _chip(cell: Cell, slots: dict[str, int], unit: tuple[float, str]) -> Html:
    """A cell of the matrix: what to choose and what it costs, or why nothing is chosen, and what is still open."""
    if cell.choice is not None:
        best = cell.evidence[0]
        right = f"{percent(best.right.value or 0.0)} right"
        tip = f"{called(cell.choice)}\n{right} {range_text(best.right.ci95)}"
        cost = f"{money(best.dollars_per_correct, unit[0])} per {unit[1]}"
        name = tag("b", called(cell.choice), class_=f"chip c{slots.get(cell.choice, 0) % COLOURS}")
        return tag("span", name, tag("small", f"{right}; {cost}"), data_tip=f"{tip}\n{cost}", tabindex="0")
    between = ", or ".join(map(called, cell.open)) if cell.verdict in ("tied", "too little data", "no rival") else ""
    return tag("span", tag("i", _WORDS[cell.verdict]), tag("small", between))


def _rule(found: Decisions) -> str:
    what = "the cost of a correct answer" if found.criterion == "dollars_per_correct" else "the share answered right"
    return (
        f"A supervision is chosen by {what}, where its 95% interval overlaps no other's and each rests on two runs or "
        f"more; everything else is {NOT_DECIDED}. {_limits(found.limits)}"
    )


def _limits(limits: Limits) -> str:
    said = []
    if limits.max_latency_seconds is not None:
        said.append(f"at most {limits.max_latency_seconds:g} seconds an answer")
    if limits.max_memory_bytes is not None:
        said.append(f"at most {limits.max_memory_bytes / 2**30:.3g} GiB of memory")
    if limits.max_budget_flops is not None:
        said.append(f"at most {flops_text(limits.max_budget_flops)} training FLOPs")
    if limits.visible_reasoning:
        said.append("reasoning has to be visible")
    return f"Limits: {', '.join(said)}." if said else "No limits were stated."


def _evidence(cells: Sequence[Cell]) -> Html:
    times, unit = _unit(cells)
    header = ("supervision", "queries", f"per {unit} [95%]", "right [95%]", "output tokens", "questions", "runs")
    rows = [
        (
            called(each.supervision),
            count_text(cell.queries),
            money(each.dollars_per_correct, times),
            f"{percent(each.right.value or 0.0)} {range_text(each.right.ci95)}",
            f"{each.output_tokens.value or 0.0:.1f}",
            f"{each.questions:,}",
            str(each.runs),
        )
        for cell in cells
        for each in cell.evidence
    ]
    removed = {f"{each.supervision} {each.reason}" for cell in cells for each in cell.removed}
    left = note(f"Left out: {'; '.join(sorted(removed))}.") if removed else ""
    return joined([table(header, rows), left])
