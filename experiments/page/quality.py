"""How good the students are: the headline in words, all settings side by side, and on what kind of question."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import groupby

from evaluators.resampling import Estimate
from experiments.findings.findings import Difference, GroupScore, QuestionSet, Setting, shown_interval
from experiments.page.charts import Dot, dot_chart
from experiments.page.markup import Html, figure, folded, joined, note, table, tag
from experiments.page.run_charts import SHARE
from experiments.page.svg import Axis, around, legend, short_name
from experiments.page.wording import (
    NOT_DECIDED,
    accuracy_words,
    called,
    is_decided,
    percent,
    points_words,
    range_text,
    score_tip,
    seeds_text,
    slots_of,
    source_words,
)
from experiments.summary import share_text

SIDE_BY_SIDE = 8
"""Up to so many settings stand beside one another in a chart by group, the most accurate ones; tables have all."""

_GROUPS = {
    "task": "By task",
    "kind": "By kind of question",
    "domain": "By domain",
    "difficulty": "By difficulty",
    "prompt length": "By length of the prompt, in characters",
}


def headline(questions: QuestionSet) -> list[str]:
    """For every student and budget one or two sentences: the best, and whether it is surely so."""
    groups = groupby(questions.settings, key=lambda setting: (setting.student, setting.budget))
    return [_verdict(questions, list(settings)) for _, settings in groups]


def _verdict(questions: QuestionSet, settings: Sequence[Setting]) -> str:
    best, *others = sorted(settings, key=lambda setting: -setting.scores[0].accuracy.value)
    overall = best.scores[0].accuracy
    ends = shown_interval(overall)
    interval = f"95% interval {range_text(ends)}" if ends else "no interval over seeds"
    if not ends and len(questions.settings) == 1 and overall.given_seeds is not None:
        interval = f"95% interval {range_text((overall.given_seeds.low, overall.given_seeds.high))} for this very run"
    asked = f"{questions.questions} {questions.split} questions"
    said = f"{percent(overall.value)} of {asked} right ({interval}, {seeds_text(best)})"
    if not others:
        return f"{called(best.name)}: {said}."
    lead = difference_between(questions, best.name, others[0].name)
    if lead is None:
        return f"{called(best.name)} is ahead with {said}; it shares no seed with {called(others[0].name)}, the next."
    words, rival = f"{points_words(lead.accuracy)} percentage points", f"{called(others[0].name)}, the next,"
    if is_decided(lead.accuracy):
        return f"{called(best.name)} is the most accurate: {said}. Its lead over {rival} is {words}."
    why = "one seed gives no interval" if len(lead.seeds) == 1 else "seeds that agree give no interval"
    why = "the interval holds 0" if shown_interval(lead.accuracy) else why
    return (
        f"{called(best.name)} is ahead: {said}. Whether it is better than {rival} is {NOT_DECIDED}: the "
        f"difference is {words}, and {why}."
    )


def difference_between(questions: QuestionSet, first: str, second: str) -> Difference | None:
    """Accuracy of the first setting less that of the second; None where they share no seed."""
    for each in questions.differences:
        if (each.first, each.second) == (first, second):
            return each
        if (each.first, each.second) == (second, first):
            return Difference(first=first, second=second, seeds=each.seeds, accuracy=_negative(each.accuracy))
    return None


def _negative(estimate: Estimate) -> Estimate:
    turned = [
        None if interval is None else dataclasses.replace(interval, low=-interval.high, high=-interval.low)
        for interval in (estimate.interval, estimate.given_seeds)
    ]
    return dataclasses.replace(estimate, value=-estimate.value, interval=turned[0], given_seeds=turned[1])


def overall_section(questions: QuestionSet) -> Html:
    """Every setting's accuracy, what the best one gains over each other, and what shorter answers keep."""
    settings, slots = questions.settings, slots_of(questions)
    rows = [
        (
            called(setting.name),
            [
                Dot(
                    value=setting.scores[0].accuracy.value,
                    ci95=shown_interval(setting.scores[0].accuracy),
                    slot=slots[setting.name],
                    tip=score_tip(setting, setting.scores[0]),
                    note=percent(setting.scores[0].accuracy.value),
                )
            ],
        )
        for setting in settings
    ]
    accuracy = figure(
        "Accuracy of every setting",
        dot_chart("Accuracy of every setting", rows, SHARE),
        f"Share of the {questions.questions} {questions.split} questions answered rightly; the line is the 95% "
        "interval over seeds.",
    )
    charts = tag("div", accuracy, _lead_chart(questions, slots), class_="charts")
    return joined([charts, _settings_table(questions), _differences_table(questions)])


