"""The cells of a comparison, run side by side, each by the code of experiments.adaptive."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from controller.actors import start_ray
from controller.config import RunConfig, Where
from controller.files import InUseError, take_lock
from controller.record import IDENTITY, LOCK
from controller.resolve import resolve_threads
from controller.session import named_corpus, open_session, spend
from controller.students import Doing
from controller.summary import conclude
from controller.tasks import Failure, Task, run_tasks
from experiments.command_line import check_names
from experiments.comparison.grid import Cell
from experiments.comparison.progress import CellTable
from experiments.comparison.record import ComparisonRecord, shared_settings
from experiments.report import write_report

LOOK_SECONDS = 2.0
LINGER_SECONDS = 60.0
"""How long the processes of a killed comparison may take to notice."""
COMPARISON_LOCK = "compare.lock"


def run_comparison(cells: Mapping[Cell, RunConfig], settings: RunConfig, where: Where, console: Console) -> list[Cell]:
    """Run the cells that are not there; the cells that failed, each with its row in compare.json.

    Args:
        settings: the fields that all cells share.
        where: `output_dir` is the comparison's, `num_workers` a cell's.

    Raises:
        ValueError: a name stands for nothing, the folder's cells cannot be compared with these, or one cell alone needs
            more cores than there are.
    """
    for config in cells.values():
        check_names(config)
    corpora = dict.fromkeys(cell.corpus for cell in cells)
    fingerprints = {name: named_corpus(name, strict=settings.strict).fingerprint for name in corpora}
    where = dataclasses.replace(
        where, output_dir=where.output_dir.absolute(), cache_dir=where.cache_dir.expanduser().absolute()
    )
    where.output_dir.mkdir(parents=True, exist_ok=True)
    with take_lock(where.output_dir / COMPARISON_LOCK):
        record = ComparisonRecord(where.output_dir, shared_settings(settings, fingerprints), cells)
        missing = record.missing
        if missing:
            _run_missing(missing, cells, record, where, console)
        return [cell for cell in cells if "error" in record.rows[cell]]


def _run_missing(
    missing: Sequence[Cell], cells: Mapping[Cell, RunConfig], record: ComparisonRecord, where: Where, console: Console
) -> None:
    threads = [resolve_threads(cells[cell]).threads or 1 for cell in missing]
    start_ray(where, threads=max(threads))
    _wait_for_lingering([record.run_folder(cell) for cell in missing])
    tasks = [
        Task(
            work=functools.partial(
                carry_out, cells[cell], dataclasses.replace(where, output_dir=record.run_folder(cell))
            ),
            workers=where.num_workers,
            threads=count,
        )
        for cell, count in zip(missing, threads, strict=True)
    ]
    with CellTable(record, missing, total=len(cells), console=console) as table:
        for place, outcome in run_tasks(tasks, look=table.look, look_seconds=LOOK_SECONDS):
            cell = missing[place]
            if isinstance(outcome, Failure):
                record.fail(cell, outcome.reason)
            else:
                record.finish(cell)
            table.ended(cell)


def carry_out(config: RunConfig, where: Where) -> None:
    """One cell in a process of its own: a new run, or the rest of one that was cut short.

    Raises:
        ValueError, WorkerLostError, OverspentError, OSError: as the run does.
    """
    started = time.monotonic()
    resume = (where.output_dir / IDENTITY).exists()
    with open_session(config, where, resume=resume, doing=Doing()) as session:
        conclude(session, spend(session), started=started)
        write_report(where.output_dir)


def _wait_for_lingering(folders: Sequence[Path]) -> None:
    """Wait until no process of a killed comparison writes these run folders.

    Raises:
        InUseError: one is in use by something that goes on.
    """
    limit = time.monotonic() + LINGER_SECONDS
    for folder in folders:
        while (folder / LOCK).exists():
            try:
                take_lock(folder / LOCK).close()
                break
            except InUseError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.2)
