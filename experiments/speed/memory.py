"""Memory of this process and those below it, as Linux tells it in /proc."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

WORKER = "ray::MapWorker"
"""What Ray Data calls the processes that work."""
_PROC = Path("/proc")
_EVERY_SECONDS = 1.0  # a look takes some 30 ms: the kernel walks every page


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident bytes at one moment, without shared memory (Ray's object store lies in it).

    A page of a program's file that several processes have mapped is shared out among them.

    Example:
        Memory(driver_bytes=300 << 20, workers_bytes=400 << 20, daemons_bytes=500 << 20)
    """

    driver_bytes: int
    workers_bytes: int  # the processes that do the work, and those that they started
    daemons_bytes: int  # everything else that Ray runs

    @property
    def ours_bytes(self) -> int:
        """Driver and workers together."""
        return self.driver_bytes + self.workers_bytes


def memory_now() -> Memory:
    """This moment's memory of this process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            parents[int(entry.name)] = parent
    me = os.getpid()
    driver_bytes, workers_bytes, daemons_bytes = _resident_bytes(me), 0, 0
    for process in parents:
        line = _line_of(process, parents)
        if process == me or me not in line:
            continue
        if any(_command(ancestor).startswith(WORKER) for ancestor in line[: line.index(me)]):
            workers_bytes += _resident_bytes(process)
        else:
            daemons_bytes += _resident_bytes(process)
    return Memory(driver_bytes=driver_bytes, workers_bytes=workers_bytes, daemons_bytes=daemons_bytes)


class PeakMemory:
    """Looks once a second, from a thread, and keeps the moment when driver and workers held most.

    Example:
        with PeakMemory() as peak:
            work()
        peak.memory.ours_bytes
    """

    def __init__(self) -> None:
        """Begin with what is held now."""
        self.memory = memory_now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            now = memory_now()
            if now.ours_bytes > self.memory.ours_bytes:
                self.memory = now


def _line_of(process: int, parents: dict[int, int]) -> list[int]:
    """A process and its ancestors, from it upwards."""
    line = [process]
    while line[-1] in parents and parents[line[-1]] not in line:
        line.append(parents[line[-1]])
    return line


def _parent(entry: Path) -> int | None:
    """The parent of a process; None where it has ended meanwhile."""
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _command(process: int) -> str:
    try:
        return (_PROC / str(process) / "cmdline").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _resident_bytes(process: int) -> int:
    """Its share of resident bytes that are private or of files; 0 where it has ended meanwhile."""
    try:
        lines = (_PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = dict(line.split(":", maxsplit=1) for line in lines[1:])
    return sum(1024 * int(fields[name].split()[0]) for name in ("Pss_Anon", "Pss_File") if name in fields)
