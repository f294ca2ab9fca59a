"""Layouts of no known set: columns named by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import bare_trace, final_answer, is_refusal, split_completion, visible
from curricula.layouts.layout import Draft, Layout, is_list, optional_text, text_of
from curricula.layouts.reply import UNFINISHED, offer_bare_trace, offer_reply
from curricula.stream.intake import UnusableError
from curricula.types import DOMAINS, SPLITS, Domain, Verdict

_CONSTANTS = ("task_name", "teacher_name")


@dataclass(frozen=True, kw_only=True)
class Columns(Layout):
    """Rows whose columns are named by hand; those that are not named are not read.

    Example:
        Columns(prompt="question", answer="gold", reasoning="cot", short="solution")

    The final answer is that of the column `answer`, else what the first of response, short and completion marks.
    """

    prompt: str = "prompt"  # column with the question
    completion: str | None = None  # column with the whole reply: a trace in think tags and a response, or a response
    reasoning: str | None = None  # column with the trace alone, in think tags or not
    response: str | None = None  # column with what the teacher wrote after that trace
    short: str | None = None  # column with what the teacher wrote with thinking off
    choices: str | None = None  # column with the list of choices of a choice question
    split: str | None = None  # column with train, probe, dev or test
    domain: str | None = None  # column with in_domain or transfer
    id: str | None = None  # column with a unique name
    correct: str | None = None  # column that says, true or false, whether the row is right
    finish_reason: str | None = None  # column with the finish reason; rows that were cut off are dropped

    name: ClassVar[str] = "columns"
    shown_columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not any((self.answer, self.completion, self.reasoning, self.response, self.short)):
            raise ValueError("columns: name at least one of answer, completion, reasoning, response and short")
        if self.completion and (self.reasoning or self.response):
            raise ValueError("columns: completion holds both trace and response; name it, or reasoning and response")
        if self.response and not self.reasoning:
            raise ValueError("columns: response is what follows a trace; name reasoning too, or name the column short")

    @property
    def columns(self) -> tuple[str, ...]:
        fields = (field.name for field in dataclasses.fields(self) if field.name not in _CONSTANTS)
        named = [vars(self)[field] for field in fields]
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def fits(self, row: Mapping[str, object]) -> bool:
        return all(name in row for name in self.columns)

    def draft(self, row: Mapping[str, object]) -> Draft:
        prompt = text_of(row, self.prompt)
        verdict = self._verdict(row)
        trace = bare_trace(_named(row, self.reasoning))
        response, short = visible(_named(row, self.response)), _named(row, self.short)
        if self.completion is not None:
            inline, written = split_completion(_named(row, self.completion))
            trace = inline or ""
            response, short = (written, short) if trace else (response, short or written)
        if short:
            short = split_completion(short)[1]
        answer = self.reference(row) if self.answer is not None else final_answer(response or short)
        if answer is None:
            raise UnusableError("refused" if is_refusal(response or short) else "no final answer")
        draft = Draft(prompt=prompt, answer=answer)
        draft.give("declared" if self.answer is not None else verdict)
        if trace and response:
            agrees = verdict == "declared" or self.answer is None
            offer_reply(self, draft, trace=trace, response=response, verdict=verdict, agrees=agrees)
        elif trace:
            offer_bare_trace(draft, self.spelled("reasoning"), trace, verdict)
        if short:
            draft.say(self.spelled("short"), short, verdict)
        self._label(draft, row)
        return draft

    def _verdict(self, row: Mapping[str, object]) -> Verdict:
        if self.finish_reason is not None and row.get(self.finish_reason) in UNFINISHED:
            raise UnusableError("flagged unfinished")
        flag = row.get(self.correct) if self.correct is not None else None
        if flag is False:
            raise UnusableError("flagged incorrect")
        return "declared" if flag is True else "unchecked"

    def _label(self, draft: Draft, row: Mapping[str, object]) -> None:
        """Fill in what is not text to learn from."""
        draft.id = _named(row, self.id) or None
        split, domain = _named(row, self.split), _named(row, self.domain)
        if split:
            draft.split = next((known for known in SPLITS if split == known), None)
            if draft.split is None:
                raise UnusableError("unknown split")
        if domain:
            known_domain: Domain | None = next((known for known in DOMAINS if domain == known), None)
            if known_domain is None:
                raise UnusableError("unknown domain")
            draft.domain = known_domain
        choices = row.get(self.choices) if self.choices is not None else None
        if choices:
            if not is_list(choices) or not all(isinstance(choice, str) for choice in choices):
                raise UnusableError("choices are not a list of texts")
            draft.kind, draft.choices = "choice", tuple(str(choice) for choice in choices)


def _named(row: Mapping[str, object], column: str | None) -> str:
    return optional_text(row, column) if column is not None else ""
