"""Sides of a comparison, each in a process of its own, measured in turns: A B C, A B C, ...

A machine that others use is slower at one moment than at the next. Taking turns, every side gets its share of both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

SIDES = ("ours", "trl_default", "trl_grouped", "trl_bare", "bare_loop")
TINY = "tiny"
RowSet = Literal["similar", "mixed"]
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ROOT = Path(__file__).parent.parent.parent


class SideError(ValueError):
    """A side that ended without an answer: one line, with the last that it said."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """What the sides compute: the same for all."""

    student: str
    rows: RowSet
    corpus: Path  # saved
    cache_dir: Path
    max_tokens: int
    max_rows: int
    step_tokens: int
    micro_batch_tokens: int
    threads: int
    warmup_steps: int
    round_steps: int
    rounds: int
    half_billion: bool = False  # the student's tokenizer with 0.5 B random weights
    precision: Literal["fp32", "bf16"] = "fp32"
    side_by_side: bool = True  # all processes kept between rounds; else one at a time, warmed up for every round

    def flags(self) -> list[str]:
        """As the process of a side takes them."""
        names = ("student", "rows", "corpus", "cache_dir", "max_tokens", "max_rows", "step_tokens")
        names += ("micro_batch_tokens", "threads", "warmup_steps", "round_steps", "rounds", "precision")
        values = vars(self)
        flags = [part for name in names for part in (f"--{name}", str(values[name]))]
        return [*flags, "--half_billion"] if self.half_billion else flags

    @property
    def name(self) -> str:
        """Of the student, in the names of figures."""
        if self.student == TINY:
            return "tiny"
        size = "half_billion" if self.half_billion else "smollm"
        return f"gpu_{size}" if self.precision == "bf16" else size


@dataclass(frozen=True, kw_only=True)
class Round:
    """One side's round."""

    side: str
    steps: int
    seconds: float  # of the wall clock; ours with its share of planning the stage
    cpu_seconds: float  # of this process, all threads; what others do on the machine hardly shows in it
    tokens: int  # unpadded
    positions: int  # padding counted

    @property
    def tokens_per_second(self) -> float:
        """By the wall clock."""
        return self.tokens / self.seconds

    @property
    def tokens_per_cpu_second(self) -> float:
        """By the processor's clock."""
        return self.tokens / self.cpu_seconds


@dataclass(frozen=True, kw_only=True)
class Played:
    """A whole comparison."""

    match: Match
    rounds: tuple[Round, ...]
    told: Mapping[str, dict[str, object]]  # by side: rows, settings
    load_before: float
    load_after: float


class Process:
    """A process that answers in lines of JSON."""

    def __init__(self, module: str, flags: Sequence[str], *, threads: int) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._name = f"{module} {' '.join(flags[:4])}"
        # A pipe that nobody reads could fill up; `close` closes the file.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *flags],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def answer(self) -> dict[str, object]:
        """The next line.

        Raises:
            SideError: there is none.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        return json.loads(line)

    def answers(self) -> list[dict[str, object]]:
        """All lines until it ends.

        Raises:
            SideError: it failed.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise self._failure()
        return [json.loads(line) for line in output.splitlines()]

    def ask(self) -> dict[str, object]:
        """Send a line, and wait for the one that answers it."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """Ask for nothing more, and see it end."""
        if self._process.poll() is None:
            self._process.communicate()
        self._errors.close()

    def _failure(self) -> SideError:
        self._process.communicate()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        return SideError(f"{self._name} gave no figure: {said[-1] if said else 'it said nothing'}")


class SideProcess(Process):
    """A side that is warm and waits."""

    def __init__(self, side: str, match: Match) -> None:
        super().__init__("trainers.yardsticks.measure", ["--side", side, *match.flags()], threads=match.threads)
        self.side = side
        self.told = self.answer()
        self.answer()  # warm

    def round(self) -> Round:
        """One more round."""
        figures = self.ask()
        steps = int(str(figures["steps"]))
        planning_seconds = float(str(self.told["planning_step_seconds"])) * steps
        return Round(
            side=self.side,
            steps=steps,
            seconds=float(str(figures["seconds"])) + planning_seconds,
            cpu_seconds=float(str(figures["cpu_seconds"])) + planning_seconds,
            tokens=int(str(figures["tokens"])),
            positions=int(str(figures["positions"])),
        )


def play(match: Match, status: Callable[[str], None]) -> Played:
    """All rounds of a comparison."""
    load_before = os.getloadavg()[0]
    rounds: list[Round] = []
    told: dict[str, dict[str, object]] = {}
    kept: dict[str, SideProcess] = {}
    try:
        for turn in range(match.rounds):
            for side in SIDES:
                status(f"{match.student}, {match.rows}: round {turn + 1} of {match.rounds}, {side}")
                process = kept.get(side) or SideProcess(side, match)
                kept[side] = process
                told[side] = process.told
                rounds.append(process.round())
                if not match.side_by_side:
                    kept.pop(side).close()
    finally:
        for process in kept.values():
            process.close()
    return Played(match=match, rounds=tuple(rounds), told=told, load_before=load_before, load_after=os.getloadavg()[0])
