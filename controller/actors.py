"""Students in Ray actors: started early, given work side by side, replaced when they die. Ray's one door.

    driver (no torch) --StageJob, batches of questions--> StudentActor x num_workers --outcomes--> driver

Work is cut the same way for any number of actors, and answers are put together in the order asked, so the number of
workers never changes a result.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import ray
from ray.actor import ActorClass, ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from controller.config import Where
from trainers.jobs import StageProgress, WorkerLostError

if TYPE_CHECKING:  # the worker loads torch, which the driver does without
    from controller.worker import StudentWorker

ATTEMPTS = 3
"""Actors that may die over one piece of work, or over setting one up, before the run gives up."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What an actor is made from."""

    student: str
    seed: int
    threads: int
    cache_dir: Path
    white_box_teacher: str | None = None

    def build(self) -> StudentWorker:
        """The worker, in the process that is to hold it.

        Raises:
            ValueError: there is no such student or teacher, or the teacher reads other tokens.
        """
        from controller.worker import StudentWorker  # here, not above: the driver must not load torch

        return StudentWorker(
            student=self.student,
            white_box_teacher=self.white_box_teacher,
            seed=self.seed,
            threads=self.threads,
            cache_dir=self.cache_dir,
        )


class StudentActor:
    """A StudentWorker behind Ray. Its second thread answers only how far the first one is."""

    def __init__(self, spec: WorkerSpec) -> None:
        """Build the worker."""
        os.environ["OMP_NUM_THREADS"] = str(spec.threads)  # before torch is loaded, which reads it once
        self._worker: StudentWorker | None = None
        self._refusal: ValueError | None = None
        try:
            self._worker = spec.build()
        except ValueError as error:  # raised here it would look like a death, and be tried again
            self._refusal = error

    def call(self, work: Callable[[StudentWorker], Answer]) -> Answer:
        """Do one piece of work.

        Raises:
            ValueError: there is no such student or teacher, or what the work raises.
        """
        if self._refusal is not None:
            raise self._refusal
        assert self._worker is not None
        return work(self._worker)

    @ray.method(concurrency_group="progress")
    def progress(self) -> StageProgress | None:
        """How far the running stage is."""
        return None if self._worker is None else self._worker.progress()


# The stub of `remote` knows no concurrency groups.
_remote = ray.remote(concurrency_groups={"progress": 1}, max_restarts=0)  # pyright: ignore[reportCallIssue]
_RemoteStudentActor: ActorClass[StudentActor] = _remote(StudentActor)


