"""Pairs of an instruction and what was written for it: Alpaca, and columns `prompt` and `completion`.

Rows whose final answer cannot be told from the text, as the prose of most instruction sets, are dropped with the reason
"no final answer", unless a column gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.conversation import exchange, trace_of
from curricula.layouts.layout import Draft, Layout, is_list, optional_text, text_of
from curricula.layouts.reply import ANSWER_COLUMNS, declared_right, draft_of_reply
from curricula.stream.intake import UnusableError


@dataclass(frozen=True, kw_only=True)
class Alpaca(Layout):
    """Rows of `instruction`, `input` (which may be empty) and `output`."""

    name: ClassVar[str] = "alpaca"
    shown_columns: ClassVar[tuple[str, ...]] = ("instruction", "input", "output")

    def fits(self, row: Mapping[str, object]) -> bool:
        return "instruction" in row and "output" in row

    def draft(self, row: Mapping[str, object]) -> Draft:
        instruction, given = text_of(row, "instruction"), optional_text(row, "input")
        return draft_of_reply(
            self,
            prompt=f"{instruction}\n\n{given}" if given else instruction,
            trace=trace_of(row),
            completion=optional_text(row, "output"),
            reference=self.reference(row, *ANSWER_COLUMNS),
            right=declared_right(row),
        )


@dataclass(frozen=True, kw_only=True)
class PromptCompletion(Layout):
    """Rows of `prompt` and `completion`, as texts or as lists of messages; `response` will do for `completion`.

    Used where they are there: `finish_reason`, a flag `correct`, a final answer (`answer`), a trace of its own
    (`reasoning_content`, `thinking`, `reasoning`).
    """

    name: ClassVar[str] = "prompt-completion"
    shown_columns: ClassVar[tuple[str, ...]] = ("prompt", "completion")

    def fits(self, row: Mapping[str, object]) -> bool:
        return "prompt" in row and ("completion" in row or "response" in row)

    def draft(self, row: Mapping[str, object]) -> Draft:
        name = "completion" if row.get("completion") is not None else "response"
        prompt, completion = row.get("prompt"), row.get(name)
        if is_list(prompt) and is_list(completion):
            said = exchange([*prompt, *completion])
            question, written, trace = said.question, said.reply, said.trace
        elif is_list(prompt) or is_list(completion):
            raise UnusableError("messages on one side only")
        else:
            question, written, trace = text_of(row, "prompt"), optional_text(row, name), trace_of(row)
        return draft_of_reply(
            self,
            prompt=question,
            trace=trace,
            completion=written,
            reference=self.reference(row, *ANSWER_COLUMNS),
            right=declared_right(row),
        )
