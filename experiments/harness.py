"""A finished run's student through lm-evaluation-harness; results go to summary.json, under `harness`.

python -m experiments.harness runs/first --tasks arc_easy,gsm8k
python -m experiments.harness runs/first --tasks mine --include_path my_tasks --limit 200

Needs the extra: pip install -e '.[lm-eval]'. Tasks are fetched by the harness. A task that was evaluated before is
evaluated again, and its result replaced. A resume of the run keeps the results if it ends with the same student.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from controller.config import Json
from controller.files import take_lock, write_whole
from controller.record import HARNESS, LOCK, STATE_DIGEST, SUMMARY, read_run
from evaluators.harness import HarnessTask, evaluate_with_harness, require_harness
from experiments.command_line import EXIT_INTERRUPTED, CommandLine, HelpFormatter, fail, one_line


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags."""

    tasks: str  # names of tasks or groups of the harness, commas between
    include_path: Path | None = None  # a folder with tasks of your own, in YAML
    num_fewshot: int | None = None  # worked examples before each question; each task's own number where not given
    limit: int | None = None  # questions of each task; all where not given


def add_results(run_dir: Path, options: Options) -> dict[str, HarnessTask]:
    """Evaluate a run's student and put the results into its summary.json.

    Raises:
        ValueError: the extra is not installed, the folder holds no finished run or is in use, or there is no such task.
    """
    require_harness()
    record = read_run(run_dir)
    if record.summary is None or not (run_dir / "student").is_dir():
        raise ValueError(f"{run_dir} holds no finished run; go on with it first")
    results = evaluate_with_harness(
        run_dir / "student",
        [name.strip() for name in options.tasks.split(",") if name.strip()],
        threads=int(str(record.config["threads"])),
        include_path=options.include_path,
        num_fewshot=options.num_fewshot,
        limit=options.limit,
    )
    merge_results(run_dir, results, state_digest=record.summary.get(STATE_DIGEST))
    return results


def merge_results(run_dir: Path, results: Mapping[str, HarnessTask], *, state_digest: Json) -> None:
    """Put results into summary.json, beside those of other tasks.

    Args:
        state_digest: of the student they are of, as summary.json told it before.

    Raises:
        ValueError: the folder is in use, or its run has ended with another student since.
    """
    with take_lock(run_dir / LOCK):
        summary = json.loads((run_dir / SUMMARY).read_text(encoding="utf-8"))
        if summary.get(STATE_DIGEST) != state_digest:
            raise ValueError(f"the student of {run_dir} is another than was evaluated; evaluate it again")
        new = {name: dataclasses.asdict(result) for name, result in results.items()}
        summary[HARNESS] = {**(summary.get(HARNESS) or {}), **new}
        write_whole(run_dir / SUMMARY, json.dumps(summary, indent=1))


def _table(results: dict[str, HarnessTask]) -> Table:
    table = Table()
    for heading in ("task", "version", "metric", "value", "standard error", "n"):
        table.add_column(heading)
    for name, result in results.items():
        for metric, value in result.metrics.items():
            error = result.standard_errors.get(metric)
            n = "" if result.n is None else str(result.n)
            table.add_row(name, result.task_version, metric, f"{value:.4g}", "" if error is None else f"{error:.2g}", n)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = CommandLine(
        prog="python -m experiments.harness",
        usage="%(prog)s RUN_DIR --tasks NAME,NAME [--field value]",
        description=__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", type=Path, help="a finished run's folder")
    parser.add_class_arguments(Options, None)
    parser.describe(Options)
    built = parser.instantiate(parser.read(arguments))
    options = Options(**{field.name: built[field.name] for field in dataclasses.fields(Options)})
    try:
        results = add_results(built["run_dir"], options)
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (ValueError, OSError) as error:
        fail(one_line(str(error), ()))
    Console().print(_table(results))
    print(f"results: {built['run_dir'] / SUMMARY}")


if __name__ == "__main__":
    main()
