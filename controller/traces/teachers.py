"""A teacher in a Ray actor: a local model loads torch, which the driver does without."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import ray
from ray.actor import ActorClass, ActorHandle
from ray.exceptions import RayActorError, RayTaskError

from curricula.types import Cost
from trainers.teachers.sampling import LocalModel
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError

if TYPE_CHECKING:  # the actor loads torch, which the driver does without
    from trainers.teachers.local_teacher import LocalTeacher

Answer = TypeVar("Answer")
BATCHES_AHEAD = 2
"""Batches that wait at the actor, so that it need not wait for the driver."""


class TeacherActor:
    """A LocalTeacher behind Ray."""

    def __init__(self, settings: LocalModel) -> None:
        """Remember what to load: an error raised here would look like a death."""
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)  # before torch is loaded, which reads it once
        self._settings = settings
        self._teacher: LocalTeacher | None = None

    def open(self) -> bool:
        """Load the model; whether its chat template tells thinking from not thinking.

        Raises:
            ValueError: there is no such model, or it cannot teach.
        """
        from trainers.process import set_up_process
        from trainers.teachers.local_teacher import LocalTeacher  # here, not above: the driver must not load torch

        set_up_process(threads=self._settings.threads)
        self._teacher = LocalTeacher(self._settings)
        return self._teacher.toggles()

    def ceiling(self, requests: Sequence[Request]) -> Cost:
        """The most that these requests can take."""
        assert self._teacher is not None
        return self._teacher.ceiling(requests)

    def complete(self, requests: Sequence[Request]) -> list[tuple[int, Completion | Refusal]]:
        """Answer some requests."""
        assert self._teacher is not None
        return list(self._teacher.complete(requests))


_RemoteTeacherActor: ActorClass[TeacherActor] = ray.remote(TeacherActor)


@dataclass(frozen=True, kw_only=True, eq=False)
class ActorTeacher:
    """A local model that teaches from a process of its own; it must have been opened by `open_local`."""

    settings: LocalModel
    toggles: bool  # its chat template tells thinking from not thinking
    actor: ActorHandle[TeacherActor]

    @property
    def name(self) -> str:
        """As it stands behind `#`."""
        return self.settings.name

    def ceiling(self, requests: Sequence[Request]) -> Cost:
        """The most that these requests can take."""
        return _result(self.actor.ceiling.remote(requests), self.settings)

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
        """Answer every request once, each with its index, those with prompts of like length together.

        Raises:
            TeacherError: the process died.
        """
        # Both sides of a pair go through another template: they are batched apart.
        order = sorted(range(len(requests)), key=lambda index: (requests[index].thinking, len(requests[index].prompt)))
        rows = self.settings.batch_rows
        batches = deque(order[start : start + rows] for start in range(0, len(order), rows))
        running: deque[tuple[list[int], ray.ObjectRef[list[tuple[int, Completion | Refusal]]]]] = deque()
        while batches or running:
            while batches and len(running) < BATCHES_AHEAD:
                batch = batches.popleft()
                running.append((batch, self.actor.complete.remote([requests[index] for index in batch])))
            batch, reference = running.popleft()
            for place, outcome in _result(reference, self.settings):
                yield batch[place], outcome

    def close(self) -> None:
        """End the process."""
        ray.kill(self.actor)


@functools.cache
def vllm_fits() -> bool:
    """Whether vLLM is installed on this machine and has a GPU to run on."""
    if find_spec("vllm") is None:
        return False
    # Asked of a process of its own: only torch can tell, which the driver does without.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as aside:
        return aside.submit(_device).result() == "cuda"


def _device() -> str:
    from trainers.process import default_device

    return default_device()


def open_local(settings: LocalModel) -> ActorTeacher:
    """Load a local model in an actor; Ray must run.

    Raises:
        ValueError: there is no such model, or it cannot teach.
        TeacherError: the process died over it.
    """
    actor = _RemoteTeacherActor.options(num_cpus=settings.threads).remote(settings)
    assert isinstance(actor, ActorHandle)
    return ActorTeacher(settings=settings, toggles=_result(actor.open.remote(), settings), actor=actor)


def _result(reference: ray.ObjectRef[Answer], settings: LocalModel) -> Answer:
    """What a piece of work gave; what it raised is raised here."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None
    except RayActorError:
        raise TeacherError(
            f"the process that held {settings.model} died, most often for want of memory; fewer batch_rows need less"
        ) from None
