"""Rows a second and memory of `traces import`, `verify` and `compress --method truncated` on short rows.

Questions with a short trace and a numeric answer are written to disk, imported, verified and cut, once at full size
for memory and several times at a smaller one for speed, of which the median is told. Ray runs before the clock starts;
starting the workers counts. Memory is of this process and the workers at their worst moment; Ray's object store and
its own processes are told apart.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from controller.actors import start_ray
from controller.config import Where
from controller.traces.pipeline import Outcome, import_rows, transform_corpus
from curricula.layouts import detect
from curricula.stream.sources import Source, first_rows
from evaluators.verdicts import Verifier
from experiments.speed.memory import Memory, PeakMemory, memory_now
from trainers.compressors.spec import CompressorSpec
from trainers.compressors.targets import Cuts

BATCH_EXAMPLES = 256
_END_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    output: Path  # a JSON file for the figures
    rows: int = 1_000_000  # of the one large run
    small_rows: int = 100_000  # of each of the repeated runs
    repeats: int = 3  # runs whose median is told
    workers: int | None = None  # processes of one core each; this machine's cores where none, 0 for none
    work_dir: Path | None = None  # where rows and corpora are written, and removed again; a temporary folder where none

    def __post_init__(self) -> None:
        if min(self.rows, self.small_rows, self.repeats) < 1 or (self.workers is not None and self.workers < 0):
            raise ValueError("--rows, --small_rows and --repeats must be at least 1, --workers at least 0")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One step over one corpus."""

    step: str
    rows: int
    seconds: float
    rows_per_second: float  # over all of those seconds
    steady_rows_per_second: float  # between the first bundle that arrived and the last
    peak: Memory


def run(options: Options, console: Console) -> None:
    """Measure, write the figures, and show them."""
    workers = os.cpu_count() or 1 if options.workers is None else options.workers
    started = time.monotonic()
    if workers:
        start_ray(Where(output_dir=options.output.parent, num_workers=workers), threads=1)
    ray_seconds = time.monotonic() - started
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.work_dir, prefix="benchmark-") as folder:
        small = [
            measured
            for turn in range(options.repeats)
            for measured in _measure(Path(folder) / f"small-{turn}", options.small_rows, workers, console)
        ]
        large = _measure(Path(folder) / "large", options.rows, workers, console)
    figures = {
        "measured": "short rows: JSONL to corpus, verdicts of numeric answers, truncated at 0.5",
        "workers": workers,
        "machine": _machine(),
        "load_before": load,
        "ray_start_seconds": ray_seconds,
        "large": [dataclasses.asdict(one) for one in large],
        "small": [dataclasses.asdict(one) for one in small],
        "small_median_rows_per_second": {
            step: {
                "whole": statistics.median(one.rows_per_second for one in small if one.step == step),
                "steady": statistics.median(one.steady_rows_per_second for one in small if one.step == step),
            }
            for step in dict.fromkeys(one.step for one in small)
        },
        "memory_left_out": "shared memory (Ray's object store) and Ray's own processes, told as daemons_bytes",
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    console.print(_table([*small, *large]))
    console.print(
        f"load before: {load:.2f}; Ray started in {ray_seconds:.1f} s; written: {options.output}", soft_wrap=True
    )


def short_rows(count: int) -> Iterator[str]:
    """Lines of JSON, about 210 bytes each: a question, a trace in think tags, and its numeric answer."""
    draw = random.Random(0)
    for number in range(count):
        have, more, sold = draw.randint(10, 999), draw.randint(10, 999), draw.randint(2, 9)
        row = {
            "prompt": f"Case {number}: A shop has {have} boxes, buys {more} more and sells {sold}. How many are left?",
            "completion": f"<think>{have}+{more}={have + more}. Then {have + more}-{sold}={have + more - sold}.</think>"
            f"The shop has {have + more - sold} boxes left. The answer is {have + more - sold}",
        }
        yield json.dumps(row) + "\n"


def _measure(folder: Path, rows: int, workers: int, console: Console) -> list[Measured]:
    """All steps, one after the other, each on what the one before it wrote."""
    folder.mkdir()
    source = folder / "rows.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(short_rows(rows))

    def read(progress: Callable[[int, int | None], None]) -> Outcome:
        chunks = Source(place=str(source)).chunks()
        layout = detect(first_rows(chunks, 100))
        return import_rows(chunks, layout, folder / "import", name="rows", workers=workers, progress=progress)

    cut = CompressorSpec(method="truncated", cuts=Cuts(source="reasoning", ratios=(0.5,)), cache_dir=folder / "cache")
    transform = partial(transform_corpus, workers=workers, batch_examples=BATCH_EXAMPLES)
    steps: dict[str, Callable[[Callable[[int, int | None], None]], Outcome]] = {
        "import": read,
        "verify": lambda progress: transform(folder / "import", folder / "verify", Verifier, progress=progress),
        "compress": lambda progress: transform(folder / "verify", folder / "compress", cut.build, progress=progress),
    }
    found = []
    for name, step in steps.items():
        with console.status(f"{name}: {rows:,} rows"):
            found.append(_timed(name, step))
    return found


def _timed(name: str, step: Callable[[Callable[[int, int | None], None]], Outcome]) -> Measured:
    moments: list[tuple[float, int]] = []
    _wait_for_workers_to_end()
    started = time.monotonic()
    with PeakMemory() as peak:
        outcome = step(lambda rows, _: moments.append((time.monotonic(), rows)))
    seconds = time.monotonic() - started
    (first_at, first_rows_done), (last_at, last_rows) = moments[0], moments[-1]
    steady = (last_rows - first_rows_done) / (last_at - first_at) if last_at > first_at else outcome.rows / seconds
    return Measured(
        step=name,
        rows=outcome.rows,
        seconds=seconds,
        rows_per_second=outcome.rows / seconds,
        steady_rows_per_second=steady,
        peak=peak.memory,
    )


def _wait_for_workers_to_end() -> None:
    """Ray ends the workers of the step before when it comes to it; their memory is not the next step's."""
    deadline = time.monotonic() + _END_SECONDS
    while memory_now().workers_bytes and time.monotonic() < deadline:
        time.sleep(0.2)


def _machine() -> dict[str, str | int]:
    versions = {name: importlib.metadata.version(name) for name in ("ray", "pyarrow", "numpy")}
    return {
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "system": platform.platform(),
        **versions,
    }


def _table(measured: list[Measured]) -> Table:
    table = Table(title="short rows", title_justify="left")
    for heading in ("step", "rows", "seconds", "rows/s", "steady rows/s", "driver + workers, MiB", "Ray's own, MiB"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for one in measured:
        table.add_row(
            one.step,
            f"{one.rows:,}",
            f"{one.seconds:.1f}",
            f"{one.rows_per_second:,.0f}",
            f"{one.steady_rows_per_second:,.0f}",
            f"{one.peak.driver_bytes >> 20} + {one.peak.workers_bytes >> 20}",
            f"{one.peak.daemons_bytes >> 20}",
        )
    return table
