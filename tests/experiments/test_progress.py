"""The line a person watches, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from experiments.progress import ProgressLine, Snapshot, live_line, plain_line, starts_stage


def make_snapshot(stage: str, phase: str = "training") -> Snapshot:
    return Snapshot(
        stage_name=stage,
        mix={"answer": 0.25, "compressed": 0.75},
        unit="flops",
        spent=5e8,
        total=1e9,
        tokens_per_second=12_000.0,
        probe_accuracy=0.5,
        seconds_left=61.0,
        phase=phase,
    )


def test_without_a_terminal_every_stage_is_one_plain_line() -> None:
    console = Console(file=io.StringIO(), width=60, record=True)
    snapshot = make_snapshot("warm [bold]up")
    with ProgressLine(lambda: snapshot, console):
        pass
    assert console.export_text() == plain_line(snapshot) + "\n"


@pytest.mark.parametrize("width_chars", [20, 60, 80, 200])
def test_the_live_line_fits_and_keeps_its_figures(width_chars: int) -> None:
    line = live_line(make_snapshot("a stage with a rather long name " * 3), width_chars).plain
    assert len(line) <= width_chars
    if width_chars >= 80:
        assert line.endswith("50%  12,000 tokens/s  probe 50%  1 min 1 s left")


def test_on_a_terminal_the_line__leaves_nothing_behind() -> None:
    file = io.StringIO()
    with ProgressLine(lambda: make_snapshot("warm-up"), Console(file=file, width=100, force_terminal=True)):
        pass
    assert "warm-up" in file.getvalue()
    assert "50%" in file.getvalue()


def test_a_stage_starts_with_a_name_or_with_training_after_a_probe() -> None:
    training, probing = make_snapshot("a"), make_snapshot("a", "probing")
    assert starts_stage(None, training)
    assert starts_stage(training, make_snapshot("b"))
    assert starts_stage(probing, training)
    assert not starts_stage(training, probing)
    assert not starts_stage(make_snapshot("a", "starting"), training)
