"""Makes a corpus of what people already have: a file, a folder of files, or a hub dataset.

python -m experiments.traces import path/to/gsm8k --output_dir corpora/gsm8k
python -m experiments.traces import traces.jsonl --output_dir D --columns.prompt question --columns.reasoning cot
python -m experiments.traces import open-r1/OpenR1-Math-220k --output_dir D --limit 20000

The layout is told from the first rows and shown; --layout names it, --columns.FIELD spells out one that is not known.
Rows and targets that cannot be used are left out, counted by reason, and listed in the new folder's dropped.jsonl.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from controller.traces.pipeline import Outcome, import_rows
from curricula.folder import DROPPED_FILE
from curricula.layouts import Columns, Layout, detect, layout_named
from curricula.stream.rows import Chunk
from curricula.stream.sources import Source, first_rows, known_rows

SOURCE = "a .jsonl, .parquet or .arrow file, a folder of such files, or the id of a hub dataset"
DETECTION_ROWS = 100
SMALL_CHUNKS = 32
"""A source of fewer chunks than this is read in this process: to start workers takes longer."""
_LEAST_WIDTH = 48  # so that a narrow table's title is not folded


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    source: str
    output_dir: Path  # the folder of the new corpus
    layout: str | None = None  # name of a known layout; told from the first rows where none
    columns: Columns | None = None  # of an unknown layout: --columns.prompt question --columns.answer gold ...
    task: str | None = None  # the task of every example; the layout's name where none
    teacher: str | None = None  # who wrote the traces, kept behind # in each supervision
    name: str | None = None  # of the corpus; that of the file, folder or dataset where none
    split: str | None = None  # of a hub dataset, train where none; of a folder, only the files called after it
    subset: str | None = None  # of a hub dataset that has several
    limit: int | None = None  # read no more than the first so many rows
    strict: bool = False  # whether a row or target that is dropped is an error
    workers: int | None = None  # processes of one core each, 0 for this one; by the source's size where none

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"--workers must be 0 or more, got {self.workers}")


def run(options: Options, console: Console) -> None:
    """Write the corpus and show what came of it.

    Raises:
        ValueError: there is nothing to read, its layout is not known, or more is lost than may.
        OSError: a file cannot be read, or the output not be written.
        WorkerLostError: a worker died again and again.
    """
    chunks = Source(place=options.source, split=options.split, subset=options.subset, limit_rows=options.limit).chunks()
    layout = chosen_layout(options, chunks)
    console.print(Text.assemble("layout ", (layout.name, "bold"), f": columns {', '.join(layout.columns)}"))
    workers = options.workers
    if workers is None:
        workers = 0 if len(chunks) < SMALL_CHUNKS else os.cpu_count() or 1
    with Progress(
        TextColumn("import"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=known_rows(chunks))
        outcome = import_rows(
            chunks,
            layout,
            options.output_dir,
            name=options.name or Path(options.source).resolve().stem,
            workers=workers,
            strict=options.strict,
            progress=lambda rows, _: progress.update(bar, completed=rows),
        )
    console.print(outcome_table(outcome))
    console.print(Text(f"written: {options.output_dir}"), soft_wrap=True)
    if outcome.written.dropped:
        console.print(Text(f"losses: {options.output_dir / DROPPED_FILE}"), soft_wrap=True)
    command = f"python -m experiments.traces describe {shlex.quote(str(options.output_dir))}"
    console.print(Text(f"next: {command}"), soft_wrap=True)


def chosen_layout(options: Options, chunks: tuple[Chunk, ...]) -> Layout:
    """The layout that the options name or spell out, or else that of the first rows; with task and teacher.

    Raises:
        ValueError: there is no such layout, none is told by the rows, or the options name two.
    """
    if options.columns is not None and options.layout is not None:
        raise ValueError("--layout names a known layout and --columns spells out an unknown one: give one of them")
    if options.columns is not None:
        layout: Layout = options.columns
    elif options.layout is not None:
        layout = layout_named(options.layout)
    else:
        layout = detect(first_rows(chunks, DETECTION_ROWS))
    if options.task is not None:
        layout = replace(layout, task_name=options.task)
    return layout if options.teacher is None else replace(layout, teacher_name=options.teacher)


def outcome_table(outcome: Outcome) -> Table:
    """What a new corpus holds and what was left out."""
    written = outcome.written
    table = Table(
        title=Text(f"{written.name}: {outcome.rows:,} rows in {outcome.seconds:.1f} s", style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        show_header=False,
        min_width=_LEAST_WIDTH,
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows read", f"{outcome.rows:,}")
    table.add_row("examples", f"{written.examples:,}")
    for split, count in written.splits.items():
        table.add_row(f"  {split}", f"{count:,}")
    table.add_section()
    for supervision, count in written.targets.items():
        table.add_row(Text(f"targets, {supervision}"), f"{count:,}")
    if written.dropped:
        table.add_section()
        for reason, count in sorted(written.dropped.items(), key=lambda item: (-item[1], item[0])):
            table.add_row(Text(f"dropped, {reason}", style="yellow"), f"{count:,}")
    return table