def _lead_chart(questions: QuestionSet, slots: dict[str, int]) -> Html:
    best = max(questions.settings, key=lambda setting: setting.scores[0].accuracy.value)
    rows: list[tuple[str, list[Dot]]] = []
    ends = [0.0]
    for setting in questions.settings:
        lead = difference_between(questions, best.name, setting.name)
        if setting is not best and lead is not None:
            interval = shown_interval(lead.accuracy)
            ends += [lead.accuracy.value, *(interval or ())]
            pair = f"{called(best.name)} minus {called(setting.name)}"
            tip = f"{pair}\n{points_words(lead.accuracy)} points\n{source_words(lead.accuracy)}"
            name = f"minus {called(setting.name)}"
            words = f"{100 * lead.accuracy.value:+.1f}"
            dot = Dot(value=lead.accuracy.value, ci95=interval, slot=slots[setting.name], tip=tip, note=words)
            rows.append((name, [dot]))
    if not rows:
        return Html("")
    low, high = around(ends)
    axis = Axis(low=low, high=high, label="percentage points", spell=lambda value: f"{100 * value:+.0f}")
    title = f"{short_name(called(best.name), 40)} against each"
    words = "Paired by seed and question. Where the line crosses 0, the difference is not decided by this data."
    return figure(title, dot_chart(title, rows, axis, zero=True), words)


def _settings_table(questions: QuestionSet) -> Html:
    header = ["setting", "seeds", "accuracy [95%]", "output tokens", "90% have at most", "cut off", "no answer"]
    header += ["seconds an answer"] if any(setting.latency_seconds for setting in questions.settings) else []
    header += ["MiB to serve"] if any(setting.serving_bytes for setting in questions.settings) else []
    header += ["kept of raw's accuracy [95%]", "accuracy per token, over raw's [95%]"] if questions.raw else []
    rows = []
    for setting in questions.settings:
        overall = setting.scores[0]
        row = [
            called(setting.name),
            ", ".join(str(run.seed) for run in setting.runs),
            accuracy_words(overall.accuracy),
            f"{overall.output_tokens:.1f}",
            f"{overall.p90_output_tokens:.0f}",
            share_text(overall.truncated),
            "" if overall.unparsable is None else share_text(overall.unparsable),
        ]
        if "seconds an answer" in header:
            row.append("" if setting.latency_seconds is None else f"{setting.latency_seconds:.3g}")
        if "MiB to serve" in header:
            row.append("" if setting.serving_bytes is None else f"{setting.serving_bytes / 2**20:,.3g}")
        if questions.raw:
            row += (
                ["raw", "raw"]
                if setting.policy == questions.raw
                else [_ratio_words(setting.retention), _ratio_words(setting.token_efficiency)]
            )
        rows.append(row)
    raw = (
        f"Raw is {called(questions.raw or '')}, which shows full traces alone. Kept is accuracy over raw's; "
        "beside it stands accuracy per output token over that of raw (1 is as good as raw)."
    )
    sources = sorted({source_words(setting.scores[0].accuracy) for setting in questions.settings})
    said = f"Intervals of accuracy: {'; '.join(sources)}." if len(sources) < 3 else ""
    return joined([table(header, rows, numeric_from=2), note(raw, " ", said) if questions.raw else note(said)])


