r"""Mathematical answers compared in a process of its own, which may hang or be killed without harm.

Math-verify's own deadline needs the main thread of its process, and sympy can compute for ever, or until memory is
full, on an answer such as 9^{9^{9^9}}. So a process is started when the first comparison needs one, kept, and replaced
when a comparison takes too long or too much.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import weakref
from collections import OrderedDict
from pathlib import Path

from evaluators.mathematics.expressions import Judgement

MAX_CHARS = 1000  # of an answer that is compared at all
MEMORY_BYTES = 1 << 30  # address space of the process
LEAST_MEMORY_BYTES = 1 << 28
CACHED_PAIRS = 4096
_START_SECONDS = 60.0
_WALL_SECONDS_PER_CPU_SECOND = 4.0  # on a busy machine, a comparison may take this many times its processor time
_ROOT = Path(__file__).resolve().parents[2]
_MATHEMATICAL = re.compile(
    r"[\\^_=<>\u00b0\u00b1\u00b2\u00b3\u00bc-\u00be\u00d7\u00f7\u03c0\u2212\u221a\u221e\u2264\u2265\u222a]"  # signs
    r"|[\w)\]}!][ ]*[*/+][ ]*[\w(\[{]|(?<![^\W\d_])[\w)][ ]*-[ ]*[\w(]"  # operators between operands
    r"|\d[^\W\d_]|\d[ ]*[(!]|\)[ ]*\(|\d[ ]+\d"  # products, mixed numbers
    r"|\d[ ]*,(?!\d{3}(?!\d))|[(\[{][ ]*-?[\w.]+[ ]*[,)\]}]"  # lists
    r"|^[^\W\d_]$|^(?:pi|infinity)$|(?:sqrt|sin|cos|tan|log|ln|exp|pi)\b"
)


def looks_mathematical(text: str) -> bool:
    """Whether a text has signs of mathematics beyond a plain number; at most its first characters are looked at."""
    return _MATHEMATICAL.search(text[:MAX_CHARS]) is not None


class Mathematics:
    """Compares mathematical answers within bounds of time and memory. It may be made where it is never used.

    Example:
        >>> with Mathematics() as mathematics:
        ...     mathematics.compare(r"\\frac{1}{2}", "0.5")
        'same'
    """

    def __init__(self, *, deadline_seconds: float = 5.0, memory_bytes: int = MEMORY_BYTES) -> None:
        """Bounds of one comparison: processor seconds, and the address space of the process that makes it.

        Raises:
            ValueError: the deadline is not positive, or the memory is less than the process takes by itself.
        """
        if not 0.0 < deadline_seconds < float("inf"):
            raise ValueError(f"the deadline of a comparison must be positive, got {deadline_seconds} s")
        if memory_bytes < LEAST_MEMORY_BYTES:
            raise ValueError(f"mathematics takes {LEAST_MEMORY_BYTES} bytes of memory at least, got {memory_bytes}")
        self.deadline_seconds = deadline_seconds
        self.memory_bytes = memory_bytes
        self.started = 0  # processes so far: 1, and one more after every comparison that went out of bounds
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: weakref.finalize[[subprocess.Popen[bytes]], Mathematics] | None = None
        self._judged: OrderedDict[tuple[str, str], Judgement] = OrderedDict()

    def __enter__(self) -> Mathematics:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def compare(self, answer: str, given: str) -> Judgement:
        """Whether `given` means what `answer` means; undecided where it is not sure, too long, or out of bounds.

        Raises:
            OSError: the process cannot be started; the message says why.
        """
        if len(answer) > MAX_CHARS or len(given) > MAX_CHARS:
            return "undecided"
        pair = (answer, given)
        judged = self._judged.pop(pair, None) or self._asked(answer, given)
        self._judged[pair] = judged  # the latest last
        if len(self._judged) > CACHED_PAIRS:
            self._judged.popitem(last=False)
        return judged

    def close(self) -> None:
        """End the process, if there is one. The next comparison starts another."""
        if self._ended is not None:
            self._ended()
        self._process = None

    def _asked(self, answer: str, given: str, *, again: bool = True) -> Judgement:
        process = self._process or self._start()
        question = json.dumps([answer, given]).encode() + b"\n"
        assert process.stdin is not None
        reply: str | None = ""
        with contextlib.suppress(BrokenPipeError):  # of a process that was killed while it waited
            process.stdin.write(question)
            process.stdin.flush()
            reply = _line(process, self.deadline_seconds * _WALL_SECONDS_PER_CPU_SECOND)
        match reply:
            case "same" | "different" | "undecided":
                return reply
            case None:
                killed = False
            case _:  # it ended: at its deadline, out of memory, or killed by someone, as it waited or as it computed
                killed = process.wait() == -signal.SIGKILL
        self.close()
        return self._asked(answer, given, again=False) if killed and again else "undecided"

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        bounds = (self.memory_bytes, self.deadline_seconds)
        process = subprocess.Popen(
            # -P: a folder called evaluators where the command was given must not come first
            [sys.executable, "-P", "-m", "evaluators.mathematics.process", *map(str, bounds)],
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
            raise OSError(f"the process that compares mathematics did not start; it said: {said[-1]}")
        self.started += 1
        self._process = process
        return process


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
