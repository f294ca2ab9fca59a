"""A run is a folder anyone can read: appending is saving, reading is resuming.

config.yaml      what is computed, resolved; loadable with --config
identity.json    the same with the corpus's, the student's and the libraries' identity; refused if it changed
stages.jsonl     one line a stage: byte for byte the same for the same config (CPU, fp32)
timings.jsonl    clocks and attempts; of a budget by the clock what was spent, of another what no policy ever sees
plans/           each stage's rows with how often they were drawn and their last loss, as .npz
checkpoints/     weights, moments and data cursor

A folder whose run ended before its first stage was recorded (a refused plan, a budget too small) is free again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import yaml

from controller.config import Json, differing_fields, fingerprint
from controller.controller import kept_checkpoints
from controller.encoding import arrays_digest, decode, encode, row_arrays
from controller.files import InUseError, take_lock, write_whole
from curricula.types import Purpose, StageResult

STAGES, TIMINGS, CONFIG, IDENTITY, SUMMARY, LOCK = (
    "stages.jsonl",
    "timings.jsonl",
    "config.yaml",
    "identity.json",
    "summary.json",
    "run.lock",
)
HARNESS, STATE_DIGEST = "harness", "state_digest"
"""In summary.json: what `experiments.harness` adds, and the state of the student that it was said of."""
_PARTS = (STAGES, TIMINGS, CONFIG, IDENTITY, LOCK, "plans", "checkpoints", "report.html")
"""What may lie in the folder of a run that recorded no stage."""


class RunFolderError(ValueError):
    """A run folder that cannot be used: one line that says why and what to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """A run as it stands on disk."""

    config: dict[str, Json]
    identity: dict[str, Json]
    results: tuple[StageResult, ...]
    summary: dict[str, Json] | None
    timings: tuple[dict[str, Json], ...]
    tasks: tuple[str, ...]
    supervisions: tuple[str, ...]


