"""Rounds of steps, timed one at a time on request: sides that take turns share a machine's good and bad moments.

    driver --a line--> stdin of one side --so many steps--> a line of JSON on its stdout --> driver

A side trains on and on. Between two rounds it stands still inside its loop, with everything warm, until it is asked
for the next; what a trainer does before its first step and after its last is no part of a round.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class EndOfRoundsError(Exception):
    """Nobody asks for another round: the way out of a training loop that would go on."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """What has been computed since the beginning."""

    tokens: int  # unpadded
    positions: int  # padding counted


class Lines:
    """Requests on standard input, answers on what was standard output; all else that is printed goes to the errors."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        """Use `Lines.of_this_process` outside of tests."""
        self._requests, self._answers = requests, answers

    @classmethod
    def of_this_process(cls) -> Lines:
        """Take standard output away from the libraries, which print their logs to it."""
        answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        return cls(sys.stdin, answers)

    def tell(self, **values: object) -> None:
        """One line of JSON."""
        self._answers.write(json.dumps(values) + "\n")
        self._answers.flush()

    def wait(self) -> None:
        """Until a line comes.

        Raises:
            EndOfRoundsError: none will.
        """
        if not self._requests.readline():
            raise EndOfRoundsError


class RoundClock:
    """Counts steps: first those that warm up, then round after round."""

    def __init__(self, lines: Lines, *, warmup_steps: int, round_steps: int, counted: Callable[[int], Count]) -> None:
        """`counted` says what the first so many steps computed."""
        self._lines, self._round_steps, self._counted = lines, round_steps, counted
        self._done, self._until = 0, warmup_steps
        self._began: tuple[float, float, Count] | None = None

    def step_done(self) -> None:
        """Tell that one more step was taken; at the end of a round this answers, and waits for the next request.

        Raises:
            EndOfRoundsError: none will come.
        """
        self._done += 1
        if self._done < self._until:
            return
        _synchronize()
        if self._began is not None:
            wall, cpu, before = self._began
            now = self._counted(self._done)
            self._lines.tell(
                steps=self._round_steps,
                seconds=time.monotonic() - wall,
                cpu_seconds=time.process_time() - cpu,
                tokens=now.tokens - before.tokens,
                positions=now.positions - before.positions,
            )
        else:
            self._lines.tell(ready=True)
        self._lines.wait()
        self._until = self._done + self._round_steps
        self._began = time.monotonic(), time.process_time(), self._counted(self._done)


class ClockCallback(TrainerCallback):
    """Tells a clock of the steps that a transformers Trainer takes."""

    def __init__(self, step_done: Callable[[], None]) -> None:
        self.step_done = step_done

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """After the optimizer's step."""
        self.step_done()


def _synchronize() -> None:
    """On a GPU, else the clock would read when work was asked for, not done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
