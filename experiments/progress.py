"""What a person watches while a run goes on, and the table at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from controller.ledger import Unit
from curricula.types import BUDGET_PURPOSES
from evaluators.accuracy import Score
from experiments.summary import (
    Summary,
    accuracy_text,
    amount_text,
    flops_text,
    part_text,
    read_summary,
    seconds_text,
    share_text,
    spend_text,
)

POLL_SECONDS = 0.5
BAR_CHARS = 12


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run at one moment.

    Example:
        Snapshot(stage_name="warm-up", mix={"answer": 1.0}, unit="flops", spent=1e12, total=4e12,
                 tokens_per_second=11_800.0, probe_accuracy=0.42, seconds_left=210.0, phase="training")
    """

    stage_name: str
    mix: Mapping[str, float]  # supervision -> share of the examples shown, in [0, 1]
    unit: Unit  # of the budget
    spent: float
    total: float
    tokens_per_second: float
    probe_accuracy: float | None  # the last probe's, answered freely
    seconds_left: float | None
    phase: str  # "starting", "training", "probing", "testing"


class ProgressLine:
    """One live line about a run while the block lasts; on no terminal, one plain line for every stage.

    A daemon thread asks `poll` twice a second and once more at the end. `poll` returns None while there is nothing to
    show. What it raises ends the display with a traceback and leaves the run alone.

    Example:
        with ProgressLine(lambda: shared.latest):
            run(...)
    """

    def __init__(self, poll: Callable[[], Snapshot | None], console: Console | None = None) -> None:
        """Show what `poll` returns on `console`, standard error where None."""
        self._poll = poll
        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._shown: Snapshot | None = None

    def __enter__(self) -> ProgressLine:
        if self._console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._live.stop()

    def _watch(self) -> None:
        last = False
        while not last:
            last = self._done.wait(POLL_SECONDS)
            snapshot = self._poll()
            if snapshot is not None:
                self._show(snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        if self._console.is_terminal:
            self._live.update(live_line(snapshot, self._console.width), refresh=True)
        elif starts_stage(self._shown, snapshot):
            self._console.print(Text(plain_line(snapshot)), soft_wrap=True)
        self._shown = snapshot


def starts_stage(before: Snapshot | None, now: Snapshot) -> bool:
    """Whether a stage began between two snapshots: another name, or training again after a probe."""
    trains_again = before is not None and now.phase == "training" and before.phase not in ("starting", "training")
    return before is None or before.stage_name != now.stage_name or trains_again


def plain_line(snapshot: Snapshot) -> str:
    """A snapshot as one line of text."""
    share = f"{_spent(snapshot):4.0%} of {amount_text(snapshot.total, snapshot.unit)}"
    return "  ".join([share, _stage(snapshot), _mix(snapshot), *_figures(snapshot)])


def live_line(snapshot: Snapshot, width_chars: int) -> Text:
    """A snapshot as one line with a bar; where it is too narrow the mix is cut first, then the stage's name."""
    done = round(BAR_CHARS * _spent(snapshot))
    figures = "  ".join([f" {_spent(snapshot):.0%}", *_figures(snapshot)])
    line = Text(_stage(snapshot), style="bold")
    line.append(f"  {_mix(snapshot)}", style="not bold")
    room_chars = width_chars - BAR_CHARS - len(figures) - 2
    if room_chars > 0:
        line.truncate(room_chars, overflow="ellipsis", pad=True)
    else:
        line = Text()
    bar = (
        ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" * done, "cyan"),
        ("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (BAR_CHARS - done), "dim"),
    )
    gap = "  " if line else ""
    whole = Text.assemble(line, gap, *bar, figures, no_wrap=True)
    whole.truncate(width_chars, overflow="ellipsis")
    return whole


def final_table(summary: Mapping[str, object]) -> Table:
    """What summary.json says of a run: spend by purpose above, accuracy overall and by task, kind and domain.

    Raises:
        ValueError: the summary is not of its form, or no split was scored.
    """
    run = read_summary(summary)
    if run.final is None:
        raise ValueError("the summary has scores neither of dev nor of test")
    split, scores = run.final
    spend = [f"{purpose} {flops_text(run.charges[purpose])}" for purpose in BUDGET_PURPOSES if run.charges.get(purpose)]
    spend += [f"{purpose} {flops_text(flops)} (recorded)" for purpose, flops in run.recorded.items() if flops]
    used = share_text(run.spent / run.total)
    header = f"{part_text(run.spent, run.total, run.unit)} spent ({used}); in FLOPs: "
    table = Table(
        title=Text(f"{run.title}\n{header}{', '.join(spend)}"),
        title_justify="left",
        caption=Text("\n".join(_notes(run))),
        caption_justify="left",
    )
    table.add_column(split)
    table.add_column("accuracy [95%]", justify="right", no_wrap=True)
    for name in ("n", "output tokens", "90%", "cut off", "no answer"):
        table.add_column(name, justify="right")
    for group in (scores.by_task, scores.by_kind, scores.by_domain):
        for name, score in group.items():
            table.add_row(*_cells(name, score))
        table.add_section()
    table.add_row(*_cells("overall", scores.overall), style="bold")
    return table


def _notes(run: Summary) -> list[str]:
    """What the table does not hold: the mix in both readings, and whether the classifier knew in advance."""
    notes = [f"{purpose}: {spend_text(spend)}" for purpose, spend in run.spent_by_purpose.items() if spend.flops]
    if run.final is not None and (ungraded := run.final[1].overall.ungraded):
        notes.append(f"{ungraded:,} answers could not be graded and are in no accuracy ({run.final[0]}.jsonl says why)")
    if made := sum(flops for purpose, flops in run.charges.items() if purpose not in BUDGET_PURPOSES):
        both = flops_text(run.spent_flops + made)
        notes.append(f"making the targets trained on took {flops_text(made)} FLOPs beside the budget; with them {both}")
    for unit, mix in (("examples", run.mix_by_examples), ("FLOPs", run.mix_by_flops)):
        if mix:
            notes.append(f"by {unit}: {', '.join(f'{name} {share_text(share)}' for name, share in mix.items())}")
    if run.difficulty is not None:
        auc = "undefined" if run.difficulty.auc is None else f"{run.difficulty.auc:.2f}"
        notes.append(
            f"difficulty classifier: AUC {auc} on {run.difficulty.n:,} later outcomes, "
            f"of which {share_text(run.difficulty.base_rate)} were solved"
        )
    return notes


def _cells(name: str, score: Score) -> list[RenderableType]:
    texts = [accuracy_text(score.accuracy, score.ci95), str(score.n), f"{score.mean_output_tokens:.1f}"]
    most = "" if score.p90_output_tokens is None else f"{score.p90_output_tokens:.0f}"
    unparsable = "" if score.unparsable is None else share_text(score.unparsable)
    return [Text(name), *texts, most, share_text(score.truncated), unparsable]


def _spent(snapshot: Snapshot) -> float:
    return min(1.0, snapshot.spent / snapshot.total)


def _stage(snapshot: Snapshot) -> str:
    return snapshot.stage_name if snapshot.phase == "training" else f"{snapshot.stage_name} ({snapshot.phase})"


def _mix(snapshot: Snapshot) -> str:
    parts = sorted(snapshot.mix.items(), key=lambda part: (-part[1], part[0]))
    return " ".join(f"{name} {share_text(share)}" for name, share in parts if share > 0)


def _figures(snapshot: Snapshot) -> list[str]:
    figures = [f"{snapshot.tokens_per_second:,.0f} tokens/s"]
    if snapshot.probe_accuracy is not None:
        figures.append(f"probe {snapshot.probe_accuracy:.0%}")
    if snapshot.seconds_left is not None:
        figures.append(f"{seconds_text(snapshot.seconds_left)} left")
    return figures
