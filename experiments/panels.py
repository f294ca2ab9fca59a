"""The charts of a run's page, from its summary and its recorded stages. An empty string stands for nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.ledger import Spend
from curricula.types import BUDGET_PURPOSES, StageResult
from evaluators.accuracy import wilson
from experiments.charts import (
    DIRECT_LABELS,
    Band,
    HeatRow,
    Line,
    Row,
    bar_chart,
    heat_chart,
    interval_chart,
    legend,
    line_chart,
    mix_chart,
)
from experiments.summary import Summary, amount_text, share_text


def accuracy_panel(run: Summary) -> str:
    """Accuracy by task and overall, with 95% intervals, on the split that counts."""
    if run.final is None:
        return ""
    split, scores = run.final
    groups = [*sorted(scores.by_task.items(), key=lambda item: -item[1].accuracy), ("overall", scores.overall)]
    rows = [
        Row(
            name=name,
            value=score.accuracy,
            low=score.ci95[0],
            high=score.ci95[1],
            note=f"{100 * score.accuracy:.0f}%  n={score.n}",
        )
        for name, score in groups
    ]
    return interval_chart(rows, salt="accuracy", title=f"Accuracy by task on {split}")


def budget_panel(run: Summary) -> str:
    """Shares of the budget by purpose, what was not spent among them."""
    spent = {purpose: run.spent_by_purpose.get(purpose, Spend()).of(run.unit) for purpose in BUDGET_PURPOSES}
    amounts = [*spent.items(), ("not spent", max(0.0, run.total - run.spent))]
    rows = [
        Row(
            name=name,
            value=amount / run.total,
            low=0.0,
            high=0.0,
            note=f"{share_text(amount / run.total)}  ({amount_text(amount, run.unit)})",
        )
        for name, amount in amounts
    ]
    return bar_chart(rows, salt="budget", title="Budget by purpose")


def mix_panel(run: Summary, results: Sequence[StageResult], supervisions: Sequence[str]) -> str:
    """Shares of the training FLOPs under each supervision, stage by stage over the budget."""
    bands, spent = [], 0.0
    for result in results:
        total = sum(flops for _, _, flops in result.mix)
        if total:
            end = (spent + total) / run.total_flops
            shares = {name: flops / total for name, _, flops in result.mix}
            bands.append(Band(start=spent / run.total_flops, end=end, shares=shares))
        spent += result.spent_flops
    shown = [name for name in supervisions if any(band.shares.get(name) for band in bands)]
    if not shown:
        return ""
    slots = {name: slot for slot, name in enumerate(supervisions) if name in shown}
    chart = mix_chart(bands, slots, salt="mix", title="Supervision over the budget")
    return chart + legend(list(slots.items()))


def probe_panel(
    run: Summary, results: Sequence[StageResult], slots: Mapping[str, int], probe_task_N: Sequence[str]
) -> str:
    """Free probes: a line for each of a few tasks, or a strip for each of many, and a line for all of them pooled."""
    outcomes = _free_outcomes(run, results, probe_task_N)
    if not outcomes:
        return ""
    lines = [
        _share_line(task, slot, [(x, [solved for name, solved in rows if name == task]) for x, rows in outcomes])
        for task, slot in slots.items()
    ]
    lines = [line for line in lines if line.y]
    pooled = _share_line("all tasks", None, [(x, [solved for _, solved in rows]) for x, rows in outcomes])
    title = "Probe accuracy over the budget"
    if len(lines) < DIRECT_LABELS:
        return line_chart([*lines, pooled], salt="probes", title=title, y_label="solved", share=True)
    edges = {x: start for (x, _), start in zip(outcomes, [0.0, *(x for x, _ in outcomes)], strict=False)}
    strips = [
        HeatRow(name=line.name, cells=tuple((edges[x], x, y) for x, y in zip(line.x, line.y, strict=True)))
        for line in lines
    ]
    chart = line_chart([pooled], salt="probes", title=title, y_label="solved", share=True)
    scale = "<p>By task, from no colour at 0% solved to full colour at 100%; the last probe in figures.</p>"
    return chart + scale + heat_chart(strips, salt="probes by task", title=f"{title}, by task")


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
            rows = [
                (probe_task_N[int(example_P[row])] if probe_task_N else "", bool(solved_P[row]))
                for row in result.probe.under("free")
            ]
            if rows:
                outcomes.append((spent / run.total_flops, rows))
    return outcomes


def _share_line(name: str, slot: int | None, points: Sequence[tuple[float, Sequence[bool]]]) -> Line:
    measured = [(x, sum(solved), len(solved)) for x, solved in points if solved]
    return Line(
        name=name,
        x=tuple(x for x, _, _ in measured),
        y=tuple(successes / n for _, successes, n in measured),
        slot=slot,
        band=tuple(wilson(successes, n) for _, successes, n in measured) if slot is None else (),
    )


def loss_panels(run: Summary, results: Sequence[StageResult], slots: Mapping[str, int]) -> dict[str, str]:
    """One chart for every supervision, so that a task keeps its colour and losses of one kind of target compare."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    spent = 0.0
    for result in results:
        spent += result.spent_flops
        for loss in result.losses:
            of_task = points.setdefault(loss.supervision, {}).setdefault(loss.task, [])
            of_task.append((spent / run.total_flops, loss.loss))
    panels = {}
    for supervision, by_task in points.items():
        lines = [
            Line(name=task, x=tuple(x for x, _ in xy), y=tuple(y for _, y in xy), slot=slots.get(task, 0))
            for task, xy in sorted(by_task.items(), key=lambda item: slots.get(item[0], 0))
        ]
        title = f"Training loss under {supervision}"
        chart = line_chart(lines, salt=f"loss {supervision}", title=title, y_label="nats per token", share=False)
        panels[supervision] = chart + _legend_if_many(lines)
    return panels


def _legend_if_many(lines: Sequence[Line]) -> str:
    return legend([(line.name, line.slot) for line in lines]) if len(lines) > DIRECT_LABELS else ""
