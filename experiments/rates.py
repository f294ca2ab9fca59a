"""Base learning rates: one grid on dev, over students, supervisions, rates and seeds.

python -m experiments.rates --students tiny-0.2m,tiny --supervisions answer,compressed,reasoning
    --rates 1e-3,2e-3,4e-3 --seeds 0,1,2 --total_flops 1e13 --output experiments/rates.json --jobs 8

A cell is an untrained student, trained under one supervision at one rate for the whole budget (as `Fixed` would), then
measured on dev. A rate is chosen by the accuracy there; the loss under teacher forcing, in nats per target token, in
domain, stands beside it. Each cell that is done is a line of OUTPUT with .jsonl for .json, and is not run again; the
table is made of all lines. The rates that were chosen stand in controller/resolve.py.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from controller.config import RunConfig, user_cache
from controller.session import keep_corpus, named_corpus
from experiments.command_line import EXIT_INTERRUPTED, CommandLine, HelpFormatter, check_names, fail, nearest, one_line
from experiments.rate_cells import Cell, Line, cell_config, run_cell
from experiments.rate_table import best_rate, grid_table, mean_accuracies, mean_losses
from trainers.jobs import Precision

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    students: str  # as experiments.adaptive names them, commas between
    supervisions: str  # by their names in the corpus, commas between
    rates: str  # base learning rates, commas between
    total_flops: float  # of each cell
    output: Path  # a .json file for the table
    seeds: str = "0,1,2"  # of weights and data order, commas between
    corpus: str = "procedural"  # as experiments.adaptive names it
    jobs: int = 1  # cells side by side, a process each
    eval_examples: int | None = None  # questions of dev, by hash; all where none
    threads: int | None = None  # of one cell; by the student where none
    precision: Precision | None = None  # of training's products; bf16 on a GPU, fp32 on a CPU, where none
    cache_dir: Path = field(default_factory=user_cache)  # tokenized corpora and converted students

    def __post_init__(self) -> None:
        if self.output.suffix != ".json":
            raise ValueError(f"--output must end in .json, got {self.output}")
        if self.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {self.jobs}")
        cores = os.cpu_count() or 1
        for config in map(self.config, self.cells):
            check_names(config)
            if self.jobs * (config.threads or 1) > cores:
                raise ValueError(
                    f"{self.jobs} jobs of {config.threads} threads need more cores than the {cores} there are; lower "
                    "--jobs or --threads"
                )

    @property
    def cells(self) -> list[Cell]:
        """The whole grid."""
        return [
            Cell(student=student, supervision=supervision, rate=rate, seed=seed)
            for student in _values("students", self.students, str)
            for supervision in _values("supervisions", self.supervisions, str)
            for rate in _values("rates", self.rates, float)
            for seed in _values("seeds", self.seeds, int)
        ]

    def config(self, cell: Cell) -> RunConfig:
        """A cell as a run."""
        return cell_config(
            cell,
            corpus=self.corpus,
            total_flops=self.total_flops,
            eval_examples=self.eval_examples,
            threads=self.threads,
            precision=self.precision,
        )

    @property
    def journal(self) -> Path:
        """The file with a line for each cell that is done."""
        return self.output.with_suffix(".jsonl")


def _values(name: str, text: str, kind: Callable[[str], Item]) -> list[Item]:
    """The values of a flag, each once.

    Raises:
        ValueError: one is not of its kind.
    """
    try:
        return list(dict.fromkeys(kind(part.strip()) for part in text.split(",")))
    except ValueError:
        raise ValueError(f"--{name}: expected {kind.__name__}s with commas between, got {text!r}") from None


def run(options: Options, console: Console) -> None:
    """Run the cells that are missing, write the table of all, and show it.

    Raises:
        ValueError: a name stands for nothing, or the journal holds cells that cannot be compared with these.
    """
    corpus = named_corpus(options.corpus, strict=False)
    for name in {cell.supervision: None for cell in options.cells}:
        if name not in corpus.supervisions:
            offered = ", ".join(corpus.supervisions)
            raise ValueError(f"the corpus has no {name!r}{nearest(name, corpus.supervisions)}; it offers {offered}")
    lines = read_journal(options.journal)
    _check_journal(lines, options, corpus.fingerprint)
    corpus_dir = keep_corpus(corpus, options.cache_dir.absolute())
    done = {line.cell for line in lines}
    missing = [cell for cell in options.cells if cell not in done]
    options.journal.parent.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(_run_cells(missing, options, corpus_dir), start=1):
        with options.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line.to_json()) + "\n")
        lines.append(line)
        cell, loss = line.cell, "diverged" if line.loss is None else f"loss {line.loss:.4f}"
        console.print(
            f"{number}/{len(missing)} {cell.student} {cell.supervision} {cell.rate:g} seed {cell.seed}: {loss}, "
            f"{line.correct}/{line.questions} right, {line.seconds:.0f} s",
            soft_wrap=True,
            highlight=False,
        )
    table = grid_table(lines)
    options.output.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    console.print(_shown(lines))
    console.print(f"table: {options.output}   cells: {options.journal}", soft_wrap=True)


def _run_cells(cells: Sequence[Cell], options: Options, corpus_dir: Path) -> Iterator[Line]:
    """Cells in processes side by side, each line as soon as it is there."""
    # Spawned: a forked process could not use a GPU that its parent has seen.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(options.jobs, mp_context=spawn, initializer=end_with_parent)
    one = functools.partial(run_cell, corpus_dir=corpus_dir, cache_dir=options.cache_dir.absolute())
    try:
        for future in as_completed([pool.submit(one, cell, options.config(cell)) for cell in cells]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """From now on, this process ends when the one that started it does: a kill leaves nothing computing for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # called in the processes of a pool alone

    def wait() -> None:
        parent.join()
        os._exit(EXIT_INTERRUPTED)

    threading.Thread(target=wait, daemon=True).start()


