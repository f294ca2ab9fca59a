"""The long/short and large/small sets of the learnability-gap work: a problem and one solution, without think tags.

Their columns do not tell a long solution from a short one, nor one teacher from another: each set is one kind, named by
the layout, and `teacher_name` tells teachers apart. Solutions were sampled until right, so they are right by the word
of their source, as those of other sets of this form (solutions by people) are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import final_answer, split_completion
from curricula.layouts.layout import Draft, Layout, optional_text, text_of
from curricula.layouts.reply import declared_right, offer_bare_trace, offer_reply
from curricula.stream.intake import UnusableError


@dataclass(frozen=True, kw_only=True)
class ShortSolutions(Layout):
    """Rows of `problem` and `solution`, the solution being a `short` response.

    One that holds a think block is taken as `reasoning` and `response` instead.
    """

    name: ClassVar[str] = "short-solutions"
    shown_columns: ClassVar[tuple[str, ...]] = ("problem", "solution")

    def fits(self, row: Mapping[str, object]) -> bool:
        return "problem" in row and "solution" in row

    def draft(self, row: Mapping[str, object]) -> Draft:
        draft, trace, response = _solved(self, row)
        offer_reply(self, draft, trace=trace, response=response, verdict="declared", agrees=True)
        return draft


@dataclass(frozen=True, kw_only=True)
class LongSolutions(Layout):
    """Rows of `problem` and `solution`, the solution being a whole trace that names its answer: `reasoning`."""

    name: ClassVar[str] = "long-solutions"
    shown_columns: ClassVar[tuple[str, ...]] = ("problem", "solution")

    def fits(self, row: Mapping[str, object]) -> bool:
        return "problem" in row and "solution" in row

    def draft(self, row: Mapping[str, object]) -> Draft:
        draft, trace, response = _solved(self, row)
        if trace:
            offer_reply(self, draft, trace=trace, response=response, verdict="declared", agrees=True)
        else:
            offer_bare_trace(draft, self.spelled("reasoning"), response, "declared")
        return draft


def _solved(layout: Layout, row: Mapping[str, object]) -> tuple[Draft, str, str]:
    """A draft that gives the answer; the trace in the solution's think block, "" without one; the rest of it."""
    problem = text_of(row, "problem")
    declared_right(row)
    trace, response = split_completion(optional_text(row, "solution"))
    answer = layout.reference(row, "answer") or final_answer(response)
    if answer is None:
        raise UnusableError("no final answer")
    draft = Draft(prompt=problem, answer=answer)
    draft.give("declared")
    return draft, trace or "", response
