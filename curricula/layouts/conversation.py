"""Conversations of one question and one reply: `messages` with roles, and ShareGPT's `conversations`.

A conversation of several questions is dropped: a student here is asked one question at a time, and a reply that rests
on an earlier turn cannot be learned without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.completion import bare_trace
from curricula.layouts.layout import Draft, Layout, is_list
from curricula.layouts.reply import ANSWER_COLUMNS, TRACE_KEYS, declared_right, draft_of_reply
from curricula.stream.intake import UnusableError

_QUESTION_ROLES = ("user", "human")
_REPLY_ROLES = ("assistant", "gpt", "model", "bot", "chatgpt")
_SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One question and its reply, without outer space; the trace is "" where it stands in the reply, if anywhere."""

    question: str
    reply: str
    trace: str


@dataclass(frozen=True, kw_only=True)
class Messages(Layout):
    """Rows of `messages`: role and content, and perhaps the trace as `reasoning_content` or `thinking`.

    System messages are left out: they name a role or a way to answer, and a prompt here never names a supervision.
    """

    name: ClassVar[str] = "messages"
    shown_columns: ClassVar[tuple[str, ...]] = ("messages",)

    def fits(self, row: Mapping[str, object]) -> bool:
        return "role" in _first_turn(row.get("messages"))

    def draft(self, row: Mapping[str, object]) -> Draft:
        return draft_of_turns(self, row, row.get("messages"))


@dataclass(frozen=True, kw_only=True)
class ShareGPT(Layout):
    """Rows of `conversations`: `from` and `value`."""

    name: ClassVar[str] = "sharegpt"
    shown_columns: ClassVar[tuple[str, ...]] = ("conversations",)

    def fits(self, row: Mapping[str, object]) -> bool:
        turn = _first_turn(row.get("conversations"))
        return "from" in turn or "role" in turn

    def draft(self, row: Mapping[str, object]) -> Draft:
        return draft_of_turns(self, row, row.get("conversations"))


def draft_of_turns(layout: Layout, row: Mapping[str, object], turns: object) -> Draft:
    """What a conversation offers.

    Raises:
        UnusableError: as `exchange` and `draft_of_reply` do.
    """
    said = exchange(turns)
    return draft_of_reply(
        layout,
        prompt=said.question,
        trace=said.trace or trace_of(row),
        completion=said.reply,
        reference=layout.reference(row, *ANSWER_COLUMNS),
        right=declared_right(row),
    )


def exchange(turns: object) -> Exchange:
    """The one question and the one reply of a conversation, `role` and `content` or `from` and `value`.

    Raises:
        UnusableError: it is no conversation, has another number of turns or another order, or an empty question.
    """
    if not is_list(turns):
        raise UnusableError("no conversation")
    spoken: list[tuple[bool, Mapping[str, object]]] = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            raise UnusableError("a turn is not an object")
        role = turn.get("role", turn.get("from"))
        role = role.lower() if isinstance(role, str) else role
        if role in _QUESTION_ROLES or role in _REPLY_ROLES:
            spoken.append((role in _QUESTION_ROLES, turn))
        elif role not in _SYSTEM_ROLES:
            raise UnusableError("a turn of another role")
    if len(spoken) > 2:
        raise UnusableError("several turns")
    if len(spoken) < 2 or not spoken[0][0] or spoken[1][0]:
        raise UnusableError("no question with a reply")
    (_, asked), (_, replied) = spoken
    question = _content(asked)
    if not question:
        raise UnusableError("empty question")
    return Exchange(question=question, reply=_content(replied), trace=trace_of(replied))


def trace_of(record: Mapping[str, object]) -> str:
    """The trace under a key of its own, without tags; "" where there is none.

    Raises:
        UnusableError: it is not a text, or its tags are malformed.
    """
    for key in TRACE_KEYS:
        value = record.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise UnusableError(f"{key} is not a text")
        if value.strip():
            return bare_trace(value)
    return ""


def _content(turn: Mapping[str, object]) -> str:
    """The text of a turn; of content in parts, the text of its parts."""
    content = turn.get("content", turn.get("value"))
    if content is None:
        return ""
    if is_list(content):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise UnusableError("a turn is more than text")
        content = "".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise UnusableError("a turn is more than text")
    return content.strip()


def _first_turn(turns: object) -> Mapping[str, object]:
    first = turns[0] if is_list(turns) and turns else None
    return first if isinstance(first, Mapping) else {}
