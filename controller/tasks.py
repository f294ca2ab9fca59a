"""Whole runs side by side: each a Ray task that holds its workers' cores and accelerators from its start to its end.

    driver --Task--> placement group (a bundle for each worker of the run) --> task, 0 cores --> its StudentActors

A task that held cores itself while its actors ask for more could starve beside others of its kind, each waiting for
cores that the next one holds. So the cores are reserved first, all of a run's or none, as a placement group; the task
takes none of them, since while it plans its actors wait; and its actors find their cores in the group and nowhere else.
A task is handed to Ray only when the machine has room for its whole group, so the sum never passes what there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from controller.actors import gpu_share

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Answer]):
    """One run, and what its workers take.

    Example:
        Task(work=functools.partial(carry_out, config, where), workers=1, threads=2)
    """

    work: Callable[[], Answer]
    workers: int
    threads: int  # of each worker


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a task gave no answer.

    Example:
        Failure(reason="a budget of 10 FLOPs buys no training step")
    """

    reason: str  # one line


@dataclass(frozen=True, kw_only=True)
class Running:
    """A task that Ray has."""

    place: int  # among the tasks
    group: PlacementGroup
    cores: int
    gpus: float


def run_tasks(
    tasks: Sequence[Task[Answer]], *, look: Callable[[Sequence[int]], None], look_seconds: float
) -> Iterator[tuple[int, Answer | Failure]]:
    """Run all tasks, as many side by side as there is room for; each answer as it comes, with its task's place.

    Ray has been started, with room for every single task. Tasks begin in the order given.

    Args:
        look: called about every `look_seconds` with the places of the running tasks.
    """
    there = ray.cluster_resources()
    cores, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
    waiting = list(range(len(tasks)))
    running: dict[ray.ObjectRef[Answer], Running] = {}
    looked = 0.0
    try:
        while waiting or running:
            while waiting:
                task = tasks[waiting[0]]
                used_gpus = task.workers * gpu_share(gpus, workers=task.workers)
                full = sum(other.cores for other in running.values()) + task.workers * task.threads > cores
                if full or sum(other.gpus for other in running.values()) + used_gpus > gpus:
                    break
                reference, group = _submit(task, gpus)
                running[reference] = Running(
                    place=waiting.pop(0), group=group, cores=task.workers * task.threads, gpus=used_gpus
                )
            done, _ = ray.wait(list(running), num_returns=1, timeout=look_seconds)
            for reference in done:
                ended = running.pop(reference)
                remove_placement_group(ended.group)
                yield ended.place, _outcome(reference)
            if done or time.monotonic() - looked >= look_seconds:
                looked = time.monotonic()
                look([item.place for item in running.values()])
    finally:
        for reference, item in running.items():
            ray.cancel(reference, force=True)
            remove_placement_group(item.group)


def _submit(task: Task[Answer], gpus: int) -> tuple[ray.ObjectRef[Answer], PlacementGroup]:
    bundle: dict[str, float] = {"CPU": task.threads}
    if share := gpu_share(gpus, workers=task.workers):  # what a crew of so many asks for
        bundle["GPU"] = share
    group = placement_group([bundle] * task.workers, strategy="PACK")
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    remote = _carry_out.options(num_cpus=0, scheduling_strategy=strategy)
    return remote.remote(task.work), group


# A process of its own, used once: what a run leaves open or in memory ends with it. Never tried again: what is lost
# with a process is taken up by the next command, from the run's own record.
@ray.remote(max_calls=1, max_retries=0)
def _carry_out(work: Callable[[], Answer]) -> Answer:
    return work()


def _outcome(reference: ray.ObjectRef[Answer]) -> Answer | Failure:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        name = "" if isinstance(cause, ValueError) else f"{type(cause).__name__}: "
        return Failure(reason=name + " ".join(str(cause).split()))
    except RayError as error:
        return Failure(reason=f"its process died: {' '.join(str(error).split())}")
