"""What students wrote: a sample of answers, right and wrong, that can be searched; what is left out is told.

The sample is the same every time: questions in the order of the hash of their id, the same for every setting, so that
settings can be read side by side. It is of each setting's first seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import zip_longest

from experiments.findings.findings import Answer, QuestionSet, Setting
from experiments.page.markup import Html, joined, note, tag
from experiments.page.wording import called

PER_VERDICT = 40
"""Up to so many right and so many wrong answers of each setting."""
LONGEST_CHARS = 1_600
"""Longer texts are cut in their middle."""
MOST_CHARS = 2_000_000
"""Of all samples of a page, as they are shown."""

_RIGHT, _WRONG, _UNGRADED = ("right", "right"), ("wrong", "wrong"), ("ungraded", "not graded")


def samples_section(sets: Sequence[QuestionSet]) -> Html:
    """The browser of samples: filters, which need JavaScript, and the answers, which do not."""
    chosen = [(setting, answer) for answers in _interleaved(sets) for setting, answer in answers]
    shown, chars = list[Html](), 0
    for setting, answer in chosen:
        article = _article(setting, answer)
        if chars + len(article) > MOST_CHARS:
            break
        shown.append(article)
        chars += len(article)
    if not shown:
        return note("There are no answers to show.")
    settings = list(dict.fromkeys(called(setting.name) for setting, _ in chosen[: len(shown)]))
    tasks = sorted({answer.task for _, answer in chosen[: len(shown)]})
    asked = sum(len(setting.runs[0].answers_Q) for each in sets for setting in each.settings)
    words = (
        f"{len(shown):,} of {asked:,} answers of each setting's first seed: up to {PER_VERDICT} right and "
        f"{PER_VERDICT} wrong of each, the same questions first everywhere. All of them stand in the run folders."
    )
    left = len(chosen) - len(shown)
    if left:
        words += f" {left:,} more would make this page too large."
    return joined([note(words), tag("div", _filters(settings, tasks), *shown, class_="samples")])


def _interleaved(sets: Sequence[QuestionSet]) -> list[list[tuple[Setting, Answer]]]:
    """The samples of all settings, the first of each before the second of any."""
    columns = [
        [(setting, answer) for answer in _sample(setting)] for questions in sets for setting in questions.settings
    ]
    return [[each for each in row if each is not None] for row in zip_longest(*columns)]


def _sample(setting: Setting) -> list[Answer]:
    """Right and wrong answers by turns, each in the order of their questions' hashes."""
    ordered = sorted(setting.runs[0].answers_Q, key=lambda answer: hashlib.sha256(answer.id.encode()).digest())
    right = [answer for answer in ordered if answer.graded and answer.correct][:PER_VERDICT]
    wrong = [answer for answer in ordered if not (answer.graded and answer.correct)][:PER_VERDICT]
    return [answer for pair in zip_longest(wrong, right) for answer in pair if answer is not None]


def _article(setting: Setting, answer: Answer) -> Html:
    verdict, words = _UNGRADED if not answer.graded else _RIGHT if answer.correct else _WRONG
    facts = f"{answer.output_tokens:,} tokens" + (", cut off at the limit" if answer.truncated else "")
    return tag(
        "article",
        tag(
            "header",
            tag("b", words, class_=verdict),
            tag("span", answer.task),
            tag("span", called(setting.name)),
            tag("small", facts),
        ),
        tag(
            "dl",
            *(part for name, text in _texts(answer) for part in (tag("dt", name), tag("dd", tag("pre", cut(text))))),
        ),
        class_="sample",
        data_setting=called(setting.name),
        data_task=answer.task,
        data_verdict=verdict,
    )


def _texts(answer: Answer) -> tuple[tuple[str, str], ...]:
    return ("prompt", answer.prompt), ("answer", answer.answer), ("output", answer.output)


def cut(text: str) -> str:
    """A text without its middle where it is long; how much is left out is told.

    Example:
        >>> cut("short")
        'short'
    """
    if len(text) <= LONGEST_CHARS:
        return text or "(nothing)"
    head, tail = LONGEST_CHARS * 3 // 4, LONGEST_CHARS // 4
    return f"{text[:head]}\n[... {len(text) - head - tail:,} characters left out ...]\n{text[-tail:]}"


def _filters(settings: Sequence[str], tasks: Sequence[str]) -> Html:
    def choice(name: str, values: Sequence[str]) -> Html:
        options = [tag("option", f"every {name}", value=""), *(tag("option", value, value=value) for value in values)]
        return tag("label", tag("span", name), tag("select", *options, data_filter=name))

    return tag(
        "form",
        choice("setting", settings),
        choice("task", tasks),
        choice("verdict", ("right", "wrong", "ungraded")),
        tag("label", tag("span", "text"), tag("input", type="search", data_filter="text", placeholder="search")),
        tag(
            "span",
            tag("button", "Previous", type="button", data_turn="-1"),
            tag("output", "", aria_live="polite"),
            tag("button", "Next", type="button", data_turn="1"),
            class_="pager",
        ),
        class_="filters",
    )
