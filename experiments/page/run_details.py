"""All that is known of one run: its charts, what it spent, its scores, its stages, its config and what it ran on."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from controller.encoding import recipe_changes
from controller.record import RunRecord
from curricula.types import BUDGET_PURPOSES, StageResult
from evaluators.accuracy import Score, wilson
from experiments.measures import Measures
from experiments.page.markup import Html, figure, folded, joined, note, table, tag
from experiments.page.run_charts import budget_chart, loss_charts, mix_chart, probe_chart
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

_OF_OUTPUTS = ("output tokens", "90% have at most", "right ones", "wrong ones", "cut off", "no answer")
_PROBES_NOTE = (
    "Share solved when the student decodes freely and chooses whether to think. The line of all tasks pools them; its "
    "band is the 95% interval of one probe."
)


def summary_of(record: RunRecord) -> Summary:
    """A run's summary, or what can be said before it has finished.

    Raises:
        ValueError: the summary, or the config, is not of its form.
    """
    if record.summary is None:
        return summary_so_far(record.config, record.results, record.timings)
    return read_summary(record.summary)


def run_charts(record: RunRecord, run: Summary) -> Html:
    """The charts of a run in a grid."""
    named = record.identity.get("probe_tasks")
    probe_task_N = tuple(str(task) for task in named) if isinstance(named, list) else ()
    slots = {task: slot for slot, task in enumerate(record.tasks)}
    figures = [
        figure("Where the budget went", budget_chart(run), _beside_the_budget(run)),
        figure("What the student was shown", mix_chart(run, record.results, record.supervisions), _mix_note(run)),
        figure("Probes", probe_chart(run, record.results, slots, probe_task_N), _PROBES_NOTE),
        *(
            figure(f"Training loss under {supervision}", chart, "Mean over each stage, per supervised token.")
            for supervision, chart in loss_charts(run, record.results, slots).items()
        ),
    ]
    return tag("div", *figures, class_="charts")


def run_cards(record: RunRecord, run: Summary) -> list[tuple[str, str, str]]:
    """A run in figures: (what, how much, more about it)."""
    cards: list[tuple[str, str, str]] = []
    of_budget = part_text(run.spent, run.total, run.unit)
    cards.append(("budget spent", share_text(run.spent / run.total), of_budget))
    steps = f"{sum(result.steps for result in record.results):,} optimizer steps"
    if run.wall_seconds is not None:
        steps += f", {seconds_text(run.wall_seconds)}"
    cards.append(("stages" if record.summary is not None else "stages so far", str(len(record.results)), steps))
    if run.difficulty is not None:
        auc = "none" if run.difficulty.auc is None else f"{run.difficulty.auc:.2f}"
        words = f"on {run.difficulty.n} later outcomes, {share_text(run.difficulty.base_rate)} of them solved"
        cards.append(("difficulty AUC", auc, words))
    if run.lost_attempts:
        at_most = f"at most {flops_text(run.lost_flops_at_most)} FLOPs, not charged"
        cards.append(("lost to interruptions", str(run.lost_attempts), at_most))
    return cards


def run_tables(record: RunRecord, run: Summary) -> Html:
    """What was spent, scores, stages, config and environment of a run, each behind a line that opens it."""
    versions = record.identity.get("versions")
    environment = [(name, str(version)) for name, version in versions.items()] if isinstance(versions, dict) else []
    environment += [
        (name.replace("_", " "), str(record.identity[name]))
        for name in ("corpus_fingerprint", "student_digest", "teacher_digest")
        if record.identity.get(name)
    ]
    config = yaml.safe_dump(dict(record.config), sort_keys=False, allow_unicode=True)
    return joined(
        [
            folded("What was spent", _spend_table(run), note(_beside_the_budget(run))),
            folded("Scores", _score_table(run)),
            folded("Response time, memory, and choices by likelihood", _measures_table(run.measures)),
            folded("Stages", _stage_table(record.results)),
            folded("Config", tag("pre", config, tabindex="0")),
            folded("Environment", table(("what", "version or fingerprint"), environment, numeric_from=2)),
        ]
    )


def _beside_the_budget(run: Summary) -> str:
    beside = [(name, flops) for name, flops in run.charges.items() if name not in BUDGET_PURPOSES]
    beside += list(run.recorded.items())
    listed = ", ".join(f"{name} {flops_text(flops)}" for name, flops in beside)
    return f"Beside the budget, in FLOPs: {listed}." if listed else "Nothing was recorded beside the budget."


def _mix_note(run: Summary) -> str:
    parts = [
        f"{name} {share_text(share)} of the examples and {share_text(run.mix_by_flops.get(name, 0.0))} of the FLOPs"
        for name, share in run.mix_by_examples.items()
    ]
    return f"In all: {'; '.join(parts)}. Gaps are what probes and features cost." if parts else ""


def _spend_table(run: Summary) -> Html:
    return table(
        ("purpose", "FLOPs", "tokens", "seconds of workers", "dollars"),
        [
            (name, flops_text(spend.flops), f"{spend.tokens:,}", f"{spend.seconds:,.1f}", f"{spend.dollars:.3g}")
            for name, spend in run.spent_by_purpose.items()
            if spend.flops
        ],
    )


def _score_table(run: Summary) -> Html:
    rows: list[tuple[str, str, Score]] = []
    for split, scores in (("test", run.test), ("dev", run.dev)):
        if scores is not None:
            groups = [*scores.by_task.items(), *scores.by_kind.items(), *scores.by_domain.items()]
            groups += [*scores.by_difficulty.items(), *scores.by_prompt_chars.items()]
            rows += [(split, "overall", scores.overall), *((split, name, score) for name, score in groups)]
    if not rows:
        return note("The run has not been scored yet.")
    return table(
        (*("group", "split", "accuracy [95%]", "n", "ungraded"), *_OF_OUTPUTS),
        [
            (
                name,
                split,
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


def _measures_table(measures: Measures) -> Html:
    rows: list[tuple[str, str]] = []
    if (waiting := measures.latency) is not None:
        asked = f"{waiting.answers} answers one at a time, {waiting.threads} threads of {waiting.device}"
        rows.append(("seconds of an answer, median", f"{waiting.median_seconds:.3g} ({asked})"))
        rows.append(("seconds that 90% of them do not exceed", f"{waiting.p90_seconds:.3g}"))
    if measures.serving_bytes is not None:
        rows.append(("memory to serve one answer", _memory(measures.serving_bytes)))
    for name, peak in measures.peak_train_bytes.items():
        rows.append((f"peak memory of training under {name}", "not known" if peak is None else _memory(peak)))
    for split, chosen in measures.choice_likelihood.items():
        words = f"{accuracy_text(chosen.accuracy, chosen.ci95)}, n={chosen.n}"
        rows.append((f"choice questions by likelihood, {split}", words))
    for name, task in measures.harness.items():
        figures = ", ".join(f"{metric} {value:.3g}" for metric, value in task.metrics.items())
        rows.append((f"lm-evaluation-harness, {name}", figures))
    if not rows:
        return note("Nothing was measured beside accuracy.")
    return table(("what", "how much"), rows, numeric_from=2)


def _memory(amount_bytes: int) -> str:
    return f"{amount_bytes / 2**20:,.0f} MiB" if amount_bytes >= 2**20 else f"{amount_bytes / 2**10:,.0f} KiB"


def _stage_table(results: Sequence[StageResult]) -> Html:
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
    header = ("checkpoint", "from", "stage", "steps", "FLOPs", "probe accuracy [95%]", "mix (share of examples)")
    return table(header, rows, numeric_from=len(header))