def start_ray(where: Where, *, threads: int) -> None:
    """Join the cluster, or start one on this machine that ends with this process.

    Raises:
        ValueError: the workers need more cores than there are.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if where.ray_address is None:
        # A cluster of our own keeps Ray's token authentication, since its ports are open to the network: only the
        # notice about it is silenced.
        logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    if not ray.is_initialized():
        ray.init(
            address=where.ray_address,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=None if where.ray_address else 256 * 1024 * 1024,
        )
    cores = int(ray.cluster_resources().get("CPU", 1))
    if where.num_workers * threads > cores:
        raise ValueError(
            f"{where.num_workers} workers of {threads} threads need {where.num_workers * threads} cores and there are "
            f"{cores}; lower --num_workers or --threads"
        )


def gpu_share(gpus: int, *, workers: int) -> float:
    """What each worker asks of the accelerators: one, or a part of one that it shares, so that it sees no other.

    Example:
        >>> gpu_share(2, workers=2), gpu_share(2, workers=3), gpu_share(0, workers=3)
        (1.0, 0.5, 0.0)
    """
    return 1.0 / max(1, -(-workers // gpus)) if gpus else 0.0


class Crew:
    """The actors of one run."""

    def __init__(self, spec: WorkerSpec, *, workers: int) -> None:
        """Start the actors; they load torch and the student while the driver goes on."""
        self.lost = 0  # pieces of work that a dead actor took with it
        self._spec = spec
        self._gpus = gpu_share(int(ray.cluster_resources().get("GPU", 0)), workers=workers)
        self._setups: list[Callable[[StudentWorker], object]] = []
        self._actors = [self._start() for _ in range(workers)]

    def set_up(self, work: Callable[[StudentWorker], Answer]) -> Answer:
        """Do something on every actor, now and after any restart; the first one's answer is returned."""
        answers = self.on_each(work)
        self._setups.append(work)
        return answers[0]

    def on_each(self, work: Callable[[StudentWorker], Answer]) -> list[Answer]:
        """Do something once on every actor."""
        return self.map([work] * len(self._actors), pinned=True)

    def map(self, works: Sequence[Callable[[StudentWorker], Answer]], *, pinned: bool = False) -> list[Answer]:
        """Do all pieces of work, an actor busy with one at a time; answers in the order given.

        Args:
            pinned: piece i belongs to actor i.

        Raises:
            WorkerLostError: one piece of work killed several actors; or whatever the work itself raised.
        """
        answers: dict[int, Answer] = {}
        attempts = [0] * len(works)
        waiting = list(range(len(works)))
        idle = list(range(len(self._actors)))
        running: dict[ray.ObjectRef, tuple[int, int]] = {}
        while waiting or running:
            while waiting and idle:
                item = waiting.pop(0)
                seat = item if pinned else idle[0]
                idle.remove(seat)
                running[self._actors[seat].call.remote(works[item])] = (item, seat)
            done, _ = ray.wait(list(running), num_returns=1)
            item, seat = running.pop(done[0])
            try:
                answers[item] = _answer(done[0])
            except RayActorError as error:
                attempts[item] += 1
                self.lost += 1
                if attempts[item] >= ATTEMPTS:
                    raise WorkerLostError(
                        f"workers died {ATTEMPTS} times over the same work; last: {_first_line(error)}"
                    ) from None
                self._restart(seat)
                waiting.insert(0, item)
            idle.append(seat)
            idle.sort()
        return [answers[item] for item in range(len(works))]

    def timed(self, works: Sequence[Callable[[StudentWorker], Answer]]) -> tuple[list[Answer], list[float]]:
        """Do all pieces of work; the answers, and the seconds that an actor was busy with each.

        What was lost with a dead actor is in neither.
        """
        answers = self.map([_timed(work) for work in works])
        return [answer for answer, _ in answers], [seconds for _, seconds in answers]

    def progress(self) -> StageProgress | None:
        """How far the first actor is; None while it cannot say."""
        try:
            reference: ray.ObjectRef[StageProgress | None] = self._actors[0].progress.remote()
            return ray.get([reference], timeout=2.0)[0]
        except (GetTimeoutError, RayActorError, RayTaskError):
            return None

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            ray.kill(actor)

    def _start(self) -> ActorHandle[StudentActor]:
        actor = _RemoteStudentActor.options(num_cpus=self._spec.threads, num_gpus=self._gpus).remote(self._spec)
        assert isinstance(actor, ActorHandle)
        return actor

    def _restart(self, seat: int) -> None:
        """Put a fresh actor into a dead one's seat, set up as that one was."""
        for attempt in range(1, ATTEMPTS + 1):
            ray.kill(self._actors[seat])  # it may be out of reach rather than dead, and would keep its cores
            self._actors[seat] = self._start()
            try:
                for work in self._setups:
                    _answer(self._actors[seat].call.remote(work))
                return
            except RayActorError as error:
                if attempt == ATTEMPTS:
                    raise WorkerLostError(
                        f"workers died {ATTEMPTS} times while being set up; last: {_first_line(error)}"
                    ) from None


def _timed(work: Callable[[StudentWorker], Answer]) -> Callable[[StudentWorker], tuple[Answer, float]]:
    def do(worker: StudentWorker) -> tuple[Answer, float]:
        began = time.monotonic()
        return work(worker), time.monotonic() - began

    return do


def _answer(reference: ray.ObjectRef[Answer]) -> Answer:
    """What a piece of work gave; what it raised is raised here."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
