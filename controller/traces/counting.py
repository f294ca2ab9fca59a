"""Tokens of many texts, counted in a Ray actor: tokenizers load torch, which the driver does without."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import ray
from ray.actor import ActorClass, ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from controller.actors import start_ray
from controller.config import Where
from curricula.types import Ints
from trainers.jobs import WorkerLostError

if TYPE_CHECKING:  # the actor loads torch, which the driver does without
    from trainers.lengths import TokenCounter

BATCHES_AHEAD = 2
"""Batches that wait at the actor, so that it need not wait for the driver."""

Answer = TypeVar("Answer")


class CountingActor:
    """A TokenCounter behind Ray."""

    def __init__(self, name: str, threads: int) -> None:
        """Remember what to load: an error raised here would look like a death."""
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
        self._name = name
        self._counter: TokenCounter | None = None

    def open(self) -> int | None:
        """Load the tokenizer; the positions of its model, where they are known.

        Raises:
            ValueError: there is no such tokenizer.
        """
        from trainers.lengths import open_counter  # here, not above: the driver must not load torch
        from trainers.process import set_up_process

        set_up_process(threads=int(os.environ["RAYON_NUM_THREADS"]))
        self._counter = open_counter(self._name)
        return self._counter.positions

    def count(self, texts: Sequence[str], *, prompts: bool) -> Ints:
        """Tokens of each text, as a prompt or as a target."""
        assert self._counter is not None
        return self._counter.prompt_tokens(texts) if prompts else self._counter.target_tokens(texts)


_RemoteCountingActor: ActorClass[CountingActor] = ray.remote(CountingActor)


class RemoteCounter:
    """Counts tokens in another process, batch by batch."""

    def __init__(self, name: str, *, threads: int) -> None:
        """Start the process and load the tokenizer.

        Raises:
            ValueError: there is no such tokenizer.
        """
        actor = _RemoteCountingActor.options(num_cpus=threads).remote(name, threads)
        assert isinstance(actor, ActorHandle)
        self._actor: ActorHandle[CountingActor] = actor
        self.positions: int | None = _answer(self._actor.open.remote())

    def count(self, batches: Iterable[Sequence[str]], *, prompts: bool) -> Iterator[Ints]:
        """Tokens of each batch of texts, in order: prompts as the student reads them, targets with their end token.

        Raises:
            WorkerLostError: the process died, most likely for want of memory.
        """
        waiting: deque[ray.ObjectRef[Ints]] = deque()
        for batch in batches:
            waiting.append(self._actor.count.remote(batch, prompts=prompts))
            if len(waiting) > BATCHES_AHEAD:
                yield _answer(waiting.popleft())
        while waiting:
            yield _answer(waiting.popleft())

    def close(self) -> None:
        """End the process."""
        ray.kill(self._actor)


@contextmanager
def open_remote_counter(name: str, *, threads: int) -> Iterator[RemoteCounter]:
    """A tokenizer in a process of its own, by the name of a student, a folder, a hub id or a .gguf file.

    Raises:
        ValueError: there is no such tokenizer, or there are fewer cores than threads.
    """
    start_ray(Where(output_dir=Path(tempfile.gettempdir())), threads=threads)
    counter = RemoteCounter(name, threads=threads)
    try:
        yield counter
    finally:
        counter.close()


def _answer(reference: ray.ObjectRef[Answer]) -> Answer:
    """What the actor gave; what it raised is raised here."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None
    except RayActorError as error:
        reason = str(error).strip().partition("\n")[0]
        raise WorkerLostError(f"the process that counts tokens died: {reason}") from None
