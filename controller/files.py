"""Files that several processes may want: locks, and writing that is never seen half done."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


class InUseError(ValueError):
    """Another process holds the folder."""


def take_lock(path: Path) -> IO[str]:
    """A lock file of a folder, opened, and held until it is closed.

    Raises:
        InUseError: another process holds it.
    """
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel drops it when the process ends, however
    except BlockingIOError:
        lock.close()
        raise InUseError(f"{path.parent} is in use by another process; wait for it, or name another") from None
    return lock


def write_whole(path: Path, text: str) -> None:
    """Write aside, flush to disk, rename."""
    aside = path.with_name(f".{path.name}.aside")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
