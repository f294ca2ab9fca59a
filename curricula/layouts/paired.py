"""Scale-or-Reason: one teacher, thinking on and off, on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import final_answer, is_refusal, split_completion
from curricula.layouts.layout import Draft, Layout, optional_text, text_of
from curricula.layouts.reply import offer_bare_trace, offer_reply
from curricula.stream.intake import UnusableError


@dataclass(frozen=True, kw_only=True)
class Paired(Layout):
    """Rows of `prompt`, `reasoning` and `ift`; one of the latter may be null.

    Targets: `reasoning` and `response` from the side that thought, `short` from the side that did not. The sets hold
    no reference and no flags: the final answer is what the thinking side marks, else the other one, a side that comes
    to another answer is left out, and all is unchecked. Pairs of prose are dropped with the reason "no final answer".
    """

    name: ClassVar[str] = "paired"
    shown_columns: ClassVar[tuple[str, ...]] = ("prompt", "reasoning", "ift")

    def fits(self, row: Mapping[str, object]) -> bool:
        return "prompt" in row and "ift" in row

    def draft(self, row: Mapping[str, object]) -> Draft:
        prompt = text_of(row, "prompt")
        thought, direct = optional_text(row, "reasoning"), optional_text(row, "ift")
        if not thought and not direct:
            raise UnusableError("empty completion")
        trace, response, broken = _side(thought)
        if thought and trace is None:
            # Published without tags: all of it is the trace.
            trace, response = response, ""
        _, spoken, garbled = _side(direct)
        fault = broken or garbled
        if fault is not None and not response and not trace and not spoken:
            raise UnusableError(fault)
        reference = self.reference(row)
        answer = reference or final_answer(response or trace or "") or final_answer(spoken)
        if answer is None:
            raise UnusableError("refused" if is_refusal(spoken or response) else "no final answer")
        draft = Draft(prompt=prompt, answer=answer)
        draft.give("unchecked" if reference is None else "declared")
        if trace and response:
            offer_reply(self, draft, trace=trace, response=response, verdict="unchecked")
        elif trace:
            offer_bare_trace(draft, self.spelled("reasoning"), trace, "unchecked")
        elif broken is not None:
            draft.fault(self.spelled("reasoning"), broken, thought[-80:])
        if spoken:
            draft.say(self.spelled("short"), spoken, "unchecked")
        elif garbled is not None:
            draft.fault(self.spelled("short"), garbled, direct[-80:])
        return draft


def _side(completion: str) -> tuple[str | None, str, str | None]:
    """(trace, response, why it cannot be used) of one side; the other side does not suffer from a broken one."""
    if not completion:
        return None, "", None
    try:
        trace, response = split_completion(completion)
    except UnusableError as error:
        return None, "", str(error)
    return trace, response, None
