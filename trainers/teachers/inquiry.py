"""The asynchronous side of a server teacher: requests in turn, waits between attempts, and when to give up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import openai

from curricula.stream.intake import UnusableError
from curricula.types import Cost
from trainers.teachers.attempts import PAST_DEADLINE, PROMPT_TOO_LONG, AttemptError, attempt, open_client
from trainers.teachers.replies import Reply, take_apart
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError

if TYPE_CHECKING:  # it imports this module
    from trainers.teachers.server_teacher import ServerTeacher

Answered = tuple[int, Completion | Refusal]


class _Spent:
    """What the attempts at one request took so far."""

    def __init__(self) -> None:
        self.cost, self.estimated = Cost(), False


class Inquiry:
    """All requests of one call, asked in an event loop of its own."""

    def __init__(
        self, teacher: ServerTeacher, requests: Sequence[Request], *, key: str, answered: Callable[[Answered], None]
    ) -> None:
        self._teacher, self._requests, self._key, self._answered = teacher, requests, key, answered
        self._held: list[Answered] = []  # failed in a row, none answered between them
        self._began = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self, at_end: Callable[[], None]) -> None:
        """Ask everything; `at_end` is called last, however it ends.

        Raises:
            TeacherError: the server cannot be reached, or it refuses everything.
        """
        try:
            # By `stop`, after which nobody waits for the rest, it ends in a CancelledError.
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(self._all())
        finally:
            self._began.set()
            at_end()

    def stop(self) -> None:
        """End it early, from another thread."""
        self._began.wait()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed by itself
                self._loop.call_soon_threadsafe(self._task.cancel)

    async def _all(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._began.set()
        waiting = iter(enumerate(self._requests))
        try:
            async with open_client(self._teacher, self._key) as client, asyncio.TaskGroup() as group:
                for _ in range(min(self._teacher.concurrency, len(self._requests))):
                    group.create_task(self._work(client, waiting))
        except ExceptionGroup as several:  # the workers ended together: the first one's reason is the reason
            raise several.exceptions[0] from None
        self._release()

    async def _work(self, client: openai.AsyncOpenAI, waiting: Iterator[tuple[int, Request]]) -> None:
        """One of several that take requests in turn."""
        for index, request in waiting:
            spent = _Spent()
            try:
                outcome = await self._ask(client, index, request, spent)
            except AttemptError as error:
                self._fail(index, error, spent)
            else:
                self._release()
                self._answered((index, outcome))

    async def _ask(
        self, client: openai.AsyncOpenAI, index: int, request: Request, spent: _Spent
    ) -> Completion | Refusal:
        """One request, as often as need be.

        Raises:
            AttemptError: the last attempt's, where none gave a reply.
            TeacherError: the server lets nobody in.
        """
        teacher = self._teacher
        chance = random.Random(f"{index} {request.prompt}")  # spreads the waits; decides no result
        for number in range(1, teacher.attempts + 1):
            lines: list[str] = []
            try:
                reply = await attempt(teacher, client, request, lines, key=self._key)
                return _settle(teacher, request, reply, spent)
            except AttemptError as error:
                if lines or error.reason == PAST_DEADLINE:
                    spent.cost += teacher.cost(
                        prompt_tokens=teacher.estimated_tokens(len(request.prompt)),
                        output_tokens=min(_received_tokens(teacher, lines), teacher.sampling.max_tokens),
                    )
                    spent.estimated = True
                if error.reason == PROMPT_TOO_LONG:
                    return _refusal(error.reason, spent)
                if not error.again or number == teacher.attempts:
                    raise
                doubled_seconds = teacher.backoff_seconds * 2.0 ** (number - 1) * chance.uniform(0.5, 1.5)
                await asyncio.sleep(min(max(doubled_seconds, error.wait_seconds), teacher.longest_wait_seconds))
        raise AssertionError("there is at least one attempt")

    def _fail(self, index: int, error: AttemptError, spent: _Spent) -> None:
        """Hold a request that failed.

        Raises:
            TeacherError: there was no connection, or as many have failed in a row as patience allows.
        """
        teacher = self._teacher
        words = f" ({error.words})" if error.words else ""
        if error.unreachable:
            raise TeacherError(
                f"{teacher.base_url} cannot be reached{words}, {teacher.attempts} tries; start the server, or check "
                "base_url"
            )
        self._held.append((index, _refusal(error.reason, spent)))
        if len(self._held) >= teacher.patience:
            raise TeacherError(
                f"{teacher.base_url} answered none of the last {len(self._held)} requests; the last: "
                f"{error.reason}{words}"
            )

    def _release(self) -> None:
        """Answers come after all, or everything was asked: those held were refused one by one."""
        for item in self._held:
            self._answered(item)
        self._held.clear()


def _settle(teacher: ServerTeacher, request: Request, reply: Reply, spent: _Spent) -> Completion | Refusal:
    """A reply as what it gives, charged."""
    prompt_tokens, output_tokens = reply.prompt_tokens, reply.output_tokens
    if prompt_tokens is None or output_tokens is None:
        spent.estimated = True
        prompt_tokens = teacher.estimated_tokens(len(request.prompt))
        output_tokens = teacher.estimated_tokens(len(reply.content) + len(reply.reasoning or ""))
    spent.cost += teacher.cost(prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    try:
        reasoning, text = take_apart(reply)
    except UnusableError as error:
        return _refusal(str(error), spent)
    return Completion(
        reasoning=reasoning,
        text=text,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        finished=True,
        cost=spent.cost,
        estimated=spent.estimated,
    )


def _refusal(reason: str, spent: _Spent) -> Refusal:
    return Refusal(reason=reason, cost=spent.cost, estimated=spent.estimated)


def _received_tokens(teacher: ServerTeacher, lines: Sequence[str]) -> int:
    """About how many tokens an unfinished reply holds: a streamed event is one, mostly."""
    events = sum(line.startswith("data:") for line in lines)
    return events or teacher.estimated_tokens(sum(len(line) for line in lines))
