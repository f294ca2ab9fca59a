"""What a teacher wrote, as it came: a file that is only ever appended to, one whole line per completion or refusal.

identity.json    what is asked of whom; refused if it changed
journal.jsonl    {"id": "3f..", "thinking": true, "sample": 0, "text": "7", ...} or {..., "refusal": "empty completion"}
teach.lock       held by the one process that writes

A kill may leave half a line at the end; it is dropped when the journal is opened again, and asked for again.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from controller.config import Json, differing_fields, fingerprint
from curricula.types import Cost
from trainers.teachers.teacher import Completion, Refusal

IDENTITY, JOURNAL, LOCK = "identity.json", "journal.jsonl", "teach.lock"
BLOCK_BYTES = 1 << 16


class JournalError(ValueError):
    """A journal that cannot be used: one line that says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: what was asked for, and what came of it.

    Example:
        Entry(id="3f...", thinking=True, sample=0, outcome=Refusal(reason="empty completion", cost=Cost(tokens=6)))
    """

    id: str  # of the example
    thinking: bool
    sample: int
    outcome: Completion | Refusal


class Journal:
    """The one writer of a folder's journal, for as long as it is open."""

    def __init__(self, folder: Path, lock: IO[str], file: io.FileIO) -> None:
        """Use `Journal.open`."""
        self.folder, self._lock, self._file = folder, lock, file

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, Json]) -> Journal:
        """Take a folder that is new, empty, or holds a journal of the same identity.

        Raises:
            JournalError: it is in use, holds something else, or a journal of another identity; the differing fields
                are named.
        """
        if folder.exists() and not folder.is_dir():
            raise JournalError(f"{folder} is a file; --output_dir names a folder")
        path = folder / IDENTITY
        mine = {LOCK, _aside(path).name}
        if folder.is_dir() and not path.exists() and any(found.name not in mine for found in folder.iterdir()):
            raise JournalError(f"{folder} is not empty and holds no journal of a teacher; name another --output_dir")
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel drops it when the process ends, however
            if path.exists():
                theirs = json.loads(path.read_text("utf-8"))
                if fingerprint(theirs) != fingerprint(identity):
                    fields = "; ".join(differing_fields(identity, theirs))
                    raise JournalError(
                        f"{folder} holds a journal of other settings: {fields}; give the same, or another --output_dir"
                    )
            else:
                write_json(path, identity)
            _drop_half_line(folder / JOURNAL)
            return cls(folder, lock, (folder / JOURNAL).open("ab", buffering=0))
        except BlockingIOError:
            lock.close()
            raise JournalError(f"{folder} is in use by another process; wait for it, or name another") from None
        except (JournalError, OSError):
            lock.close()
            raise

    def append(self, entry: Entry) -> None:
        """Write one line and hand it to the system: from then on a kill of this process does not lose it.

        Raises:
            OSError: the disk is full, most often; half a line may stand in the file.
        """
        rest = memoryview(json.dumps(_encoded(entry)).encode() + b"\n")
        while rest:
            rest = rest[self._file.write(rest) :]  # less than all where the disk fills, and an OSError after that

    def entries(self) -> Iterator[Entry]:
        """All lines so far.

        Raises:
            JournalError: a line is not one that `append` wrote.
        """
        with (self.folder / JOURNAL).open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _decoded(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise JournalError(
                        f"{self.folder / JOURNAL}, line {number}: not a line of this version ({error}); delete the line"
                    ) from error

    def close(self) -> None:
        """Have everything on disk and give the folder back."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
            self._lock.close()


def write_json(path: Path, values: Mapping[str, Json]) -> None:
    """Write aside, flush to disk, rename."""
    aside = _aside(path)
    with aside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(dict(values), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.aside")


def _drop_half_line(path: Path) -> None:
    """Cut a file behind its last line break."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - BLOCK_BYTES)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        file.truncate(end)


def _encoded(entry: Entry) -> dict[str, Json]:
    outcome = entry.outcome
    fields: dict[str, Json] = {"id": entry.id, "thinking": entry.thinking, "sample": entry.sample}
    if isinstance(outcome, Refusal):
        fields["refusal"] = outcome.reason
    else:
        fields["reasoning"] = outcome.reasoning
        fields["text"] = outcome.text
        fields["prompt_tokens"] = outcome.prompt_tokens
        fields["output_tokens"] = outcome.output_tokens
        fields["finished"] = outcome.finished
    fields |= {"flops": outcome.cost.flops, "tokens": outcome.cost.tokens, "dollars": outcome.cost.dollars}
    if entry.outcome.estimated:
        fields["estimated"] = True
    return fields


def _decoded(line: object) -> Entry:
    match line:
        case {
            "id": str(identity),
            "thinking": bool(thinking),
            "sample": int(sample),
            "flops": int(flops),
            "tokens": int(tokens),
            "dollars": int(dollars) | float(dollars),
            **rest,
        }:
            cost = Cost(flops=flops, tokens=tokens, dollars=float(dollars))
            outcome = _outcome(rest, cost)
            return Entry(id=identity, thinking=thinking, sample=sample, outcome=outcome)
    raise ValueError("a field is missing or of another type")


def _outcome(fields: Mapping[str, object], cost: Cost) -> Completion | Refusal:
    estimated = fields.get("estimated") is True
    match fields:
        case {"refusal": str(reason)}:
            return Refusal(reason=reason, cost=cost, estimated=estimated)
        case {
            "reasoning": str() | None as reasoning,
            "text": str(text),
            "prompt_tokens": int(prompt_tokens),
            "output_tokens": int(output_tokens),
            "finished": bool(finished),
        }:
            return Completion(
                estimated=estimated,
                reasoning=reasoning,
                text=text,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                finished=finished,
                cost=cost,
            )
    raise ValueError("neither a completion nor a refusal")
