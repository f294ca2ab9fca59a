"""Sees whether Python code reads a clock, a file or the machine's entropy, however it came by the function.

Names are not replaced, since `from time import time` would keep the old one: the interpreter reports every call of a
built-in function to a profile hook, together with the frame that made it. Calls made inside libraries that look
around by themselves (thread pools, lazy imports, warnings) say nothing about the code that is watched.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FrameType

CLOCKS = frozenset(
    f"time.{name}{suffix}"
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
    for suffix in ("", "_ns")
) | {"time.localtime", "time.gmtime", "time.ctime", "time.strftime", "time.sleep"}
DATES = frozenset({"datetime.now", "datetime.utcnow", "datetime.today", "date.today"})
FILES = frozenset({"open", "listdir", "scandir", "stat", "getcwd"})
FILE_MODULES = frozenset({"io", "_io", "posix", "nt"})
ENTROPY = frozenset({"urandom", "getrandom"})
TRUSTED = ("sklearn", "joblib", "threadpoolctl", "importlib", "warnings", "linecache", "traceback")


@contextmanager
def watch_calls() -> Iterator[list[str]]:
    """Collects, while it is open, one line for each forbidden call made in this thread: what, and from where."""
    seen: list[str] = []

    def hook(frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and isinstance(called, BuiltinFunctionType):
            what = _forbidden(called)
            if what and not _inside_trusted(frame):
                seen.append(f"{what} in {frame.f_code.co_filename}:{frame.f_lineno}")

    before = sys.getprofile()
    # A collection may run anybody's callbacks in the middle of the watched code.
    collecting = gc.isenabled()
    gc.disable()
    sys.setprofile(hook)
    try:
        yield seen
    finally:
        sys.setprofile(before)
        if collecting:
            gc.enable()


def _forbidden(called: BuiltinFunctionType) -> str | None:
    module, name = called.__module__, called.__qualname__
    if f"{module}.{name}" in CLOCKS:
        return f"reads the clock with {module}.{name}()"
    if name in DATES:
        return f"reads the clock with {name}()"
    if module in FILE_MODULES and name in FILES:
        return f"reads files with {name}()"
    if module in FILE_MODULES and name in ENTROPY:
        return f"reads the machine's entropy with {name}()"
    return None


def _inside_trusted(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.split(".")[0] in TRUSTED:
            return True
        frame = frame.f_back
    return False


def fastest_seconds(call: Callable[[], object], *, limit_seconds: float, attempts: int) -> float:
    """The shortest of a few timings, in seconds; the first that is below the limit is enough."""
    best_seconds = float("inf")
    for _ in range(attempts):
        began = time.perf_counter()
        call()
        best_seconds = min(best_seconds, time.perf_counter() - began)
        if best_seconds < limit_seconds:
            break
    return best_seconds
