"""Raw rows of files, in chunks that can be read without each other; what cannot be read is a loss of one row.

    JSONL           here: byte ranges that begin and end with a line
    Parquet, Arrow  curricula/stream/columnar_rows.py
    a hub dataset   curricula/stream/sources.py, which finds the chunks of all

A chunk knows where its first row stands, so that a loss deep in a file is still told by file and line.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from curricula.stream.intake import Drop, UnusableError
from curricula.types import Split

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is lost; no more than this is held of it."""
CHUNK_BYTES = 2 * 1024 * 1024
"""A chunk of JSONL ends at the first line end behind so many bytes."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NOT_JSON = "not JSON"
CUT_OFF = "cut before its end"

Row = Mapping[str, object]

_BLOCK_BYTES = 1024 * 1024
_SHOWN_CHARS = 80


class BrokenRowError(UnusableError):
    """A row that cannot be read: the message is the reason, `detail` says it with its particulars."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Chunk(ABC):
    """Some rows of one file, in order."""

    path: str
    first: int  # number of the first row or line in the file, from 1
    rows: int  # to read; blank lines count
    split: Split | None = None  # that of the file

    @abstractmethod
    def read(self) -> Iterator[tuple[str, Row] | Drop]:
        """Each row with the words "file, line n" for messages; a loss in the place of a row that cannot be read.

        Raises:
            ValueError: the file as a whole is broken.
            OSError: it cannot be opened.
        """


@dataclass(frozen=True, kw_only=True)
class JsonlChunk(Chunk):
    """Lines of a JSONL file (UTF-8; a byte order mark and blank lines are tolerated)."""

    start_bytes: int
    max_line_bytes: int = MAX_LINE_BYTES

    def read(self) -> Iterator[tuple[str, Row] | Drop]:
        """One row a line. Lost are lines that `json_object` refuses, that are too long, or that the file's end cuts."""
        with Path(self.path).open("rb") as file:
            file.seek(self.start_bytes)
            for number in range(self.first, self.first + self.rows):
                where = f"{self.path}, line {number}"
                line = file.readline(self.max_line_bytes)
                if len(line) == self.max_line_bytes and not line.endswith(b"\n") and _skip_line(file):
                    shown = _shown(line[:_SHOWN_CHARS])
                    yield Drop(where=where, reason=f"line longer than {self.max_line_bytes} bytes", shown=shown)
                    continue
                if number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                if not line or line.isspace():
                    continue
                try:
                    row = json_object(line)
                except BrokenRowError as error:
                    reason = str(error) if line.endswith(b"\n") or str(error) != NOT_JSON else CUT_OFF
                    yield Drop(where=where, reason=reason, shown=_shown(line[:_SHOWN_CHARS]))
                else:
                    yield where, row


def jsonl_chunks(
    path: Path, *, split: Split | None = None, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[JsonlChunk]:
    """Cut a JSONL file between lines, reading it through once to count them.

    Raises:
        OSError: it cannot be read.
    """
    start = length = lines = 0
    first = 1
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            cut = block.rfind(b"\n") + 1
            if length + cut >= CHUNK_BYTES and cut:
                lines += block.count(b"\n", 0, cut)
                yield JsonlChunk(
                    path=str(path),
                    first=first,
                    rows=lines,
                    split=split,
                    start_bytes=start,
                    max_line_bytes=max_line_bytes,
                )
                start, first = start + length + cut, first + lines
                length, lines = len(block) - cut, 0
            else:
                length += len(block)
                lines += block.count(b"\n")
    if length:
        lines += 0 if _ends_line(path) else 1
        yield JsonlChunk(
            path=str(path), first=first, rows=lines, split=split, start_bytes=start, max_line_bytes=max_line_bytes
        )


def json_object(line: bytes) -> dict[str, object]:
    """The object of one line of JSON.

    Raises:
        BrokenRowError: the line is not UTF-8, holds a NUL byte, is not JSON, names a field twice, or is no object.
    """
    if b"\x00" in line:
        raise BrokenRowError("holds a NUL byte", "holds a NUL byte; the file must be plain UTF-8 text")
    try:
        row: object = _DECODER.decode(line.decode("utf-8").strip())
    except UnicodeDecodeError as error:
        raise BrokenRowError("not UTF-8", f"byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except RepeatedFieldError as error:
        raise BrokenRowError("names a field twice", f"not one whole JSON object: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BrokenRowError(NOT_JSON, f"not one whole JSON object: {error}") from error
    if not isinstance(row, dict):
        raise BrokenRowError("not a JSON object", f"must be a JSON object like {{...}}, got {kind_of(row)}")
    return row


class RepeatedFieldError(ValueError):
    """A JSON object names a field twice."""


def kind_of(value: object) -> str:
    """What JSON calls a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object's fields, refused where one is named twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise RepeatedFieldError(f"field {repeated!r} is named twice")
    return fields


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _skip_line(file: IO[bytes]) -> bool:
    """Read on to the end of the line; whether there was more of it."""
    more = False
    while piece := file.readline(_BLOCK_BYTES):
        more = True
        if piece.endswith(b"\n"):
            break
    return more


def _ends_line(path: Path) -> bool:
    """Whether the last line of a file that is not empty has its line end."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace").replace("\x00", "\ufffd").strip()
