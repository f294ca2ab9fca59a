"""Small real runs for tests: a corpus on disk, the command in a process of its own, and the processes it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from curricula.procedural import generate

ROOT = Path(__file__).parent.parent.parent
POLL_SECONDS = 0.05
LIMIT_SECONDS = 120.0


def write_corpus(path: Path, *, examples: int = 400, supervisions: Sequence[str] | None = None) -> Path:
    """A JSONL corpus of procedural examples, with these of their targets, all where None."""
    with path.open("w", encoding="utf-8") as file:
        for example in generate(examples=examples, seed=1):
            row = {
                "task": example.task,
                "prompt": example.prompt,
                "answer": example.answer,
                "kind": example.kind,
                "domain": example.domain,
                "choices": None if example.choices is None else list(example.choices),
                "targets": {
                    target.supervision: target.text
                    for target in example.targets
                    if supervisions is None or target.supervision in supervisions
                },
            }
            file.write(json.dumps(row) + "\n")
    return path


def start(
    flags: Sequence[str], *, output: Path, modules: Path = ROOT, command: str = "experiments.adaptive"
) -> subprocess.Popen[bytes]:
    """`python -m` this command with these flags; its output goes to `output`.out and `output`.err."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(modules)])}
    with output.with_suffix(".out").open("wb") as out, output.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", command, *flags], cwd=ROOT, env=environment, stdout=out, stderr=err
        )


def stages(folder: Path) -> bytes:
    """stages.jsonl as it stands."""
    path = folder / "stages.jsonl"
    return path.read_bytes() if path.exists() else b""


def wait_until(holds: Callable[[], bool], *, what: str, seconds: float = LIMIT_SECONDS) -> None:
    """Wait for something that is bound to happen; fails where it does not."""
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, f"waited {seconds} s for {what}"
        time.sleep(POLL_SECONDS)


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, each with its title."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and (status := _status(int(path.name))) is not None:
            title, _, parent = status
            parents[int(path.name)], titles[int(path.name)] = parent, title
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return {known: titles[known] for known in found[1:]}


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; one that nobody has waited for yet has ended."""
    status = _status(pid)
    return status is not None and status[1] != "Z"


def _status(pid: int) -> tuple[str, str, int] | None:
    """Title, state and parent; None where it ended meanwhile."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        title = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return title.strip(), state, int(parent)
