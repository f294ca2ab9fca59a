r"""Mathematical answers compared in a process of its own, which may hang or be killed without harm.

Math-verify's own deadline needs the main thread of its process, and sympy can compute for ever, or until memory is
full, on an answer such as 9^{9^{9^9}}. So it is asked through evaluators.guarded.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Literal

from evaluators.guarded import Bounds, Guarded
from evaluators.mathematics.expressions import Judgement

Comparison = Judgement | Literal["stopped"]
"""A judgement, or that the comparison went out of its bounds of time or memory."""

MAX_CHARS = 1000  # of an answer that is compared at all
MEMORY_BYTES = 1 << 30  # address space of the process
LEAST_MEMORY_BYTES = 1 << 28
CACHED_PAIRS = 4096
_WALL_SECONDS_PER_CPU_SECOND = 4.0  # on a busy machine, a comparison may take this many times its processor time
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
        bounds = Bounds(
            cpu_seconds=deadline_seconds,
            wall_seconds=deadline_seconds * _WALL_SECONDS_PER_CPU_SECOND,
            memory_bytes=memory_bytes,
        )
        what = "the process that compares mathematics"
        self._guarded = Guarded("evaluators.mathematics.process", bounds=bounds, what=what)
        self._judged: OrderedDict[tuple[str, str], Comparison] = OrderedDict()

    def __enter__(self) -> Mathematics:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def started(self) -> int:
        """Processes so far: 1, and one more after every comparison that went out of bounds."""
        return self._guarded.started

    def compare(self, answer: str, given: str) -> Comparison:
        """Whether `given` means what `answer` means; undecided where it is not sure or too long.

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
        self._guarded.close()

    def _asked(self, answer: str, given: str) -> Comparison:
        reply = self._guarded.ask(answer, given)
        match reply.value:
            case "same" | "different" | "undecided":
                return reply.value
            case _:
                return "stopped" if reply.stopped else "undecided"
