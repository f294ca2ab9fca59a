"""MixChain: one question with solutions of several lengths, a ready ladder of compressed traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import split_completion
from curricula.layouts.gsm8k import without_marks
from curricula.layouts.layout import Draft, Layout, optional_text, text_of
from curricula.reader import ANSWER_WITHIN_CHARS
from curricula.rendering import holds_answer
from curricula.stream.intake import UnusableError

SOLUTIONS = 5
"""A row holds at most solution_0, the one that people wrote, and solution_1 to solution_4, a teacher's."""
RATIO_STEP = 0.1
"""Ratios are spelled to this step, so that a corpus has few supervisions; `char_ratio` holds what was measured."""


@dataclass(frozen=True, kw_only=True)
class MixChain(Layout):
    """Rows of `question`, `answer`, `solution_0` to `solution_4`, and perhaps `target` and `correct_1` to `correct_4`.

    Targets: `reasoning`, the longest of a teacher's solutions; `compressed:mixchain@RATIO`, each of the others, the
    ratio being its characters over the longest's, to the nearest tenth; `short`, the solution that people wrote. A
    solution that is flagged wrong, ends before its answer, or comes to the same tenth as another is left out. The
    final answer is `target`, else what `answer` marks.
    """

    name: ClassVar[str] = "mixchain"
    shown_columns: ClassVar[tuple[str, ...]] = (
        "question",
        "answer",
        "target",
        *(f"solution_{index}" for index in range(SOLUTIONS)),
        *(f"correct_{index}" for index in range(1, SOLUTIONS)),
    )

    def fits(self, row: Mapping[str, object]) -> bool:
        return "question" in row and "solution_1" in row

    def draft(self, row: Mapping[str, object]) -> Draft:
        question = text_of(row, "question")
        answer = self.reference(row, "target", "answer")
        if answer is None:
            raise UnusableError("no final answer")
        answer = answer.replace(",", "") if answer.replace(",", "").isdecimal() else answer
        draft = Draft(prompt=question, answer=answer)
        draft.give("declared")
        written = optional_text(row, "solution_0") or optional_text(row, "answer")
        if written:
            draft.say("short", without_marks(written), "declared")
        self._offer_ladder(draft, row)
        return draft

    def _offer_ladder(self, draft: Draft, row: Mapping[str, object]) -> None:
        """Add the longest solution as the trace and the others as shares of it."""
        usable: list[tuple[str, str]] = []  # name of the column, its text
        for name in (f"solution_{index}" for index in range(1, SOLUTIONS)):
            if name not in row:
                continue
            try:
                usable.append((name, _whole(row, name, draft.answer)))
            except UnusableError as error:
                draft.fault(name, str(error), optional_text(row, name)[-80:])
        if not usable:
            raise UnusableError("no usable solution")
        # Of equally long ones the first; by length, since the columns are not always in order of it.
        longest = max(usable, key=lambda column: len(column[1]))
        draft.think(self.spelled("reasoning"), longest[1], "declared")
        nearest: dict[int, tuple[float, str, str]] = {}  # tenths: distance, column, text
        for name, text in usable:
            if name == longest[0]:
                continue
            exact = len(text) / len(longest[1]) / RATIO_STEP
            tenths = max(1, round(exact))
            if tenths >= round(1 / RATIO_STEP):
                draft.fault(name, "hardly shorter than the longest", text[-80:])
                continue
            found = (abs(exact - tenths), name, text)
            if tenths in nearest:
                found, left = sorted((found, nearest[tenths]))
                draft.fault(left[1], "as long as another to a tenth", left[2][-80:])
            nearest[tenths] = found
        for tenths, (_, _, text) in sorted(nearest.items()):
            supervision = self.spelled(f"compressed:mixchain@{tenths * RATIO_STEP:g}")
            draft.think(supervision, text, "declared", char_ratio=len(text) / len(longest[1]))


def _whole(row: Mapping[str, object], name: str, answer: str) -> str:
    """A solution that goes to its answer, without think tags.

    Raises:
        UnusableError: it is empty, flagged wrong, or does not name the answer in its last part.
    """
    if row.get(name.replace("solution", "correct")) is False:
        raise UnusableError("flagged incorrect")
    trace, response = split_completion(optional_text(row, name))
    if not holds_answer(response[-ANSWER_WITHIN_CHARS:], answer):
        raise UnusableError("trace ends before its answer")
    return response if trace is None else trace
