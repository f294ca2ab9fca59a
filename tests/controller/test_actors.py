"""The crew with workers that load no model: order, what work raises, and deaths at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import ray

from controller.actors import ATTEMPTS, Crew, WorkerSpec, start_ray
from controller.config import Where
from trainers.jobs import WorkerLostError

if TYPE_CHECKING:  # it loads torch, which these workers do without
    from controller.worker import StudentWorker


class Notebook:
    """A worker that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []


@dataclass(frozen=True, kw_only=True)
class NotebookSpec(WorkerSpec):
    """Builds a notebook in a student's place."""

    def build(self) -> StudentWorker:
        """A notebook."""
        if self.student == "nobody":
            raise ValueError("there is no student 'nobody'")
        return cast("StudentWorker", Notebook())


def _write(worker: StudentWorker, line: str) -> list[str]:
    notebook = cast(Notebook, worker)
    notebook.lines.append(line)
    return notebook.lines


def _read(worker: StudentWorker) -> list[str]:
    return cast(Notebook, worker).lines


def _die_until(mark: Path, *, deaths: int) -> None:
    """End this process at once, unless it has happened so many times."""
    count = len(mark.read_text()) if mark.exists() else 0
    if count < deaths:
        mark.write_text("x" * (count + 1))
        os._exit(1)


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray of our own, with room for two workers."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 1024 * 1024)
    yield
    ray.shutdown()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(NotebookSpec(student="x", seed=0, threads=1, cache_dir=tmp_path), workers=2)
    yield crew
    crew.close()


def test_answers_come_in_the_order_asked_and_set_ups_reach_every_worker(crew: Crew) -> None:
    assert crew.set_up(lambda worker: _write(worker, "set up")) == ["set up"]
    assert crew.map([lambda worker, n=n: n * n for n in range(7)]) == [n * n for n in range(7)]
    assert crew.on_each(_read) == [["set up"], ["set up"]]
    assert crew.map([]) == []
    with pytest.raises(ValueError, match="no such page"):
        crew.map([_tear])
    assert crew.map([_read]) == [["set up"]]


def _tear(worker: StudentWorker) -> None:
    raise ValueError("no such page")


def test_a_worker_that_dies_is_replaced_and_set_up_even_if_that_dies_too(crew: Crew, tmp_path: Path) -> None:
    at_work, at_set_up = tmp_path / "work", tmp_path / "set-up"
    at_set_up.write_text("x")

    def set_up(worker: StudentWorker) -> list[str]:
        _die_until(at_set_up, deaths=1)
        return _write(worker, "set up")

    def work(worker: StudentWorker) -> list[str]:
        _die_until(at_work, deaths=1)
        return _read(worker)

    crew.set_up(set_up)
    at_set_up.unlink()
    assert crew.map([work, lambda worker: ["other"]]) == [["set up"], ["other"]]
    assert len(at_work.read_text()) == len(at_set_up.read_text()) == crew.lost == 1


def test_work_and_set_ups_that_kill_every_worker_end_the_run(tmp_path: Path) -> None:
    crew = Crew(NotebookSpec(student="x", seed=0, threads=1, cache_dir=tmp_path), workers=1)
    mark = tmp_path / "mark"
    with pytest.raises(WorkerLostError, match=f"died {ATTEMPTS} times over the same work"):
        crew.map([lambda worker: _die_until(mark, deaths=99)])
    assert len(mark.read_text()) == ATTEMPTS
    crew.set_up(lambda worker: None if mark.exists() else os._exit(1))
    mark.unlink()
    with pytest.raises(WorkerLostError, match=f"died {ATTEMPTS} times while being set up"):
        crew.map([lambda worker: os._exit(1)])
    crew.close()


def test_a_student_that_there_is_not_is_told_once(tmp_path: Path) -> None:
    crew = Crew(NotebookSpec(student="nobody", seed=0, threads=1, cache_dir=tmp_path), workers=1)
    with pytest.raises(ValueError, match="no student 'nobody'"):
        crew.map([_read])
    assert crew.lost == 0
    crew.close()


def test_more_workers_than_cores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 workers of 1 threads need 3 cores and there are 2"):
        start_ray(Where(output_dir=tmp_path, num_workers=3), threads=1)
