"""Runs side by side: never more cores than there are, no waiting for each other's, and every end is told."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.actor import ActorClass, ActorHandle

from controller.tasks import Failure, Task, run_tasks

CORES = 2


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A Ray of our own with two cores."""
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 1024 * 1024)
    yield
    ray.shutdown()


class Process:
    """An actor of a run."""

    def pid(self) -> int:
        """Of this process."""
        return os.getpid()


def _crew(mark: Path, *, workers: int, threads: int) -> str:
    """A run: actors that take cores of their own, and a note of when all of them had theirs, and when they ended."""
    actors: list[ActorHandle[Process]] = []
    for _ in range(workers):
        kind: ActorClass[Process] = ray.remote(num_cpus=threads)(Process)
        actor = kind.remote()
        assert isinstance(actor, ActorHandle)
        actors.append(actor)
    pids = ray.get([actor.pid.remote() for actor in actors])
    began = time.monotonic()
    for actor in actors:
        ray.kill(actor)
    mark.write_text(f"{began} {time.monotonic()} {workers * threads}", encoding="utf-8")
    return f"{len(set(pids))} workers"


def _wrong(error: Exception) -> str:
    raise error


def _die() -> str:
    os._exit(1)


def test_crews_share_the_cores_and_none_waits_for_anothers(tmp_path: Path) -> None:
    shapes = [(2, 1), (1, 1), (1, 2), (2, 1)]
    tasks = [
        Task(
            work=functools.partial(_crew, tmp_path / f"{place}", workers=workers, threads=threads),
            workers=workers,
            threads=threads,
        )
        for place, (workers, threads) in enumerate(shapes)
    ]
    running: list[list[int]] = []
    outcomes = dict(run_tasks(tasks, look=lambda places: running.append(list(places)), look_seconds=0.1))
    assert outcomes == {place: f"{workers} workers" for place, (workers, _) in enumerate(shapes)}
    cores = [workers * threads for workers, threads in shapes]
    assert all(sum(cores[place] for place in places) <= CORES for places in running)
    spans = [tuple(map(float, path.read_text(encoding="utf-8").split())) for path in tmp_path.iterdir()]
    for began, _, _ in spans:
        assert sum(held for start, end, held in spans if start <= began <= end) <= CORES


def test_a_task_that_fails_is_told_in_a_line_and_the_others_go_on() -> None:
    works = [
        functools.partial(_wrong, ValueError("too small;\nraise it")),
        functools.partial(_wrong, KeyError("x")),
        _die,
        functools.partial(str, 7),
    ]
    tasks = [Task(work=work, workers=1, threads=1) for work in works]
    outcomes = dict(run_tasks(tasks, look=lambda places: None, look_seconds=0.1))
    assert outcomes[0] == Failure(reason="too small; raise it")
    assert outcomes[1] == Failure(reason="KeyError: 'x'")
    died = outcomes[2]
    assert isinstance(died, Failure) and died.reason.startswith("its process died")
    assert outcomes[3] == "7"
