"""Many runs side by side: every policy on every corpus, student, budget and seed, each a run folder.

python -m experiments.compare --config experiments/presets/procedural.yaml --output_dir runs/procedural
python -m experiments.compare --policies "Adaptive, Fixed(supervision=compressed)" --seeds 0,1,2 --output_dir runs/two

The cells share the machine's cores and never take more of them than there are. What is done is not run again: the same
command goes on after Ctrl-C or a crash, and a larger grid adds its cells. OUTPUT_DIR/compare.json holds a row for each
cell as it comes (docs/compare.md). A cell that fails is a row too, is tried again by the next command, and makes this
one end with status 1.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

import curricula.policies  # noqa: F401 makes them known by class name
from controller.config import RunConfig, Where
from curricula.policies import Adaptive
from experiments.command_line import EXIT_INTERRUPTED, CommandLine, HelpFormatter, fail, one_line
from experiments.comparison.grid import AXES, OTHER_BUDGETS, Cell, Grid, grid_cells
from experiments.comparison.progress import final_tables
from experiments.comparison.record import COMPARISON, read_rows
from experiments.comparison.running import run_comparison
from experiments.findings.reading import read_runs

EXIT_FAILED_CELLS = 1


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What the flags said."""

    cells: dict[Cell, RunConfig]
    settings: RunConfig  # the fields that all cells share
    where: Where


def command_line() -> CommandLine:
    """The flags of this command: the grid's, the fields of RunConfig that cells share, and those of Where."""
    parser = CommandLine(
        prog="python -m experiments.compare",
        usage='%(prog)s [--config file.yaml] [--field value] --policies "NAME, NAME(field=value)"',
        description=__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of these fields; flags override it")
    parser.add_class_arguments(Grid, None)
    parser.add_class_arguments(RunConfig, None, skip={*AXES, *OTHER_BUDGETS})
    parser.add_class_arguments(Where, None)
    for kind in (Grid, RunConfig, Where):
        parser.describe(kind)
    return parser


def parse(arguments: Sequence[str] | None = None) -> Invocation:
    """Read the flags.

    Raises:
        ValueError: a policy cannot be made, or a value is refused.
    """
    parser = command_line()
    built = parser.instantiate(parser.read(arguments))
    grid, settings, where = (
        {field.name: built[field.name] for field in dataclasses.fields(kind) if field.name in built}
        for kind in (Grid, RunConfig, Where)
    )
    shared = RunConfig(policy=Adaptive(), **settings)  # its policy is none of the grid's
    return Invocation(cells=grid_cells(Grid(**grid), shared), settings=shared, where=Where(**where))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    console = Console()
    try:
        invocation = parse(arguments)
        failed = run_comparison(invocation.cells, invocation.settings, invocation.where, console)
        rows = read_rows(invocation.where.output_dir)
        done = any("error" not in row for row in rows)
        runs = read_runs([invocation.where.output_dir]).runs if done else ()
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (ValueError, OSError) as error:
        fail(one_line(str(error), ()))
    for table in final_tables(list(invocation.cells), rows, runs):
        console.print(table)
    console.print(f"rows: {invocation.where.output_dir / COMPARISON}", soft_wrap=True)
    if failed:
        print(
            f"{len(failed)} of {len(invocation.cells)} cells failed; the same command tries them again", file=sys.stderr
        )
        sys.exit(EXIT_FAILED_CELLS)


if __name__ == "__main__":
    main()
