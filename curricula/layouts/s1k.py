"""s1K-1.1: one question with the traces and attempts of two teachers, both graded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import bare_trace, final_answer, gives_answer
from curricula.layouts.layout import Draft, Layout, optional_text, text_of
from curricula.rendering import ends_in_answer
from curricula.stream.intake import UnusableError
from curricula.types import Verdict

TEACHERS = ("gemini", "deepseek")


@dataclass(frozen=True, kw_only=True)
class S1K(Layout):
    """Rows of `question`, `solution`, and of each teacher a thinking trajectory, an attempt and a grade.

    Targets, of each teacher: `reasoning` (its trajectory before the answer) and `response` (its attempt), right where
    the grade is "Yes", left out where it is "No"; and `short`, the solution, where it is more than its final answer and
    ends in it. The final answer is the solution's, else that of the first attempt graded right.
    """

    name: ClassVar[str] = "s1k"
    shown_columns: ClassVar[tuple[str, ...]] = (
        "question",
        "solution",
        *(
            f"{teacher}_{part}"
            for teacher in ("gemini", "deepseek")
            for part in ("thinking_trajectory", "attempt", "grade")
        ),
    )

    def fits(self, row: Mapping[str, object]) -> bool:
        return "question" in row and any(f"{teacher}_thinking_trajectory" in row for teacher in TEACHERS)

    def draft(self, row: Mapping[str, object]) -> Draft:
        question, solution = text_of(row, "question"), optional_text(row, "solution")
        answer = self.reference(row, "solution") or _graded_answer(row)
        if answer is None:
            raise UnusableError("no final answer")
        draft = Draft(prompt=question, answer=answer)
        draft.give("declared")
        for teacher in TEACHERS:
            _offer(draft, row, teacher)
        if ends_in_answer(solution, answer):
            draft.say("short", solution, "declared")
        return draft


def _offer(draft: Draft, row: Mapping[str, object], teacher: str) -> None:
    """Add one teacher's targets."""
    attempt = optional_text(row, f"{teacher}_attempt")
    grade = _grade(row, teacher)
    fault = None
    try:
        trace = bare_trace(optional_text(row, f"{teacher}_thinking_trajectory"))
    except UnusableError as error:
        trace, fault = "", str(error)
    if grade == "no":
        fault = "graded wrong"
    elif not trace:
        fault = fault or "empty trace"
    elif not attempt:
        fault = "nothing after the trace"
    elif grade != "yes" and not gives_answer(attempt, draft.answer):
        fault = "comes to another answer"
    if fault is not None:
        draft.fault(f"reasoning#{teacher}", fault, attempt[-80:])
        return
    verdict: Verdict = "declared" if grade == "yes" else "unchecked"
    draft.think(f"reasoning#{teacher}", trace, verdict)
    draft.say(f"response#{teacher}", attempt, verdict)


def _graded_answer(row: Mapping[str, object]) -> str | None:
    """The final answer of the first attempt that was graded right."""
    for teacher in TEACHERS:
        attempt = optional_text(row, f"{teacher}_attempt")
        if attempt and _grade(row, teacher) == "yes" and (answer := final_answer(attempt)) is not None:
            return answer
    return None


def _grade(row: Mapping[str, object], teacher: str) -> str:
    """ "yes", "no", or "" where it was not graded."""
    return optional_text(row, f"{teacher}_grade").lower()