def read_journal(path: Path) -> list[Line]:
    """The cells that are done; none where there is no such file. A last line that a kill cut short is taken away.

    Raises:
        ValueError: a line is none of a grid.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    try:
        return [Line.from_json(json.loads(line)) for line in whole.splitlines()]
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no journal of a rate grid: {error}; give another --output") from None


def _check_journal(lines: Sequence[Line], options: Options, fingerprint: str) -> None:
    """Refuse to put cells beside others that they cannot be compared with."""
    students = {cell.student for cell in options.cells}
    for line in lines:
        if line.corpus_fingerprint != fingerprint:
            raise ValueError(f"{options.journal} holds cells of another corpus; give another --output")
        if line.cell.student in students and line.total_flops != options.total_flops:
            raise ValueError(
                f"{options.journal} holds {line.cell.student} at {line.total_flops:g} FLOPs, not at "
                f"{options.total_flops:g}; give another --output"
            )
        if line.cell.student in students and options.precision not in (None, line.precision):
            raise ValueError(
                f"{options.journal} holds {line.cell.student} in {line.precision}, not in {options.precision}; give "
                "another --output"
            )


def _shown(lines: Sequence[Line]) -> Table:
    """Accuracy and mean loss by rate, a row for each (student, supervision), the best marked."""
    rates = sorted({line.cell.rate for line in lines})
    shown = Table(title="accuracy, and loss in nats per token; * best, ! best at the edge of its grid")
    for title in ("student", "supervision", *(f"{rate:g}" for rate in rates)):
        shown.add_column(title)
    for student, supervision in sorted({(line.cell.student, line.cell.supervision) for line in lines}):
        grid = [line for line in lines if (line.cell.student, line.cell.supervision) == (student, supervision)]
        losses, accuracies = mean_losses(grid), mean_accuracies(grid)
        best, edge = best_rate(accuracies)
        texts = []
        for rate in rates:
            mark = ("!" if edge else "*") if rate == best else ""
            texts.append(f"{accuracies[rate]:.1%}{mark}  {losses[rate]:.3f}" if rate in losses else "")
        shown.add_row(student, supervision, *texts)
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = CommandLine(
        prog="python -m experiments.rates", description=__doc__, formatter_class=HelpFormatter, allow_abbrev=False
    )
    parser.add_class_arguments(Options, None)
    parser.describe(Options)
    try:
        options = parser.instantiate(parser.read(arguments))
        run(Options(**options.as_dict()), Console())
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenProcessPool:
        fail("a process died, for want of memory most often; the same command goes on: give it fewer --jobs")
    except (ValueError, OSError) as error:
        fail(one_line(str(error), ()))


if __name__ == "__main__":
    main()