class RunFolder:
    """The one writer of a run's folder, for as long as it is open."""

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        """Use `RunFolder.open`."""
        self.folder, self._lock = folder, lock

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie, by name."""
        return self.folder / "checkpoints"

    @classmethod
    def open(cls, folder: Path, *, resume: bool) -> RunFolder:
        """Take a folder for a new run, or an old one to go on with.

        A new run also takes the folder of one that recorded no stage, and clears it.

        Raises:
            RunFolderError: it is in use; it holds something and this is no resume; it holds no run to resume.
        """
        if resume and not (folder / IDENTITY).exists():
            raise RunFolderError(f"{folder} holds no run to resume; start one without --resume")
        if folder.exists() and not folder.is_dir():
            raise RunFolderError(f"{folder} is a file; --output_dir names a folder")
        if not resume:
            _refuse_taken(folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = take_lock(folder / LOCK)
        except InUseError as error:
            raise RunFolderError(str(error)) from None
        try:
            if not resume:
                _refuse_taken(folder)  # again: a run may have come and gone before the lock was ours
                _delete_others(folder, [LOCK, IDENTITY])
                (folder / IDENTITY).unlink(missing_ok=True)  # last: without it the rest would pass for another's
        except (RunFolderError, OSError):
            lock.close()
            raise
        return cls(folder, lock)

    def close(self) -> None:
        """Give the folder back."""
        self._lock.close()

    def begin(self, identity: Mapping[str, Json], config: Mapping[str, Json]) -> None:
        """Write what is computed, or check that it has not changed.

        Raises:
            RunFolderError: the folder's run was another; the differing fields are named.
        """
        path = self.folder / IDENTITY
        if path.exists():
            theirs = json.loads(path.read_text())
            if fingerprint(theirs) != fingerprint(identity):
                fields = "; ".join(differing_fields(identity, theirs))
                raise RunFolderError(f"{self.folder} holds a run of another configuration: {fields}")
        else:
            write_whole(path, json.dumps(dict(identity), indent=1, sort_keys=True))
        if not (self.folder / CONFIG).exists():
            write_whole(self.folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))
        (self.folder / "plans").mkdir(exist_ok=True)

    def append(self, results: Iterable[StageResult], seconds: Sequence[Mapping[Purpose, float]]) -> None:
        """Add a round: its arrays first, then the seconds of workers by purpose, then all its lines at once."""
        results = tuple(results)
        spent: list[Json] = [{str(purpose): amount for purpose, amount in stage.items()} for stage in seconds]
        lines = []
        for result in results:
            arrays = row_arrays(result)
            path = self.folder / "plans" / f"{result.checkpoint}.npz"
            with path.with_suffix(".tmp").open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
            os.replace(path.with_suffix(".tmp"), path)
            lines.append(json.dumps(encode(result, forks=len(results), arrays_digest=arrays_digest(arrays))) + "\n")
        # Before the stages: what is on record has its seconds, and a kill in between leaves seconds of no stage.
        self.note(event="charged", checkpoints=[result.checkpoint for result in results], busy_seconds=spent)
        with (self.folder / STAGES).open("a", encoding="utf-8") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        self.note(event="recorded", checkpoints=[result.checkpoint for result in results])

    def note(self, **values: Json) -> None:
        """Add a line of clocks to timings.jsonl."""
        with (self.folder / TIMINGS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), **values}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def timings(self) -> tuple[dict[str, Json], ...]:
        """The lines of timings.jsonl."""
        return tuple(json.loads(line) for line in _whole_lines(self.folder / TIMINGS))

    def rewind(self) -> tuple[StageResult, ...]:
        """Bring the folder back to the last round whose checkpoints are all there, and return the history up to it.

        What a killed process left behind it goes: later lines, half a line, and the arrays and checkpoints of stages
        that were never recorded or only begun.

        Raises:
            RunFolderError: a recorded stage's arrays are missing or changed.
        """
        kept = _whole_rounds(_whole_lines(self.folder / STAGES))
        while kept:
            last = json.loads(kept[-1])["round"]
            names = [item["checkpoint"] for item in map(json.loads, kept) if item["round"] == last]
            if all((self.checkpoints / name).is_dir() for name in names):
                break
            kept = kept[: -len(names)]
        for name, lines in ((STAGES, kept), (TIMINGS, _whole_lines(self.folder / TIMINGS))):
            if (self.folder / name).exists():
                write_whole(self.folder / name, "".join(lines))
        history = tuple(_load_result(self.folder, json.loads(line)) for line in kept)
        _delete_others(self.folder / "plans", [f"{result.checkpoint}.npz" for result in history])
        self.retain(kept_checkpoints(history))
        return history

    def retain(self, checkpoints: Sequence[str]) -> None:
        """Delete every checkpoint but these, and whatever else lies among them."""
        _delete_others(self.checkpoints, checkpoints)

    def existing(self, history: Sequence[StageResult]) -> tuple[str, ...]:
        """The checkpoints a run with this history keeps.

        Raises:
            RunFolderError: one is missing.
        """
        names = kept_checkpoints(history)
        missing = [name for name in names if not (self.checkpoints / name).is_dir()]
        if missing:
            raise RunFolderError(f"{self.checkpoints} lacks {missing[0]}, which the run goes on from; start a new run")
        return names

    def write_summary(self, summary: Mapping[str, Json]) -> None:
        """Write summary.json. What lm-evaluation-harness said of the same student stays from an earlier one.

        Raises:
            RunFolderError: the earlier one cannot be read.
        """
        path = self.folder / SUMMARY
        try:
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except json.JSONDecodeError as error:
            raise RunFolderError(f"{path} is not JSON: {error}; delete it and resume the run") from None
        stays = HARNESS in before and before.get(STATE_DIGEST) == summary[STATE_DIGEST]
        kept = {HARNESS: before[HARNESS]} if stays else {}
        write_whole(path, json.dumps({**summary, **kept}, indent=1))


def read_run(folder: Path) -> RunRecord:
    """Read a run, finished or not, without touching it.

    Raises:
        RunFolderError: it holds no run, or a recorded stage's arrays are missing or changed.
    """
    if not (folder / IDENTITY).exists():
        raise RunFolderError(f"{folder} holds no run (no {IDENTITY})")
    identity = json.loads((folder / IDENTITY).read_text())
    summary = folder / SUMMARY
    timings = _whole_lines(folder / TIMINGS)
    stages = _whole_rounds(_whole_lines(folder / STAGES))
    return RunRecord(
        config=yaml.safe_load((folder / CONFIG).read_text()),
        identity=identity,
        results=tuple(_load_result(folder, json.loads(line)) for line in stages),
        summary=json.loads(summary.read_text()) if summary.exists() else None,
        timings=tuple(json.loads(line) for line in timings),
        tasks=tuple(identity["tasks"]),
        supervisions=tuple(identity["supervisions"]),
    )


def busy_seconds(
    timings: Iterable[Mapping[str, Json]], history: Sequence[StageResult]
) -> list[Mapping[Purpose, float] | None]:
    """Seconds of workers by purpose of every recorded stage; None where they are not on record."""
    found: dict[str, Mapping[Purpose, float]] = {}
    for line in timings:
        if line.get("event") == "charged":
            # Casts to what append() wrote. Of two lines about one name the later stands: the earlier was cut off.
            names, spent = cast(list[str], line["checkpoints"]), cast(list[dict[Purpose, float]], line["busy_seconds"])
            found.update(zip(names, spent, strict=True))
    return [found.get(result.checkpoint) for result in history]


def _refuse_taken(folder: Path) -> None:
    """Refuse a folder that a new run must not have: one with recorded stages, or with what is no part of a run."""
    if _whole_lines(folder / STAGES) or (folder / SUMMARY).exists():
        raise RunFolderError(
            f"{folder} holds a run already; go on with it (--resume true) or name another --output_dir"
        )
    parts = _PARTS if (folder / IDENTITY).exists() else (LOCK,)
    # Files are written aside, and folders renamed before they are deleted: a kill leaves such names behind.
    allowed = {*parts, *(f".{name}{ending}" for name in _PARTS for ending in (".aside", ".deleted"))}
    if folder.is_dir() and any(path.name not in allowed for path in folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty and holds no run; name another --output_dir")


def _load_result(folder: Path, line: Mapping[str, Json]) -> StageResult:
    path = folder / "plans" / f"{line['checkpoint']}.npz"
    if not path.is_file():
        raise RunFolderError(f"{path} is missing, which {STAGES} recorded; restore the folder or start a new run")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    if arrays_digest(arrays) != line["arrays_digest"]:
        raise RunFolderError(f"{path} is not what stages.jsonl recorded; restore the folder or start a new run")
    return decode(line, arrays)


def _whole_lines(path: Path) -> list[str]:
    """Lines that end; a last one cut off by a kill is not there."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _whole_rounds(lines: list[str]) -> list[str]:
    """Lines of rounds of which every fork was written."""
    parsed = [json.loads(line) for line in lines]
    counts: dict[int, int] = {}
    for item in parsed:
        counts[item["round"]] = counts.get(item["round"], 0) + 1
    return [line for line, item in zip(lines, parsed, strict=True) if counts[item["round"]] == item["forks"]]


def _delete_others(folder: Path, names: Sequence[str]) -> None:
    """Delete all that lies in a folder but these; there may be no such folder."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name in names:
            continue
        if path.is_dir():
            # Renamed first: one that is half deleted when the process is killed must not pass for a whole one.
            doomed = path.rename(path.with_name(f".{path.name.lstrip('.')}.deleted"))
            shutil.rmtree(doomed)
        else:
            path.unlink()