def _ratio_words(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    ends = shown_interval(estimate)
    return f"{estimate.value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else " (no interval)")


def _differences_table(questions: QuestionSet) -> Html:
    if not questions.differences:
        return Html("")
    rows = [
        (
            called(each.first),
            called(each.second),
            points_words(each.accuracy),
            "yes" if is_decided(each.accuracy) else NOT_DECIDED,
            ", ".join(map(str, each.seeds)),
            source_words(each.accuracy),
        )
        for each in questions.differences
    ]
    header = ("setting", "minus", "percentage points [95%]", "a difference?", "seeds", "interval")
    return folded("Every pair of settings", table(header, rows, numeric_from=len(header)))


def groups_section(questions: QuestionSet) -> Html:
    """Accuracy by task, kind, domain, difficulty and prompt length, settings side by side."""
    slots = slots_of(questions)
    shown = sorted(questions.settings, key=lambda setting: -setting.scores[0].accuracy.value)[:SIDE_BY_SIDE]
    figures = []
    for group, title in _GROUPS.items():
        names = _group_names(questions.settings, group)
        rows = [
            (name, [_dot(setting, group, name, slots) for setting in shown if _score(setting, group, name)])
            for name in names
        ]
        if len(names) > 1:
            figures.append(figure(title, dot_chart(title, rows, SHARE)))
    key = legend((called(setting.name), slots[setting.name]) for setting in shown)
    left = len(questions.settings) - len(shown)
    words = f"The {len(shown)} most accurate settings; the tables have all {len(questions.settings)}." if left else ""
    tables = [
        folded(f"{title}, in figures", _group_table(questions.settings, group, names))
        for group, title in _GROUPS.items()
        if len(names := _group_names(questions.settings, group)) > 1
    ]
    if not figures:
        return note("All questions are of one kind.")
    return joined([key, note(words) if words else "", tag("div", *figures, class_="columns"), *tables])


def hardest(setting: Setting) -> tuple[GroupScore, GroupScore] | None:
    """The task that a setting answers best and the one it answers worst; None where there are not two."""
    tasks = [score for score in setting.scores if score.group == "task"]
    if len(tasks) < 2:
        return None
    return max(tasks, key=lambda score: score.accuracy.value), min(tasks, key=lambda score: score.accuracy.value)


def _group_names(settings: Sequence[Setting], group: str) -> list[str]:
    """The groups in the order in which they are told."""
    return list(dict.fromkeys(score.name for setting in settings for score in setting.scores if score.group == group))


def _score(setting: Setting, group: str, name: str) -> GroupScore | None:
    return next((score for score in setting.scores if (score.group, score.name) == (group, name)), None)


def _dot(setting: Setting, group: str, name: str, slots: dict[str, int]) -> Dot:
    score = _score(setting, group, name)
    assert score is not None
    ends = shown_interval(score.accuracy)
    if ends is None and len(slots) == 1 and score.accuracy.given_seeds is not None:  # nothing it could be compared with
        ends = (score.accuracy.given_seeds.low, score.accuracy.given_seeds.high)
    return Dot(value=score.accuracy.value, ci95=ends, slot=slots[setting.name], tip=score_tip(setting, score))


def _group_table(settings: Sequence[Setting], group: str, names: Sequence[str]) -> Html:
    header = ("group", "setting", "accuracy [95%]", "questions", "output tokens", "right ones", "wrong ones", "cut off")
    rows = [
        (
            name,
            called(setting.name),
            accuracy_words(score.accuracy),
            f"{score.questions}" + (f", {score.ungraded} ungraded" if score.ungraded else ""),
            f"{score.output_tokens:.1f}",
            "" if score.right_output_tokens is None else f"{score.right_output_tokens:.1f}",
            "" if score.wrong_output_tokens is None else f"{score.wrong_output_tokens:.1f}",
            share_text(score.truncated),
        )
        for name in names
        for setting in settings
        if (score := _score(setting, group, name)) is not None
    ]
    return table(header, rows, numeric_from=2)
