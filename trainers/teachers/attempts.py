"""One attempt at a chat server: the request's fields, the reply's lines, and what every failure means."""

from __future__ import annotations

import asyncio
import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import httpx2
import openai

from curricula.rendering import messages
from trainers.teachers.replies import Reply, ReplyError, read_reply
from trainers.teachers.teacher import Request, TeacherError

if TYPE_CHECKING:  # it imports what imports this module
    from trainers.teachers.server_teacher import ServerTeacher

PAST_DEADLINE = "past the deadline"
CUT_CONNECTION = "cut stream"
RATE_LIMITED = "rate limited (429)"
PROMPT_TOO_LONG = "prompt too long for the model"
ENDLESS = "endless reply"
CHARS_PER_TOKEN_LIMIT = 1000
SPARE_CHARS = 1_000_000
"""A reply of more characters than so many for every token allowed, and these, is not one."""

_TRY_AGAIN = frozenset({408, 409, 425, 429})
_NOT_ALLOWED = frozenset({401, 402, 403})
_TOO_LONG = re.compile(r"context.length|context.window|maximum.context|too long|too many tokens", re.IGNORECASE)
_WORDS_CHARS = 160
_CONNECT_SECONDS = 15.0


class AttemptError(Exception):
    """One attempt that gave no reply."""

    def __init__(
        self, reason: str, *, words: str = "", again: bool = True, wait_seconds: float = 0.0, unreachable: bool = False
    ) -> None:
        """Say why.

        Args:
            reason: short and countable.
            words: what the other side said, for a person.
            again: whether another attempt may fare better.
            wait_seconds: how long the server asks to wait before it.
            unreachable: there was no connection at all.
        """
        super().__init__(reason)
        self.reason, self.words, self.again = reason, words, again
        self.wait_seconds, self.unreachable = wait_seconds, unreachable


def open_client(teacher: ServerTeacher, key: str) -> openai.AsyncOpenAI:
    """The client, without retries and deadlines of its own."""
    return openai.AsyncOpenAI(
        base_url=teacher.base_url,
        api_key=key,
        max_retries=0,
        timeout=openai.Timeout(None, connect=min(teacher.deadline_seconds, _CONNECT_SECONDS)),
        # A proxy is no way to a server on this machine.
        http_client=openai.DefaultAsyncHttpxClient(trust_env=not teacher.on_this_machine),
    )


async def attempt(
    teacher: ServerTeacher, client: openai.AsyncOpenAI, request: Request, lines: list[str], *, key: str
) -> Reply:
    """Ask once; `lines` is filled with what comes of the reply, however it ends.

    Raises:
        AttemptError: there is no whole reply.
        TeacherError: the server lets nobody in, or there is no such model or address.
    """
    most_chars = SPARE_CHARS + CHARS_PER_TOKEN_LIMIT * teacher.sampling.max_tokens
    try:
        async with (
            asyncio.timeout(teacher.deadline_seconds),
            # The extra body replaces the typed fields: some servers refuse those that the client would add.
            client.chat.completions.with_streaming_response.create(
                model=teacher.model, messages=[], extra_body=body(teacher, request)
            ) as response,
        ):
            async for line in response.iter_lines():
                lines.append(line)
                most_chars -= len(line)
                if most_chars < 0:
                    raise AttemptError(ENDLESS)
        return read_reply(lines)
    except openai.APIStatusError as error:
        raise _status_error(teacher, error, _words(error.message, key)) from None
    except (TimeoutError, openai.APITimeoutError) as error:
        unreachable = isinstance(error.__cause__, httpx2.ConnectTimeout)
        words = "no connection in time" if unreachable else ""
        raise AttemptError(PAST_DEADLINE, words=words, unreachable=unreachable) from None
    except openai.APIConnectionError as error:
        words = _words(str(error.__cause__ or error), key)
        refused = isinstance(error.__cause__, httpx2.ConnectError)
        raise AttemptError(CUT_CONNECTION, words=words, unreachable=refused) from None
    except httpx2.TransportError as error:
        raise AttemptError(CUT_CONNECTION, words=_words(str(error), key)) from None
    except ReplyError as error:
        raise AttemptError(str(error)) from None


def body(teacher: ServerTeacher, request: Request) -> dict[str, object]:
    """The fields of a request, as they are sent."""
    sampling = teacher.sampling
    fields: dict[str, object] = {
        **teacher.more_fields(),
        "messages": messages(request.prompt),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        teacher.token_limit_field: sampling.max_tokens,
    }
    if teacher.send_seed:
        fields["seed"] = sampling.seed_of(request)
    if teacher.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    if teacher.thinking_key is not None:
        fields["chat_template_kwargs"] = {teacher.thinking_key: request.thinking}
    effort = teacher.effort_on if request.thinking else teacher.effort_off
    if effort is not None:
        fields["reasoning_effort"] = effort
    return fields


def _status_error(teacher: ServerTeacher, error: openai.APIStatusError, words: str) -> AttemptError:
    """What a status other than 200 means.

    Raises:
        TeacherError: nobody is let in, or there is no such model or address.
    """
    status = error.status_code
    if status in _NOT_ALLOWED or error.code == "insufficient_quota":
        raise TeacherError(
            f"{teacher.base_url} refuses the key in {teacher.api_key_env} (status {status}: {words})"
        ) from None
    if status == 404:
        raise TeacherError(
            f"{teacher.base_url} knows no model {teacher.model!r}, or is no chat server (status 404: {words}); "
            "check base_url, which mostly ends in /v1, and model"
        ) from None
    if status in _TRY_AGAIN or status >= 500:
        reason = RATE_LIMITED if status == 429 else f"status {status}"
        return AttemptError(reason, words=words, wait_seconds=_retry_after_seconds(error.response.headers))
    if _TOO_LONG.search(error.message):
        return AttemptError(PROMPT_TOO_LONG, words=words, again=False)
    return AttemptError(f"status {status}", words=words, again=False)


def _words(message: str, key: str) -> str:
    """The beginning of what the other side said, on one line, never with the key."""
    return " ".join(message.replace(key, "[key]").split())[:_WORDS_CHARS]


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """How long a server asks to wait, from either form of Retry-After; 0 where it does not ask."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            seconds = 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
