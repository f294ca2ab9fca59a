"""OpenThoughts: conversations whose replies think, in either style of tags, and the metadata of its first release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import BLOCKS
from curricula.layouts.conversation import draft_of_turns
from curricula.layouts.layout import Draft, Layout, is_list, optional_text, text_of
from curricula.layouts.reply import declared_right, draft_of_reply

_TAGS = tuple(tag for block in BLOCKS for tag in block)


@dataclass(frozen=True, kw_only=True)
class OpenThoughts(Layout):
    """Rows of `conversations` that think: OpenThoughts-114k, 2 (beside `question`, `source`) and 3 (beside `domain`).

    Targets: `reasoning` and `response`. The final answer is what the response marks: none of these releases holds a
    reference, so that code and prose are dropped with the reason "no final answer", and what is kept is unchecked. The
    system message, which asks for the tags, is left out.
    """

    name: ClassVar[str] = "openthoughts"
    shown_columns: ClassVar[tuple[str, ...]] = ("conversations", "system", "source", "domain", "difficulty")

    def fits(self, row: Mapping[str, object]) -> bool:
        turns = row.get("conversations")
        last = turns[-1] if is_list(turns) and turns else None
        reply = last.get("value") if isinstance(last, Mapping) else None
        return isinstance(reply, str) and any(tag in reply for tag in _TAGS)

    def draft(self, row: Mapping[str, object]) -> Draft:
        return draft_of_turns(self, row, row.get("conversations"))


@dataclass(frozen=True, kw_only=True)
class OpenThoughtsMetadata(Layout):
    """Rows of `problem`, `deepseek_reasoning`, `deepseek_solution` and `ground_truth_solution`.

    The final answer is what the reference solution marks, else what the teacher's solution does.
    """

    name: ClassVar[str] = "openthoughts-metadata"
    shown_columns: ClassVar[tuple[str, ...]] = (
        "problem",
        "deepseek_reasoning",
        "deepseek_solution",
        "ground_truth_solution",
        "domain",
        "source",
    )

    def fits(self, row: Mapping[str, object]) -> bool:
        return "deepseek_reasoning" in row and "deepseek_solution" in row

    def draft(self, row: Mapping[str, object]) -> Draft:
        return draft_of_reply(
            self,
            prompt=text_of(row, "problem"),
            trace=text_of(row, "deepseek_reasoning"),
            completion=optional_text(row, "deepseek_solution"),
            reference=self.reference(row, "ground_truth_solution"),
            right=declared_right(row),
        )
