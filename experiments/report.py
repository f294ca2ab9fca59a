"""One run as one page: what it scored, what it paid, what it showed the student, and when. Needs no network.

python -m experiments.report runs/first     rewrites runs/first/report.html
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from jsonargparse import auto_cli

from controller.config import Json
from controller.encoding import recipe_changes
from controller.record import read_run
from curricula.types import BUDGET_PURPOSES, StageResult
from evaluators.accuracy import Score, wilson
from experiments.command_line import fail
from experiments.page import PAGE
from experiments.panels import accuracy_panel, budget_panel, loss_panels, mix_panel, probe_panel
from experiments.summary import (
    Summary,
    accuracy_text,
    flops_text,
    part_text,
    read_summary,
    seconds_text,
    share_text,
    summary_so_far,
    tokens_text,
)


def write_report(run_dir: Path) -> Path:
    """Write report.html into a run's folder, finished or not, and return its path. The same record, the same bytes.

    Raises:
        ValueError: the folder holds no run, or its record cannot be read.
    """
    record = read_run(run_dir)
    named = record.identity.get("probe_tasks")
    page = report_html(
        config=record.config,
        results=record.results,
        summary=record.summary,
        supervisions=record.supervisions,
        tasks=record.tasks,
        probe_task_N=tuple(str(task) for task in named) if isinstance(named, list) else (),
        timings=record.timings,
    )
    path = run_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def report_html(
    *,
    config: Mapping[str, object],
    results: Sequence[StageResult],
    summary: Mapping[str, object] | None,
    supervisions: Sequence[str],
    tasks: Sequence[str],
    probe_task_N: Sequence[str] = (),
    timings: Sequence[Mapping[str, Json]] = (),
) -> str:
    """The page, self-contained.

    Args:
        summary: summary.json; None for a run that has not finished.
        probe_task_N: the task of every row of the probe table; where empty, probes are shown pooled only.
        timings: of a run that has not finished, what its seconds and dollars are read from.

    Raises:
        ValueError: the summary is not of its form.
    """
    run = summary_so_far(config, results, timings) if summary is None else read_summary(summary)
    task_slots = {task: slot for slot, task in enumerate(tasks)}
    sections = [
        _section(
            "Accuracy by task", accuracy_panel(run), "Share of questions answered rightly, with 95% Wilson intervals."
        ),
        _section("Where the budget went", budget_panel(run) + _spend_table(run), _beside_the_budget(run)),
        _section("What the student was shown", mix_panel(run, results, supervisions), _mix_note(run)),
        _section("Probes", probe_panel(run, results, task_slots, probe_task_N), _PROBES_NOTE),
        *(
            _section(f"Training loss under {supervision}", chart, "Mean over each stage, per supervised token.")
            for supervision, chart in loss_panels(run, results, task_slots).items()
        ),
    ]
    return PAGE.format(
        title=html.escape(run.title),
        cards=_cards(run, results, finished=summary is not None),
        sections="".join(sections),
        scores=_score_table(run),
        stages=_stage_table(results),
        config=html.escape(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)),
    )


_OF_OUTPUTS = ("output tokens", "90% have at most", "right ones", "wrong ones", "cut off", "no answer")
_PROBES_NOTE = (
    "Share solved when the student decodes freely and chooses whether to think. The heavy line pools all tasks; its "
    "band is the 95% interval of one probe."
)


def _section(title: str, body: str, note: str) -> str:
    body = body or '<p class="none">Nothing was recorded.</p>'
    return f"<section><h2>{html.escape(title)}</h2>{body}<p>{html.escape(note)}</p></section>"


def _cards(run: Summary, results: Sequence[StageResult], *, finished: bool) -> str:
    cards: list[tuple[str, str, str]] = []
    if run.final is not None:
        split, scores = run.final
        low, high = scores.overall.ci95
        cards.append(
            (
                f"accuracy on {split}",
                f"{100 * scores.overall.accuracy:.1f}%",
                f"95% interval {100 * low:.1f} to {100 * high:.1f}%, n = {scores.overall.n}"
                + (f", {scores.overall.ungraded} ungraded" if scores.overall.ungraded else ""),
            )
        )
        cut = f"{share_text(scores.overall.truncated)} cut off at the limit"
        if scores.overall.p90_output_tokens is not None:
            cut = f"at most {scores.overall.p90_output_tokens:.0f} in 90% of the answers; {cut}"
        cards.append(("mean output tokens", f"{scores.overall.mean_output_tokens:.1f}", cut))
    of_budget = part_text(run.spent, run.total, run.unit)
    cards.append(("budget spent", share_text(run.spent / run.total), of_budget))
    steps = f"{sum(result.steps for result in results):,} optimizer steps"
    if run.wall_seconds is not None:
        steps += f", {seconds_text(run.wall_seconds)}"
    cards.append(("stages" if finished else "stages so far", str(len(results)), steps))
    if run.difficulty is not None:
        auc = "none" if run.difficulty.auc is None else f"{run.difficulty.auc:.2f}"
        note = f"on {run.difficulty.n} later outcomes, {share_text(run.difficulty.base_rate)} of them solved"
        cards.append(("difficulty AUC", auc, note))
    if run.lost_attempts:
        cards.append(
            (
                "lost to interruptions",
                str(run.lost_attempts),
                f"at most {flops_text(run.lost_flops_at_most)} FLOPs, not charged",
            )
        )
    return "".join(
        f"<div><span>{html.escape(name)}</span><b>{html.escape(value)}</b><small>{html.escape(note)}</small></div>"
        for name, value, note in cards
    )


def _beside_the_budget(run: Summary) -> str:
    beside = [(name, flops) for name, flops in run.charges.items() if name not in BUDGET_PURPOSES]
    beside += list(run.recorded.items())
    listed = ", ".join(f"{name} {flops_text(flops)}" for name, flops in beside)
    return f"Beside the budget, in FLOPs: {listed}." if listed else "Nothing was recorded beside the budget."


def _spend_table(run: Summary) -> str:
    rows = [(purpose, spend) for purpose, spend in run.spent_by_purpose.items() if spend.flops]
    return _table(
        ("purpose", "FLOPs", "tokens", "seconds of workers", "dollars"),
        [
            (name, flops_text(spend.flops), f"{spend.tokens:,}", f"{spend.seconds:,.1f}", f"{spend.dollars:.3g}")
            for name, spend in rows
        ],
    )


def _mix_note(run: Summary) -> str:
    parts = [
        f"{name} {share_text(share)} of the examples and {share_text(run.mix_by_flops.get(name, 0.0))} of the FLOPs"
        for name, share in run.mix_by_examples.items()
    ]
    return f"In all: {'; '.join(parts)}. Gaps are what probes and features cost." if parts else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _score_table(run: Summary) -> str:
    rows: list[tuple[str, str, Score]] = []
    for split, scores in (("test", run.test), ("dev", run.dev)):
        if scores is not None:
            groups = [*scores.by_task.items(), *scores.by_kind.items(), *scores.by_domain.items()]
            groups += scores.by_prompt_chars.items()
            rows += [(split, "overall", scores.overall), *((split, name, score) for name, score in groups)]
    if not rows:
        return '<p class="none">The run has not been scored yet.</p>'
    return _table(
        (*("split", "group", "accuracy [95%]", "n", "ungraded"), *_OF_OUTPUTS),
        [
            (
                split,
                name,
                accuracy_text(score.accuracy, score.ci95),
                str(score.n),
                str(score.ungraded),
                f"{score.mean_output_tokens:.1f}",
                *map(tokens_text, (score.p90_output_tokens, score.right_output_tokens, score.wrong_output_tokens)),
                share_text(score.truncated),
                "" if score.unparsable is None else share_text(score.unparsable),
            )
            for split, name, score in rows
        ],
    )


def _stage_table(results: Sequence[StageResult]) -> str:
    rows = []
    for result in results:
        examples = sum(n for _, n, _ in result.mix)
        mix = ", ".join(f"{name} {share_text(n / examples)}" for name, n, _ in result.mix if n)
        free = result.probe.under("free") if result.probe is not None else []
        probe = ""
        if result.probe is not None and len(free):
            successes = int(result.probe.solved_P[free].sum())
            probe = accuracy_text(successes / len(free), wilson(successes, len(free)))
        start = "" if result.start is None else result.start
        recipe = "; ".join(f"{name} {json.dumps(value)}" for name, value in recipe_changes(result.recipe).items())
        name = f"{result.name} ({recipe})" if recipe else result.name
        rows.append((result.checkpoint, start, name, f"{result.steps:,}", flops_text(result.spent_flops), probe, mix))
    return _table(
        ("checkpoint", "from", "stage", "steps", "FLOPs", "probe accuracy [95%]", "mix (share of examples)"), rows
    )


def main(run_dir: Path) -> None:
    """Rewrite the report of a run.

    Args:
        run_dir: The run's folder.
    """
    try:
        print(write_report(run_dir))
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    auto_cli(main)
