"""On what kind of question students are good: by task, kind, domain, difficulty and prompt length."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from experiments.findings.findings import GroupScore, QuestionSet, Setting, shown_interval
from experiments.page.charts import Dot, dot_chart
from experiments.page.markup import Html, figure, folded, joined, note, table, tag
from experiments.page.run_charts import SHARE
from experiments.page.svg import legend
from experiments.page.wording import Facet, accuracy_words, called, facets, score_tip, side_by_side, slots_of
from experiments.summary import share_text

SIDE_BY_SIDE = 8
"""Up to so many settings stand beside one another in a chart, the most accurate ones; tables have all."""

_GROUPS = {
    "task": "By task",
    "kind": "By kind of question",
    "domain": "By domain",
    "difficulty": "By difficulty",
    "prompt length": "By length of the prompt",
}


def kinds_section(questions: QuestionSet) -> Html:
    """Accuracy by group, the settings of a student and budget side by side."""
    groups = {group: _group_names(questions.settings, group) for group in _GROUPS}
    told = {group: names for group, names in groups.items() if len(names) > 1}
    if not told:
        return note("All questions are of one kind.")
    slots = slots_of(questions)
    charts = side_by_side([(facet, _charts(facet, told, slots)) for facet in facets(questions)])
    tables = [
        folded(f"{_GROUPS[group]}, in figures", _group_table(questions.settings, group, names))
        for group, names in told.items()
    ]
    return joined([charts, *tables])


def _charts(facet: Facet, groups: Mapping[str, Sequence[str]], slots: Mapping[str, int]) -> Html:
    shown = facet.settings[:SIDE_BY_SIDE]
    alone = len(slots) == 1
    figures = []
    for group, names in groups.items():
        scored = [(name, [(each, score) for each in shown if (score := _score(each, group, name))]) for name in names]
        rows = [(name, [_dot(each, score, slots, alone=alone) for each, score in scores]) for name, scores in scored]
        unit = _unit(names) if group in ("difficulty", "prompt length") else ""
        rows = [(name.removesuffix(unit), dots) for name, dots in rows]
        title = _GROUPS[group] + (f", in{unit}" if unit else "")
        figures.append(figure(title, dot_chart(facet.titled(title), rows, SHARE)))
    key = legend((called(setting.policy), slots[setting.name]) for setting in shown)
    left = len(facet.settings) - len(shown)
    words = note(f"The {len(shown)} most accurate settings; the tables below have {left} more.") if left else ""
    return joined([key, words, tag("div", *figures, class_="columns")])


def _unit(names: Sequence[str]) -> str:
    """The words that all bands end in, with the space before them: their unit, which stands in the title.

    Example:
        >>> _unit(["1: 5 to 9 characters", "2: 11 to 14 characters"])
        ' characters'
    """
    ends = zip(*(name.split()[:0:-1] for name in names), strict=False)
    same = itertools.takewhile(lambda words: len({*words}) == 1, ends)
    return "".join(reversed([f" {words[0]}" for words in same]))


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


def _dot(setting: Setting, score: GroupScore, slots: Mapping[str, int], *, alone: bool) -> Dot:
    ends = shown_interval(score.accuracy)
    if ends is None and alone and score.accuracy.given_seeds is not None:  # of this run, and nothing else is compared
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
