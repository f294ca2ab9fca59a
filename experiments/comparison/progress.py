"""What a person watches while cells run side by side: a table on a terminal, a line for each end elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from controller.record import STAGES
from curricula.types import BUDGET_PURPOSES
from evaluators.accuracy import Scores
from evaluators.resampling import Estimate
from experiments.comparison.grid import Cell
from experiments.comparison.record import ComparisonRecord, Row
from experiments.findings.findings import FinishedRun
from experiments.findings.graded import behind_the_best
from experiments.findings.markdown import points_text
from experiments.summary import accuracy_text, flops_text, share_text

LAST_ROWS = 12
"""Ended cells that the live table shows."""


class CellTable:
    """A live table while the block lasts: the cells that run, with the budget they spent, and those that ended."""

    def __init__(self, record: ComparisonRecord, cells: Sequence[Cell], *, total: int, console: Console) -> None:
        """Show on `console` what happens to `cells`, of `total` in the grid."""
        self._record, self._cells, self._total, self._console = record, cells, total, console
        self._there = total - len(cells)
        self._running: tuple[int, ...] = ()
        self._ended: list[Cell] = []
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> CellTable:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def look(self, running: Sequence[int]) -> None:
        """The places of the cells that run now."""
        self._running = tuple(running)
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)

    def ended(self, cell: Cell) -> None:
        """A cell has its row."""
        self._ended.append(cell)
        if not self._console.is_terminal:
            count = f"{self._there + len(self._ended)}/{self._total}"
            line = f"{count} {cell_text(cell)}: {outcome_text(self._record.rows[cell])}"
            self._console.print(Text(line), soft_wrap=True)

    def _table(self) -> Table:
        left = len(self._cells) - len(self._ended) - len(self._running)
        failed = sum("error" in self._record.rows[cell] for cell in self._ended)
        table = Table(
            title=f"{self._there + len(self._ended) - failed} of {self._total} cells done, {len(self._running)} "
            f"running, {left} waiting, {failed} failed",
            title_justify="left",
            show_header=False,
        )
        for cell in self._ended[-LAST_ROWS:]:
            table.add_row(Text(cell_text(cell)), Text(outcome_text(self._record.rows[cell])))
        table.add_section()
        for place in self._running:
            cell = self._cells[place]
            share = spent_flops(self._record.run_folder(cell)) / cell.total_flops
            table.add_row(Text(cell_text(cell)), f"{share_text(min(1.0, share))} of its budget", style="cyan")
        return table


def final_tables(cells: Sequence[Cell], rows: Sequence[Row], runs: Sequence[FinishedRun]) -> list[Table]:
    """For each corpus, student and budget: accuracy by policy and seed, on the split that counts, and where two seeds
    are there how far each policy is behind the best, paired by question and seed.

    Args:
        runs: those of the rows, read from their folders.
    """
    by_key = {tuple(row[name] for name in ("corpus", "student", "total_flops", "policy", "seed")): row for row in rows}
    seeds = sorted({cell.seed for cell in cells})
    tables: list[Table] = []
    for place in dict.fromkeys((cell.corpus, cell.student, cell.total_flops) for cell in cells):
        policies = dict.fromkeys(
            cell.policy for cell in cells if (cell.corpus, cell.student, cell.total_flops) == place
        )
        behind = behind_the_best({policy: of for policy in policies if (of := _runs_of(runs, *place, policy))})
        title = f"{place[0]}, {place[1]}, {flops_text(place[2])} FLOPs: accuracy [95% of questions]"
        name = Column("policy", overflow="fold")  # cut short, policies would look alike
        table = Table(name, *(f"seed {seed}" for seed in seeds), title=title, title_justify="left")
        if len(behind) > 1:
            table.add_column("points from the best (95%)")
        for policy in policies:
            found = [by_key.get((*place, policy, seed)) for seed in seeds]
            told = ["" if row is None else outcome_text(row) for row in found]
            if len(behind) > 1:
                told.append(_behind_text(policy, behind))
            table.add_row(Text(policy), *map(Text, told))
        tables.append(table)
    return tables


def _runs_of(
    runs: Sequence[FinishedRun], corpus: str, student: str, total_flops: int, policy: str
) -> list[FinishedRun]:
    place = (corpus, student, total_flops, policy)
    return [run for run in runs if (run.corpus, run.student, run.summary.total, run.policy) == place]


def _behind_text(policy: str, behind: Mapping[str, Estimate | None]) -> str:
    if policy not in behind:
        return ""
    estimate = behind[policy]
    return "best" if estimate is None else points_text(estimate)


def cell_text(cell: Cell) -> str:
    """A cell in one line."""
    return f"{Path(cell.corpus).name} {cell.student} {flops_text(cell.total_flops)} {cell.policy} seed {cell.seed}"


def outcome_text(row: Row) -> str:
    """What a cell came to in a few words: accuracy on test where it was opened, on dev elsewhere; or why it failed."""
    if "error" in row:
        return f"failed: {row['error']}"
    split = "test" if "test" in row else "dev"
    overall = Scores.from_json(row[split], split).overall
    return f"{split} {accuracy_text(overall.accuracy, overall.ci95)}"


def spent_flops(folder: Path) -> int:
    """What a run's recorded stages have spent of its budget; 0 where there are none yet."""
    path = folder / STAGES
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    stages = [json.loads(line) for line in lines if line.endswith("\n")]
    return sum(
        charge["flops"] for stage in stages for charge in stage["charges"] if charge["purpose"] in BUDGET_PURPOSES
    )
