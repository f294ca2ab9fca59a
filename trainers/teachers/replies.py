"""What a teacher wrote, read from a server's reply or a model's text: thinking apart from the answer, faults by name.

    JSON body | server-sent events --read_reply--> Reply --take_apart--> (reasoning, text), or why there is none

Nothing of a reply is trusted: any field may be missing or of another type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curricula.rendering import THINK_CLOSE, THINK_OPEN, split_thinking
from curricula.stream.intake import UnusableError

GARBAGE = "garbage instead of JSON"
NO_COMPLETION = "JSON without a completion"
CUT_STREAM = "cut stream"
STREAM_ERROR = "error in the stream"
REFUSED = "refused by the model"
FILTERED = "withheld by a content filter"
TOO_LONG = "cut at the limit of tokens"
UNCLOSED = "unclosed think tag"
SEVERAL_BLOCKS = "more than one think block"
EMPTY = "empty completion"
UNWRITABLE = "characters that cannot be stored"

_NAMES = r"think|thinking|thought|thoughts|reasoning|seed:think"
_OPEN = re.compile(rf"<(?:{_NAMES})>|<\|begin_of_thought\|>|\[THINK\]", re.IGNORECASE)
_CLOSE = re.compile(rf"</(?:{_NAMES})>|<\|end_of_thought\|>|\[/THINK\]", re.IGNORECASE)
_NO_CHARACTER = re.compile("[\x00\ud800-\udfff]")


class ReplyError(ValueError):
    """A reply that is no completion; its message is the reason, short and countable."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a chat server replied.

    Example:
        Reply(content="<think>3+4=7</think>7", finish_reason="stop", prompt_tokens=6, output_tokens=9)
    """

    content: str
    reasoning: str | None = None  # where the server takes it apart by itself
    refusal: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None  # None where the server does not count
    output_tokens: int | None = None  # thinking included


def read_reply(lines: Sequence[str]) -> Reply:
    """Read the body of a chat completion: one JSON object, or server-sent events of its pieces.

    Raises:
        ReplyError: it is not JSON, holds no completion, reports an error, or ends before the completion does.
    """
    events = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    if events:
        return _read_events(events)
    body = _parsed("\n".join(lines))
    match body:
        case {"choices": [{"message": {**message}, **choice}, *_], **rest}:
            prompt_tokens, output_tokens = _usage(rest.get("usage"))
            return Reply(
                content=_text(message.get("content")) or "",
                reasoning=_reasoning(message),
                refusal=_text(message.get("refusal")),
                finish_reason=_text(choice.get("finish_reason")),
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
            )
        case _:
            raise ReplyError(NO_COMPLETION)


def _read_events(events: Sequence[str]) -> Reply:
    """Put a streamed completion together; it is whole once its finish reason, or the end mark, has come."""
    content, reasoning, refusal = list[str](), list[str](), list[str]()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    ended = False
    for event in events:
        if event == "[DONE]":
            ended = True
            continue
        body = _parsed(event)
        if not isinstance(body, dict):
            raise ReplyError(NO_COMPLETION)
        if body.get("error"):
            raise ReplyError(STREAM_ERROR)
        if body.get("usage"):
            prompt_tokens, output_tokens = _usage(body["usage"])
        match body.get("choices"):
            case [{**choice}, *_]:
                delta = choice.get("delta")
                if isinstance(delta, dict):
                    content.append(_text(delta.get("content")) or "")
                    reasoning.append(_reasoning(delta) or "")
                    refusal.append(_text(delta.get("refusal")) or "")
                finish_reason = _text(choice.get("finish_reason")) or finish_reason
    if finish_reason is None and not ended:
        raise ReplyError(CUT_STREAM)
    return Reply(
        content="".join(content),
        reasoning="".join(reasoning) or None,
        refusal="".join(refusal) or None,
        finish_reason=finish_reason,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
    )


def take_apart(reply: Reply) -> tuple[str | None, str]:
    """What was thought and what was said, without tags and without space around them: (reasoning, text).

    Thinking is read from the reply's own field, or from think tags of several spellings in the content: <think>,
    <thinking>, <thought>, <reasoning>, <seed:think>, <|begin_of_thought|> and [THINK]. A closing tag alone ends a
    thought too: chat templates open the block in the prompt. A blank thought is none.

    Raises:
        UnusableError: the completion was refused, withheld, cut at its limit or empty, a think block is left open or
            there are several, or it holds what no file can.
    """
    if reply.refusal:
        raise UnusableError(REFUSED)
    if reply.finish_reason == "content_filter":
        raise UnusableError(FILTERED)
    if reply.finish_reason == "length":
        raise UnusableError(TOO_LONG)
    content = _CLOSE.sub(THINK_CLOSE, _OPEN.sub(THINK_OPEN, reply.content))
    own = (reply.reasoning or "").strip()
    reasoning, text = (own, content) if own else split_thinking(content)
    if text is None:
        raise UnusableError(UNCLOSED)
    reasoning, text = (reasoning or "").strip(), text.strip()
    if any(tag in part for tag in (THINK_OPEN, THINK_CLOSE) for part in (reasoning, text)):
        raise UnusableError(SEVERAL_BLOCKS)
    if not text:
        raise UnusableError(EMPTY)
    if _NO_CHARACTER.search(reasoning) or _NO_CHARACTER.search(text):
        raise UnusableError(UNWRITABLE)
    return reasoning or None, text


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ReplyError(GARBAGE) from None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _reasoning(message: Mapping[str, object]) -> str | None:
    return _text(message.get("reasoning_content")) or _text(message.get("reasoning"))


def _usage(value: object) -> tuple[int | None, int | None]:
    """Prompt and output tokens, both or neither."""
    match value:
        case {"prompt_tokens": int(prompt_tokens), "completion_tokens": int(output_tokens)}:
            if prompt_tokens >= 0 and output_tokens >= 0:
                return prompt_tokens, output_tokens
    return None, None
