"""What the progress line is told: spending never runs back, and no time is promised where none is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.ledger import Budget, Unit
from controller.students import Doing
from experiments import adaptive
from experiments.adaptive import Watch
from experiments.progress import Snapshot
from trainers.jobs import StageProgress

BUDGET = Budget(unit="flops", total=1000)


class Clock:
    """A clock that moves ten seconds each time a snapshot is taken."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(adaptive, "time", clock)
    yield clock


def _look(watch: Watch, clock: Clock) -> Snapshot:
    clock.now += 10.0
    snapshot = watch()
    assert snapshot is not None
    return snapshot


def test_spending_never_runs_back_and_the_time_left_follows_its_speed(clock: Clock) -> None:
    doing = Doing(budget=BUDGET)
    watch = Watch(doing)
    assert watch() is None
    progress = StageProgress(started=clock.now)
    watch.ask = lambda: progress
    assert watch() is None
    doing.phase, doing.stage = "training", "first"
    looks = [_look(watch, clock)]
    assert looks[-1].seconds_left is None
    progress.flops, progress.tokens = 200, 5000
    looks.append(_look(watch, clock))
    assert looks[-1].tokens_per_second == 5000 / 20
    assert looks[-1].seconds_left == pytest.approx(40)  # 200 in 10 seconds, 800 to go
    doing.phase = "probing"
    looks.append(_look(watch, clock))
    progress = StageProgress(started=clock.now)
    doing.phase, doing.stage, doing.spent = "training", "second", 250
    looks.append(_look(watch, clock))
    assert looks[-1].tokens_per_second == looks[-2].tokens_per_second
    progress.flops = 740
    looks.append(_look(watch, clock))
    doing.phase = "testing"
    looks.append(_look(watch, clock))
    spent = [look.spent for look in looks]
    assert spent == [0, 200, 200, 250, 990, 990]
    assert looks[-1].seconds_left is None
    assert [look.phase for look in looks] == ["training", "training", "probing", "training", "training", "testing"]


def test_a_resumed_run_counts_its_own_spending_alone(clock: Clock) -> None:
    doing = Doing(budget=BUDGET, phase="training", stage="fifth", spent=500)
    watch = Watch(doing)
    progress = StageProgress(started=clock.now)
    watch.ask = lambda: progress
    _look(watch, clock)
    progress.flops = 100
    assert _look(watch, clock).seconds_left == pytest.approx(40)


def test_a_crew_that_cannot_say_leaves_what_was_known(clock: Clock) -> None:
    watch = Watch(Doing(budget=BUDGET, phase="training", stage="x", spent=300))
    watch.ask = lambda: None
    assert _look(watch, clock).spent == 300
    watch.ask = lambda: StageProgress(flops=100)
    assert _look(watch, clock).spent == 400
    watch.ask = lambda: None
    assert _look(watch, clock).spent == 400


@pytest.mark.parametrize(("unit", "spent"), [("tokens", 140), ("seconds", 60), ("dollars", 43)])
def test_a_budget_is_shown_in_its_own_unit(unit: Unit, spent: float, clock: Clock) -> None:
    budget = Budget(unit=unit, total=1000, dollars_per_second=0.15)
    watch = Watch(Doing(budget=budget, phase="training", stage="x", spent=40))
    watch.ask = lambda: StageProgress(flops=7, tokens=100, started=clock.now - 20.0)
    snapshot = _look(watch, clock)
    assert (snapshot.unit, snapshot.spent, snapshot.total) == (unit, pytest.approx(spent), 1000)
