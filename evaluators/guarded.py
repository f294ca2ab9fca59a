"""Questions answered in a process of its own, which may hang, run out of memory or be killed without harm.

    Guarded.ask --JSON line--> python -m MODULE CPU_SECONDS WALL_SECONDS MEMORY_BYTES ...: serve(answer) --JSON line-->

A process is started when the first question needs one, kept, and replaced after a question that went out of bounds.
The kernel ends it when a question takes too long: so it stops also where its parent was killed meanwhile, or where
Python waits in a single operation.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_START_SECONDS = 60.0
_SHOWN_CHARS = 200
_GRACE_SECONDS = 1.0  # by which the process ends itself later than it is ended from outside
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of one question.

    Example:
        Reply(value="same", fault="", stopped=False)
        Reply(value=None, fault="ValueError: no number in it", stopped=False)
    """

    value: str | None  # None where there is a fault
    fault: str  # what was raised, or how it was stopped, in one line; "" where there is a value
    stopped: bool  # out of bounds of time or memory, or ended


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one question may take, and with `memory_bytes` the whole process."""

    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int | None = None  # address space; no bound where None


class Guarded:
    """A process that answers questions within bounds. It may be made where it is never used."""

    def __init__(self, module: str, arguments: tuple[str, ...] = (), *, bounds: Bounds, what: str) -> None:
        """Say what to run: a module whose main calls `serve`, with more arguments; `what` names it in messages."""
        self.started = 0  # processes so far: 1, and one more after every question that went out of bounds
        self._module, self._arguments = module, arguments
        self._bounds, self._what = bounds, what
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: weakref.finalize[[subprocess.Popen[bytes]], Guarded] | None = None

    def ask(self, *question: str) -> Reply:
        """One question answered.

        Raises:
            OSError: the process cannot be started; the message says why.
        """
        return self._asked(json.dumps(question).encode() + b"\n", again=True)

    def start(self) -> None:
        """Start the process now, so that it is known that it can be.

        Raises:
            OSError: it cannot; the message says why.
        """
        if self._process is None:
            self._start()

    def close(self) -> None:
        """End the process, if there is one. The next question starts another."""
        if self._ended is not None:
            self._ended()
        self._process = None

    def _asked(self, question: bytes, *, again: bool) -> Reply:
        process = self._process or self._start()
        assert process.stdin is not None
        line: str | None = ""
        with contextlib.suppress(BrokenPipeError):  # of a process that was killed while it waited
            process.stdin.write(question)
            process.stdin.flush()
            line = _line(process, self._bounds.wall_seconds)
        if line:
            value, fault = json.loads(line)
            return Reply(value=value, fault=fault, stopped=False)
        code = None if line is None else process.wait()  # an end: at a bound, by itself, or killed by someone
        self.close()
        if code == -signal.SIGKILL and again:
            return self._asked(question, again=False)
        late = code in (None, -signal.SIGPROF, -signal.SIGALRM)
        bounds = f"{self._bounds.cpu_seconds:g} s of processor time or {self._bounds.wall_seconds:g} s"
        fault = f"stopped after {bounds}" if late else f"its process ended with code {code}"
        return Reply(value=None, fault=fault, stopped=True)

    def _start(self) -> subprocess.Popen[bytes]:
        # What this process can import, that one can; sys.path comes last, where PYTHONPATH mostly stands in it.
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH"), *sys.path])]
        bounds = (self._bounds.cpu_seconds, self._bounds.wall_seconds + _GRACE_SECONDS, self._bounds.memory_bytes or 0)
        process = subprocess.Popen(
            # -P: a folder called evaluators where the command was given must not come first
            [sys.executable, "-P", "-m", self._module, *map(str, bounds), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        self._ended = weakref.finalize(self, _end, process)
        if _line(process, _START_SECONDS) != "ready":
            process.kill()
            assert process.stderr is not None
            said = process.stderr.read().decode(errors="replace").strip().splitlines() or ["nothing"]
            self.close()
            raise OSError(f"{self._what} did not start; it said: {said[-1]}")
        self.started += 1
        self._process = process
        return process


def serve(load: Callable[[], Callable[..., str]]) -> None:
    """Be the process: answer every line of the input with what the loaded function says of it, until the input ends.

    What the function prints goes nowhere, and it has no input. What it raises is told as the question's fault.
    """
    cpu_seconds, wall_seconds, memory_bytes = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    questions = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdin, sys.stdout):
        os.dup2(nowhere, stream.fileno())
    answer = load()  # an error here is a traceback, whose last line the parent shows
    print("ready", file=replies, flush=True)
    os.dup2(nowhere, sys.stderr.fileno())
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    for line in questions:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, wall_seconds)
        caught, value = _Caught(), None
        with caught:
            value = answer(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if isinstance(caught.error, MemoryError):
            return  # without a reply: what is left may not be sound, and a fresh process takes the next
        reply = [value, "" if caught.error is None else _told(caught.error)]
        print(json.dumps(reply), file=replies, flush=True)


class _Caught:
    """Holds what its block raises, to be told: what is loaded from elsewhere raises whatever it likes, exits too."""

    error: BaseException | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


def _told(raised: BaseException) -> str:
    return " ".join(f"{type(raised).__name__}: {raised}".split())[:_SHOWN_CHARS]


def _line(process: subprocess.Popen[bytes], wall_seconds: float) -> str | None:
    """One line from a process; "" where it ended instead, None where the time is over."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    limit = time.monotonic() + wall_seconds
    received = b""
    while not received.endswith(b"\n"):
        left = limit - time.monotonic()
        if left <= 0:
            return None
        if poller.poll(1000 * left):
            some = os.read(descriptor, 4096)
            if not some:
                return ""
            received += some
    return received.decode("ascii", errors="replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and leave nothing of it behind."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        with contextlib.suppress(BrokenPipeError):  # of a question it never read
            stream.close()
