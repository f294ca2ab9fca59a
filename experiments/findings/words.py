"""report.md: the four questions that a comparison is asked, answered in words and tables, for a reader who decides.

Everything that comes from a corpus, a model or a folder's name goes through `escaped`.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.decision import Cell
from evaluators.resampling import Estimate
from evaluators.saturating import SaturatingFit
from evaluators.sentences import count_text, price_unit
from experiments.findings.costing import ALL
from experiments.findings.costs_in_words import costs_in_words, frontiers_in_words
from experiments.findings.findings import Findings, QuestionSet, Setting
from experiments.findings.markdown import (
    escaped,
    estimate_text,
    money_text,
    percent_text,
    points_text,
    source_text,
    span,
    table,
)
from experiments.summary import flops_text, share_text, tokens_text

_GROUPS = ("task", "kind", "domain", "difficulty", "prompt length")


def report_text(findings: Findings) -> str:
    """The whole report."""
    runs = sum(len(setting.runs) for each in findings.question_sets for setting in each.settings)
    parts = ["# What was found", _opening(findings, runs)]
    for number, each in enumerate(findings.question_sets, start=1):
        parts += _question_set(number, each)
    parts += _left_out(findings)
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(findings: Findings, runs: int) -> str:
    sets = len(findings.question_sets)
    text = f"{runs} finished {'run' if runs == 1 else 'runs'}"
    if sets > 1:
        text += (
            f" on {sets} different sets of questions. Each set has its own part below; nothing is averaged or compared "
            "across them"
        )
    return (
        f"{text}. An accuracy is the share of questions answered right. Ranges in brackets are 95% intervals, as the "
        "tables name them: over seeds they tell what another training run might give; where there is one seed, they "
        "are about these very students alone."
    )


def _question_set(number: int, each: QuestionSet) -> list[str]:
    return [
        f"## {number}. {escaped(each.corpus)}, {escaped(each.split)}: {each.questions:,} questions",
        _in_short(each),
        "### How good is each student?",
        _accuracy_table(each.settings),
        *_differences(each),
        *_against_raw(each),
        *_fits(each),
        "### On what kind of task?",
        *(_group_table(each.settings, group) for group in _GROUPS),
        "### What does a right answer cost, to train and to serve?",
        *costs_in_words(each),
        *frontiers_in_words(each),
        "### So which supervision?",
        *_decisions(each),
        *_notes(each),
    ]


def _in_short(each: QuestionSet) -> str:
    """The most accurate setting of every student and budget, and what all questions together decide."""
    best: dict[tuple[str, str], Setting] = {}
    for setting in each.settings:
        best.setdefault((setting.student, setting.budget), setting)
    lines = []
    for (student, budget), first in best.items():
        others = [s.name for s in each.settings if (s.student, s.budget) == (student, budget) and s is not first]
        leads = {pair.second: pair.accuracy.interval for pair in each.differences if pair.first == first.name}
        behind = {name for name, interval in leads.items() if interval is not None and interval.low > 0}
        close = [name for name in others if name not in behind]
        told = f"; this data does not tell it from {', '.join(close)}" if close else ""
        told = "; it is better than every other" if others and not close else told
        right = percent_text(first.scores[0].accuracy)
        lines.append(f"Most accurate of {student} at {budget}: {first.name}, {right} right{told}.")
    for cell in each.decisions.cells if each.decisions else ():
        if cell.task_group == ALL:
            choice = _choice(cell)
            where = f"{cell.student}, {flops_text(cell.budget_flops)} FLOPs, {count_text(cell.queries)} queries"
            lines.append(f"To choose for {where}: {choice}.")
    return "\n".join(f"- {escaped(line)}" for line in lines)


def _choice(cell: Cell) -> str:
    match cell.verdict:
        case "decided":
            cost = cell.evidence[0].dollars_per_correct
            times, unit = price_unit([cost.value or 0.0])
            return f"{cell.choice}, at {money_text(cost, times)} dollars per {unit}"
        case "tied" | "too little data":
            return f"not decided between {', '.join(cell.open)}"
        case "no rival":
            return f"nothing to compare with {cell.open[0]}"
        case _:
            return f"nothing ({cell.verdict})"


def _accuracy_table(settings: Sequence[Setting]) -> str:
    return table(
        (
            *(
                "setting",
                "seeds",
                "accuracy",
                "interval",
                "output tokens",
                "90% have at most",
                "right ones",
                "wrong ones",
            ),
            *("cut off", "no answer", "ungraded", "s an answer"),
        ),
        [
            (
                setting.name,
                str(len(setting.graded.seeds_K)),
                percent_text(score.accuracy),
                source_text(score.accuracy),
                f"{score.output_tokens:.1f}",
                f"{score.p90_output_tokens:.0f}",
                tokens_text(score.right_output_tokens),
                tokens_text(score.wrong_output_tokens),
                share_text(score.truncated),
                "" if score.unparsable is None else share_text(score.unparsable),
                str(score.ungraded),
                "" if setting.latency_seconds is None else f"{setting.latency_seconds:.3g}",
            )
            for setting in settings
            for score in setting.scores[:1]
        ],
    )


def _differences(each: QuestionSet) -> list[str]:
    """Against the best of each student and budget, and in how many points."""
    if not each.differences:
        return ["No two settings share a seed, so none are compared."] if len(each.settings) > 1 else []
    rows = [
        (
            pair.first,
            pair.second,
            ", ".join(map(str, pair.seeds)),
            points_text(pair.accuracy),
            source_text(pair.accuracy),
            _tells(pair.accuracy),
        )
        for pair in each.differences
    ]
    return [
        "Differences in accuracy, question by question and seed by seed, in points:",
        table(("first", "less second", "seeds", "difference", "interval", "so"), rows),
    ]


def _tells(difference: Estimate) -> str:
    if difference.interval is None:
        return "not known: it takes two seeds that differ"
    if difference.interval.low > 0:
        return "the first is better"
    return "the second is better" if difference.interval.high < 0 else "not told apart"


def _against_raw(each: QuestionSet) -> list[str]:
    against = [setting for setting in each.settings if setting.retention is not None and setting.policy != each.raw]
    if each.raw is None or not against:
        return []
    rows = [
        (
            setting.name,
            *(estimate_text(estimate, "{:.2f}".format) for estimate in (setting.retention, setting.token_efficiency)),
        )
        for setting in against
    ]
    return [
        f"Against training on full traces alone ({escaped(each.raw)}), which is 1:",
        table(("setting", "accuracy over its accuracy", "the same per output token"), rows),
    ]


def _fits(each: QuestionSet) -> list[str]:
    if all(len(fit.flops_M) == 1 for fit in each.fits):
        return []
    rows = []
    for fit in each.fits:
        if isinstance(fit.fit, SaturatingFit):
            curve = fit.fit
            told = f"{100 * curve.asymptote:.1f}%{span(curve.asymptote_interval, lambda x: f'{100 * x:.1f}')}"
            rows.append((fit.policy, fit.student, told, ""))
        else:
            rows.append((fit.policy, fit.student, "", fit.fit.reason))
    return [
        "Where accuracy levels off as budgets grow, by the curve a + b (1 - exp(-g x^k)):",
        table(("policy", "student", "levels off at", "why there is no curve"), rows),
    ]


def _group_table(settings: Sequence[Setting], group: str) -> str:
    names = sorted({score.name for setting in settings for score in setting.scores if score.group == group})
    if len(names) < 2:
        return ""
    rows = []
    for name in names:
        found = [next((s for s in setting.scores if (s.group, s.name) == (group, name)), None) for setting in settings]
        questions = max(score.questions for score in found if score is not None)
        rows.append((name, str(questions), *("" if score is None else percent_text(score.accuracy) for score in found)))
    return table((group, "questions", *(setting.name for setting in settings)), rows)


def _decisions(each: QuestionSet) -> list[str]:
    if each.decisions is None:
        return ["Not decided: it takes costs, which are not known here."]
    return ["\n".join(f"- {escaped(sentence)}" for sentence in each.decisions.sentences)]


def _notes(each: QuestionSet) -> list[str]:
    return ["### Notes", "\n".join(f"- {escaped(note)}" for note in each.notes)] if each.notes else []


def _left_out(findings: Findings) -> list[str]:
    lines = [f"- {escaped(str(each.folder))}: {escaped(each.reason)}" for each in findings.left_out]
    lines += [f"- {escaped(str(folder))}: not finished" for folder in findings.unfinished]
    return ["## What was left out", "\n".join(lines)] if lines else []
