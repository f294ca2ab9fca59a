"""The charts of one run, from its summary and its recorded stages. Nothing stands for nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.ledger import Spend
from curricula.types import BUDGET_PURPOSES, StageResult
from evaluators.accuracy import wilson
from experiments.page.areas import Bar, Strip, bar_chart, strip_chart
from experiments.page.charts import DIRECT_LABELS, PERCENT, Series, line_chart
from experiments.page.markup import Html, joined, note
from experiments.page.svg import Axis, area_legend, around_logarithmic
from experiments.summary import Summary, accuracy_text, amount_text, share_text

BUDGET = Axis(low=0.0, high=1.0, label="share of the budget spent", spell=PERCENT)
SHARE = Axis(low=0.0, high=1.0, spell=PERCENT)


def budget_chart(run: Summary) -> Html:
    """Shares of the budget by purpose, what was not spent among them."""
    spent = {purpose: run.spent_by_purpose.get(purpose, Spend()).of(run.unit) for purpose in BUDGET_PURPOSES}
    amounts = [*spent.items(), ("not spent", max(0.0, run.total - run.spent))]
    bars = []
    for name, amount in amounts:
        words = f"{share_text(amount / run.total)}  ({amount_text(amount, run.unit)})"
        bars.append(Bar(name=name, parts=((0, amount / run.total, f"{name}\n{words}"),), note=words))
    return bar_chart("Budget by purpose", bars, Axis(low=0.0, high=1.0, label="share of the budget", spell=PERCENT))


def mix_chart(run: Summary, results: Sequence[StageResult], supervisions: Sequence[str]) -> Html:
    """Shares of the training FLOPs under each supervision, stage by stage over the budget."""
    slots = kind_slots(supervisions, results)
    strip = mix_strip("", run.total_flops, results, slots)
    shown = [name for name in slots if run.mix_by_flops.get(name)]
    chart = strip_chart("Supervision over the budget", [strip], BUDGET, tall=120)
    return Html(chart + area_legend((name, slots[name]) for name in shown)) if chart else chart


def kind_slots(supervisions: Sequence[str], results: Sequence[StageResult]) -> dict[str, int]:
    """A colour slot for every supervision that a corpus offers, and for any other that stages are on record with."""
    used = (kind for result in results for kind, _, _ in result.mix)
    return {name: slot for slot, name in enumerate(dict.fromkeys([*supervisions, *used]))}


def mix_strip(name: str, total_flops: float, results: Sequence[StageResult], slots: Mapping[str, int]) -> Strip:
    """What a run's training FLOPs went to, stage by stage; what was spent beside training is left blank."""
    cells, spent = [], 0.0
    for result in results:
        total = sum(flops for _, _, flops in result.mix)
        if total:
            shares = tuple((slots[kind], flops / total) for kind, _, flops in result.mix if flops)
            words = "\n".join(f"{kind} {share_text(flops / total)}" for kind, _, flops in result.mix if flops)
            end = (spent + total) / total_flops
            cells.append(
                (spent / total_flops, end, shares, f"{result.name}, by {share_text(end)} of the budget\n{words}")
            )
        spent += result.spent_flops
    return Strip(name=name, cells=tuple(cells))


def probe_chart(
    run: Summary, results: Sequence[StageResult], slots: Mapping[str, int], probe_task_N: Sequence[str]
) -> Html:
    """Free probes: a line for each of a few tasks, or a strip for each of many, and a line for all of them pooled."""
    outcomes = _free_outcomes(run, results, probe_task_N)
    if not outcomes:
        return Html("")
    lines = [
        _share_line(task, slot, [(x, [solved for name, solved in rows if name == task]) for x, rows in outcomes])
        for task, slot in slots.items()
    ]
    lines = [each for each in lines if each.points]
    pooled = _share_line("all tasks", 6, [(x, [solved for _, solved in rows]) for x, rows in outcomes])
    y = Axis(low=0.0, high=1.0, label="solved", spell=PERCENT)
    title = "Probe accuracy over the budget"
    if len(lines) < DIRECT_LABELS:
        return line_chart(title, [*lines, pooled], BUDGET, y)
    edges = {x: start for (x, _), start in zip(outcomes, [0.0, *(x for x, _ in outcomes)], strict=False)}
    strips = [
        Strip(
            name=each.name,
            cells=tuple((edges[x], x, ((0, y),), tip) for (x, y), tip in zip(each.points, each.tips, strict=True)),
            note=f"{each.points[-1][1]:.0%}",
        )
        for each in lines
    ]
    chart = line_chart(title, [pooled], BUDGET, y)
    by_task = strip_chart(f"{title}, by task", strips, BUDGET, tall=14)
    return joined(
        [chart, note("By task: the height is the share solved, and the last probe stands in figures."), by_task]
    )


def _free_outcomes(
    run: Summary, results: Sequence[StageResult], probe_task_N: Sequence[str]
) -> list[tuple[float, list[tuple[str, bool]]]]:
    """For every free probe, the share of the budget spent by its end and (task, solved) of its questions."""
    outcomes: list[tuple[float, list[tuple[str, bool]]]] = []
    spent = 0.0
    for result in results:
        spent += result.spent_flops
        if result.probe is not None:
            solved_P, example_P = result.probe.solved_P, result.probe.example_P
            places = [(int(example_P[row]), bool(solved_P[row])) for row in result.probe.under("free")]
            tasks = len(probe_task_N)  # none where the record does not tell them
            rows = [(probe_task_N[place] if place < tasks else "", solved) for place, solved in places]
            if rows:
                outcomes.append((spent / run.total_flops, rows))
    return outcomes


def _share_line(name: str, slot: int, points: Sequence[tuple[float, Sequence[bool]]]) -> Series:
    measured = [(x, sum(solved), len(solved)) for x, solved in points if solved]
    return Series(
        name=name,
        slot=slot,
        points=tuple((x, successes / n) for x, successes, n in measured),
        band=tuple(wilson(successes, n) for _, successes, n in measured) if name == "all tasks" else (),
        tips=tuple(
            f"{name}\n{accuracy_text(successes / n, wilson(successes, n))} solved, n={n}\n"
            f"by {share_text(x)} of the budget"
            for x, successes, n in measured
        ),
    )


def loss_charts(run: Summary, results: Sequence[StageResult], slots: Mapping[str, int]) -> dict[str, Html]:
    """One chart for every supervision, so that a task keeps its colour and losses of one kind of target compare."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    spent = 0.0
    for result in results:
        spent += result.spent_flops
        for loss in result.losses:
            of_task = points.setdefault(loss.supervision, {}).setdefault(loss.task, [])
            of_task.append((spent / run.total_flops, loss.loss))
    charts = {}
    for supervision, by_task in points.items():
        lines = [
            Series(
                name=task,
                slot=slots.get(task, 0),
                points=tuple(xy),
                tips=tuple(f"{task}\n{y:.3g} nats per token\nby {share_text(x)} of the budget" for x, y in xy),
            )
            for task, xy in sorted(by_task.items(), key=lambda item: slots.get(item[0], 0))
        ]
        values = [y for each in lines for _, y in each.points]
        if min(values) > 0:
            low, high = around_logarithmic(values)
            y = Axis(low=low, high=high, label="nats per token", scale="logarithmic")
        else:
            y = Axis(low=min(values), high=max(max(values), 1e-9), label="nats per token")
        charts[supervision] = line_chart(f"Training loss under {supervision}", lines, BUDGET, y)
    return charts
