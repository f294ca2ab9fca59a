"""Ends a stage by the clock: a step that would pass its time is not begun."""

from __future__ import annotations

from collections.abc import Callable

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers.batches import Step
from trainers.jobs import Allowance


class Deadline(TrainerCallback):
    """Stops transformers' loop in time, by its own mechanism; without an allowance in seconds it stops nothing.

    What the next step takes is expected from its FLOPs at the slowest speed of any step of the stage so far, and what
    the checkpoint takes from the longest of those before.
    """

    steps: tuple[Step, ...] = ()  # of the stage in hand

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` tells seconds; only differences count."""
        self._clock = clock
        self._allowance: Allowance | None = None
        self._began = self._step_began = self._steps_ended = 0.0
        self._saving_seconds = 0.0
        self._seconds_per_flop = 0.0

    def begin(self, allowance: Allowance | None) -> None:
        """Start the time of a stage: all that a worker does for it counts."""
        self._allowance = allowance if allowance is not None and allowance.unit == "seconds" else None
        self._began = self._clock()
        if self._allowance is not None:
            self._seconds_per_flop = 1.0 / self._allowance.flops_per_second

    def end(self) -> None:
        """The checkpoint is saved."""
        self._saving_seconds = max(self._saving_seconds, self._clock() - self._steps_ended)

    def has_time_for(self, flops: int) -> bool:
        """Whether a step of that price and the checkpoint after it are expected to be done in time."""
        if self._allowance is None:
            return True
        expected_seconds = flops * self._seconds_per_flop + self._saving_seconds
        return self._clock() - self._began + expected_seconds <= self._allowance.ceiling

    def spent_share(self) -> float:
        """Share of the budget in seconds that is spent by now, at most 1."""
        assert self._allowance is not None
        return min(1.0, (self._allowance.spent + self._clock() - self._began) / self._allowance.total)

    def begin_step(self) -> None:
        """Start the time of a step."""
        self._step_began = self._clock()

    def end_step(self, flops: int) -> None:
        """A step of that price is done."""
        self._steps_ended = self._clock()
        self._seconds_per_flop = max(self._seconds_per_flop, (self._steps_ended - self._step_began) / flops)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Before a step's first forward pass."""
        self.begin_step()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """After the optimizer's step."""
        done = state.global_step
        self.end_step(self.steps[done - 1].flops)
        if done < len(self.steps) and not self.has_time_for(self.steps[done].flops):
            control.should_training_stop = True
