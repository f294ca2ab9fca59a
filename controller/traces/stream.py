"""The one place of Ray Data: pieces go to a fixed pool of processes, bundles come back in the order of the pieces.

    pieces, pickled --from_items--> blocks of one --map_batches, a pool of actors--> blocks of bundles --> this process

At most two pieces wait at each worker, and finished bundles wait in Ray's object store, which is kept small: a worker
that is ahead of the writer is held up, and nothing grows with the source.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from controller.actors import ATTEMPTS, start_ray
from controller.config import Where
from curricula.stream.bundle import Bundle
from trainers.jobs import WorkerLostError

IN_FLIGHT_BYTES = 96 * 1024 * 1024
"""Finished bundles that may wait for the writer."""
BLOCK_BYTES = 4 * 1024 * 1024

Item = TypeVar("Item")


class _Worker(Generic[Item]):
    """Does the work in a process of Ray's; what is wrong with it is sent back in a bundle's place."""

    def __init__(self, make_work: Callable[[], Callable[[Item], Iterator[Bundle]]]) -> None:
        self._make_work = make_work
        self._work: Callable[[Item], Iterator[Bundle]] | None = None

    def __call__(self, pieces: pa.Table) -> Iterator[pa.Table]:
        """The bundles of some pieces."""
        try:
            if self._work is None:  # not in __init__, where an error would be tried again
                self._work = self._make_work()
            for place, pickled in zip(pieces["place"].to_pylist(), pieces["piece"].to_pylist(), strict=True):
                for bundle in self._work(pickle.loads(pickled)):
                    yield _row(place, bundle.to_bytes(), "")
        except (ValueError, OSError) as error:
            yield _row(-1, b"", str(error) or type(error).__name__)


def in_workers(
    items: Sequence[Item], make_work: Callable[[], Callable[[Item], Iterator[Bundle]]], workers: int
) -> Iterator[Bundle]:
    """The bundles of all pieces, in their order, made in so many processes of one core each.

    After a worker's death all go on from the last piece that had arrived; a piece always makes as many bundles.

    Raises:
        ValueError: there are not so many cores; or the work, or making it, raised ValueError or OSError.
        WorkerLostError: workers died several times over the same piece.
    """
    start_ray(Where(output_dir=Path(), num_workers=workers), threads=1)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it writes of a death is raised below
    begun, had, deaths = 0, 0, 0  # the piece that arrives, how many of its bundles are here, deaths over it
    while begun < len(items):
        skip, place = had, begun
        try:
            for place, content in _stream(items, begun, make_work, workers):
                if place != begun:
                    begun, had, skip, deaths = place, 0, 0, 0
                if skip:
                    skip -= 1
                    continue
                had += 1
                yield Bundle.from_bytes(content)
            return
        except RayError as error:
            deaths += 1
            if deaths >= ATTEMPTS:
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise WorkerLostError(f"a worker died {ATTEMPTS} times over the same rows: {said}") from None


def _stream(
    items: Sequence[Item], first: int, make_work: Callable[[], Callable[[Item], Iterator[Bundle]]], workers: int
) -> Iterator[tuple[int, pa.Buffer]]:
    """From one piece on, each bundle's piece and content.

    Raises:
        ValueError: the work, or making it, raised ValueError or OSError.
        RayError: a worker died.
    """
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    context.max_tasks_in_flight_per_actor = 2
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=IN_FLIGHT_BYTES
    )
    pieces = [{"place": place, "piece": pickle.dumps(items[place])} for place in range(first, len(items))]
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        # The named parameters that are to replace `ray_remote_args_fn` know no restarts yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        stream = ray.data.from_items(pieces, override_num_blocks=len(pieces)).map_batches(
            _Worker,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_args=(make_work,),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(pieces))),
            num_cpus=1,
            ray_remote_args_fn=_no_restarts,
        )
    blocks = stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
    for block in cast(Iterable[pa.Table], blocks):
        columns = (block["place"].to_pylist(), block["bundle"], block["error"].to_pylist())
        for place, content, error in zip(*columns, strict=True):
            if error:
                raise ValueError(error)
            yield place, content.as_buffer()


def _no_restarts() -> dict[str, int]:
    """Ray Data would restart a worker without end."""
    return {"max_restarts": 0, "max_task_retries": 0}


def _row(place: int, bundle: bytes, error: str) -> pa.Table:
    columns = {"place": pa.array([place]), "bundle": pa.array([bundle], pa.large_binary()), "error": pa.array([error])}
    return pa.table(columns)
