"""OpenR1-Math-220k: several generations for each problem, with flags of whether they are complete and right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import split_completion
from curricula.layouts.layout import Draft, Layout, is_list, optional_text, text_of
from curricula.layouts.reply import UNFINISHED, offer_reply
from curricula.rendering import ends_in_answer
from curricula.stream.intake import UnusableError


@dataclass(frozen=True, kw_only=True)
class OpenR1Math(Layout):
    """Rows of `problem`, `solution`, `answer` and `generations` with flags for each.

    Targets: `reasoning` and `response` of the first generation that is complete, finished by itself and right; `short`,
    the solution that people wrote, where it ends in the answer. A generation is right where either check, by
    math-verify or by a model, says so: the second was asked only where the first had found none. A row without such a
    generation is dropped, with the first condition that none met.
    """

    name: ClassVar[str] = "openr1-math"
    shown_columns: ClassVar[tuple[str, ...]] = (
        "problem",
        "solution",
        "answer",
        "generations",
        "is_reasoning_complete",
        "finish_reasons",
        "correctness_math_verify",
        "correctness_llama",
    )

    def fits(self, row: Mapping[str, object]) -> bool:
        return "problem" in row and "generations" in row

    def draft(self, row: Mapping[str, object]) -> Draft:
        problem, solution = text_of(row, "problem"), optional_text(row, "solution")
        answer = self.reference(row, "answer")
        if answer is None:
            raise UnusableError("no final answer")
        trace, response = _first_right(row)
        draft = Draft(prompt=problem, answer=answer)
        draft.give("declared")
        offer_reply(self, draft, trace=trace, response=response, verdict="declared", agrees=True)
        if ends_in_answer(solution, answer):
            draft.say("short", solution, "declared")
        return draft


def _first_right(row: Mapping[str, object]) -> tuple[str, str]:
    """(trace, response) of the first generation that qualifies.

    Raises:
        UnusableError: none does.
    """
    generations = _list(row, "generations")
    complete, finish = _list(row, "is_reasoning_complete"), _list(row, "finish_reasons")
    checks = (_list(row, "correctness_math_verify"), _list(row, "correctness_llama"))
    left = [index for index, text in enumerate(generations) if isinstance(text, str) and text.strip()]
    if not left:
        raise UnusableError("no generation")
    left = [index for index in left if _at(complete, index) is not False]
    if not left:
        raise UnusableError("no generation flagged complete")
    left = [index for index in left if _at(finish, index) not in UNFINISHED]
    if not left:
        raise UnusableError("no generation finished by itself")
    left = [index for index in left if any(_at(check, index) is True for check in checks)]
    if not left:
        raise UnusableError("no generation flagged correct")
    fault = ""
    for index in left:
        try:
            trace, response = split_completion(str(generations[index]))
        except UnusableError as error:
            fault = fault or str(error)
            continue
        if trace is not None:
            return trace, response
        fault = fault or "no think block"
    raise UnusableError(fault)


def _list(row: Mapping[str, object], name: str) -> Sequence[object]:
    """The items of a column; none where it is missing or null, as columns of flags are for some rows."""
    value = row.get(name)
    if value is None:
        return ()
    if not is_list(value):
        raise UnusableError(f"{name} is not a list")
    return value


def _at(items: Sequence[object], index: int) -> object:
    return items[index] if index < len(items) else None
