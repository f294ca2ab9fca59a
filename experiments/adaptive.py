"""One run under one budget.

python -m experiments.adaptive                                      the embedded default, minutes on a laptop
python -m experiments.adaptive --policy Fixed --policy.supervision answer
python -m experiments.adaptive --student model.gguf --corpus path/to/gsm8k --total_flops 1e14
python -m experiments.adaptive --policy mypackage.mymodule.MyPolicy --policy.patience 2
python -m experiments.adaptive --config runs/x/config.yaml --output_dir runs/x --resume true
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

import curricula.policies  # noqa: F401 makes them known by class name
from controller.config import RunConfig, Where
from controller.ledger import Budget, OverspentError, Spend
from controller.record import CONFIG
from controller.session import open_session, spend
from controller.students import Doing
from controller.summary import conclude
from experiments.command_line import EXIT_INTERRUPTED, CommandLine, HelpFormatter, check_names, fail
from experiments.pricing import print_prices
from experiments.progress import ProgressLine, Snapshot, final_table
from experiments.report import write_report
from trainers.jobs import StageProgress, WorkerLostError
from trainers.schedule import Schedule

DEFAULT_POLICY = "curricula.policies.Adaptive"


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What the flags said."""

    config: RunConfig
    where: Where
    resume: bool
    dry_run: bool


def command_line() -> CommandLine:
    """The flags of this command: the fields of RunConfig and Where."""
    parser = CommandLine(
        prog="python -m experiments.adaptive",
        usage="%(prog)s [--config file.yaml] [--field value] [--policy NAME --policy.field value]",
        description=__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of these fields; flags override it")
    parser.add_class_arguments(RunConfig, None)
    parser.add_class_arguments(Where, None)
    parser.describe(RunConfig)
    parser.describe(Schedule, "schedule.")
    parser.describe(Where)
    parser.add_argument("--resume", type=bool, default=False, help="go on with the run in output_dir")
    parser.add_argument("--dry_run", type=bool, default=False, help="print what the budget buys, and stop")
    fresh = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    parser.set_defaults({"output_dir": str(fresh)})
    return parser


def parse(arguments: list[str] | None = None) -> Invocation:
    """Read the flags; ends the process with one line where they are wrong."""
    parser = command_line()
    options = parser.read(arguments, default_policy=DEFAULT_POLICY)
    try:
        built = parser.instantiate(options)
    except ValueError as error:
        fail(str(error))
    config, where = (
        {field.name: built[field.name] for field in dataclasses.fields(kind)} for kind in (RunConfig, Where)
    )
    try:
        return Invocation(
            config=RunConfig(**config), where=Where(**where), resume=built["resume"], dry_run=built["dry_run"]
        )
    except ValueError as error:
        fail(str(error))


class Watch:
    """What the progress line shows: asked of the crew, never told."""

    def __init__(self, doing: Doing) -> None:
        self.doing = doing
        self.ask: Callable[[], StageProgress | None] | None = None  # how far the running stage is; None: no run yet
        self.started: float | None = None  # what was spent when it was first asked, in the budget's unit
        self.began = time.monotonic()
        self.spent = 0.0  # as last known: what a probe costs is known when the next stage begins
        self.tokens_per_second = 0.0  # as last measured: a stage has no speed of its own at first

    def __call__(self) -> Snapshot | None:
        """The run at this moment."""
        doing, ask, budget = self.doing, self.ask, self.doing.budget
        if ask is None or budget is None or not doing.stage:
            return None
        progress = None
        if doing.phase == "training":
            before, progress = doing.spent, ask()
            self.spent = before + _done(progress, budget) if progress else max(self.spent, before)
        spent = self.spent
        if self.started is None:
            self.started, self.began = spent, time.monotonic()
        seconds = time.monotonic() - self.began
        speed = (spent - self.started) / seconds if seconds > 1 and doing.phase != "testing" else 0.0
        if progress and progress.tokens and (stage_seconds := time.monotonic() - progress.started) > 0:
            self.tokens_per_second = progress.tokens / stage_seconds
        return Snapshot(
            stage_name=doing.stage,
            mix=doing.mix or {},
            unit=budget.unit,
            spent=spent,
            total=budget.total,
            tokens_per_second=self.tokens_per_second,
            probe_accuracy=doing.probe_accuracy,
            seconds_left=max(0.0, budget.total - spent) / speed if speed > 0 else None,
            phase=doing.phase,
        )


def _done(progress: StageProgress, budget: Budget) -> float:
    """What the running stage has spent, in the budget's unit."""
    seconds = time.monotonic() - progress.started
    dollars = seconds * budget.dollars_per_second
    return Spend(flops=progress.flops, tokens=progress.tokens, seconds=seconds, dollars=dollars).of(budget.unit)


def carry_out(invocation: Invocation, console: Console) -> None:
    """Run, show, sum up."""
    started = time.monotonic()
    doing = Doing()
    watch = Watch(doing)
    with (
        ProgressLine(watch),
        open_session(invocation.config, invocation.where, resume=invocation.resume, doing=doing) as session,
    ):
        watch.ask = session.crew.progress
        try:
            summary = conclude(session, spend(session), started=started)
        finally:
            watch.ask = None
        report = write_report(session.folder.folder)
    console.print(final_table(summary))
    console.print(f"report: {report}")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    invocation = parse(arguments)
    console = Console()
    where = invocation.where
    try:
        check_names(invocation.config)
        if invocation.dry_run:
            print_prices(invocation.config, where, console)
        else:
            carry_out(invocation, console)
    except KeyboardInterrupt:
        print(f"stopped; {_hint(invocation) or 'nothing was done yet'}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (WorkerLostError, OverspentError, OSError) as error:  # an OSError: a full disk, most often
        hint = _hint(invocation)
        fail(f"{error}; {hint}" if hint else str(error))
    except ValueError as error:
        fail(str(error))


def _hint(invocation: Invocation) -> str:
    """How to go on with what was done; nothing where no run was begun."""
    begun = not invocation.dry_run and (invocation.where.output_dir / CONFIG).exists()
    return f"go on with: {resume_command(invocation.where)}" if begun else ""


def resume_command(where: Where) -> str:
    """How to go on with a run, in the same place."""
    path = str(where.output_dir)
    flags = ["--config", f"{path}/{CONFIG}", "--output_dir", path, "--resume", "true"]
    usual = Where(output_dir=where.output_dir)
    if where.num_workers != usual.num_workers:
        flags += ["--num_workers", str(where.num_workers)]
    if where.cache_dir != usual.cache_dir:
        flags += ["--cache_dir", str(where.cache_dir)]
    if where.ray_address is not None:
        flags += ["--ray_address", where.ray_address]
    return f"python -m experiments.adaptive {shlex.join(flags)}"


if __name__ == "__main__":
    main()
