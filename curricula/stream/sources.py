"""Where raw rows come from: a file, a folder of files, or a hub dataset, cut into chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from curricula.stream.columnar_rows import arrow_chunks, parquet_chunks
from curricula.stream.intake import Drop
from curricula.stream.rows import MAX_LINE_BYTES, Chunk, Row, jsonl_chunks
from curricula.types import Split

SUFFIXES = (".jsonl", ".parquet", ".arrow")
SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "probe": "probe",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}
"""What a file or its folder may be called by to say which split it holds."""
UNKNOWN_ROWS = 2**62
"""In place of a count that no one knows before the end."""

_LOOKED_AT = 20  # times as many rows are looked at as are wanted, where some cannot be read
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What to read.

    Example:
        Source(place="traces/", split="train", limit_rows=1000)
    """

    place: str  # a file, a folder, or a hub id such as organisation/name
    split: str | None = None  # of a hub dataset, train where none; of a folder, only the files called after it
    subset: str | None = None  # of a hub dataset that has several
    limit_rows: int | None = None  # read no more than the first so many
    max_line_bytes: int = MAX_LINE_BYTES

    def chunks(self) -> tuple[Chunk, ...]:
        """All chunks, in the order of file names and rows.

        Files of a folder give their rows a split where their names tell at least two apart, train among them;
        otherwise splits are left to the corpus.

        Raises:
            ValueError: there is nothing to read, a file is broken, or the hub does not give the dataset.
            OSError: a file cannot be read.
        """
        if self.limit_rows is not None and self.limit_rows < 1:
            raise ValueError(f"the limit must be at least 1 row, got {self.limit_rows}")
        if not Path(self.place).exists():
            return self._hub_chunks()
        if self.subset is not None:
            raise ValueError(f"{self.place} is here on disk: only a hub dataset has a subset, got {self.subset!r}")
        files = source_files(Path(self.place))
        splits: Sequence[Split | None] = [split_of_name(file, Path(self.place)) for file in files]
        if self.split is not None:
            files, splits = self._of_split(files, splits)
        told = {split for split in splits if split is not None}
        use_names = len(told) > 1 and "train" in told
        chunks = (
            chunk
            for file, split in zip(files, splits, strict=True)
            for chunk in self._file_chunks(file, split if use_names else None)
        )
        found = tuple(_limited(chunks, self.limit_rows))
        if not found:
            raise ValueError(f"{self.place} holds no row")
        return found

    def _of_split(
        self, files: Sequence[Path], splits: Sequence[Split | None]
    ) -> tuple[list[Path], Sequence[Split | None]]:
        wanted: Split | None = SPLIT_WORDS.get(self.split or "")
        chosen = [file for file, split in zip(files, splits, strict=True) if split == wanted and wanted is not None]
        if not chosen:
            told = ", ".join(sorted({split for split in splits if split is not None})) or "none"
            raise ValueError(f"no file of {self.place} is called after split {self.split!r}; their names tell: {told}")
        told_all: list[Split | None] = [wanted] * len(chosen)
        return chosen, told_all

    def _file_chunks(self, file: Path, split: Split | None) -> Iterator[Chunk]:
        if file.suffix == ".jsonl":
            return jsonl_chunks(file, split=split, max_line_bytes=self.max_line_bytes)
        return parquet_chunks(file, split=split) if file.suffix == ".parquet" else arrow_chunks(file, split=split)

    def _hub_chunks(self) -> tuple[Chunk, ...]:
        if _HUB_ID.fullmatch(self.place) is None or self.place.endswith(SUFFIXES):
            raise ValueError(
                f"there is nothing at {self.place}; a source is a {', '.join(SUFFIXES)} file, a folder of such files, "
                "or the id of a hub dataset, organisation/name"
            )
        # Imported where it is used: it takes a second, and only a hub dataset needs it.
        from curricula.stream.hub import hub_chunks

        chunks = hub_chunks(
            self.place, subset=self.subset, split=self.split or "train", sharded=self.limit_rows is None
        )
        return tuple(_limited(chunks, self.limit_rows))


def source_files(place: Path) -> list[Path]:
    """The files to read at a path: itself, or all readable ones below a folder, by name; hidden ones are passed over.

    Raises:
        ValueError: it is a corpus already, or there is no such file.
    """
    if (place / "corpus.json").is_file():
        raise ValueError(f"{place} is a corpus already: use it as --corpus, or give it to the other commands")
    files = [place]
    if place.is_dir():
        inside = (path for path in sorted(place.rglob("*")) if path.is_file())
        files = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(place).parts)]
        files = [path for path in files if path.suffix in SUFFIXES]
    if not files or files[0].suffix not in SUFFIXES:
        what = f"no file in {place} ends" if place.is_dir() else f"{place} does not end"
        raise ValueError(f"{what} in {', '.join(SUFFIXES)}; convert it to JSONL: one object a line")
    return files


def split_of_name(file: Path, place: Path) -> Split | None:
    """The split that a file's name tells, or else the folder's it lies in; None where it tells none or several."""
    parts = file.relative_to(place).parts or (file.name,)
    for part in reversed(parts):
        words = [word for word in re.split(r"[^a-z]+", part.lower()) if word in SPLIT_WORDS]
        if words:
            split = SPLIT_WORDS[words[0]]
            return split if all(SPLIT_WORDS[word] == split for word in words) else None
    return None


def known_rows(chunks: Sequence[Chunk]) -> int | None:
    """How many rows there are to read; None where a hub does not say."""
    rows = sum(chunk.rows for chunk in chunks)
    return rows if rows < UNKNOWN_ROWS else None


def first_rows(chunks: Sequence[Chunk], count: int) -> list[Row]:
    """Up to so many rows from the start that can be read, to tell the layout by.

    Raises:
        ValueError: none can.
    """
    losses: list[Drop] = []
    rows: list[Row] = []
    for item in islice((item for chunk in chunks for item in chunk.read()), _LOOKED_AT * count):
        if isinstance(item, Drop):
            losses.append(item)
        else:
            rows.append(item[1])
        if len(rows) == count:
            return rows
    if not rows:
        first = f"; the first: {losses[0].where}: {losses[0].reason}" if losses else ""
        raise ValueError(f"no row of {chunks[0].path} can be read{first}")
    return rows


def _limited(chunks: Iterator[Chunk], limit_rows: int | None) -> Iterator[Chunk]:
    """The chunks of the first rows."""
    if limit_rows is None:
        yield from chunks
        return
    for chunk in chunks:
        yield replace(chunk, rows=min(chunk.rows, limit_rows))
        limit_rows -= chunk.rows
        if limit_rows <= 0:
            return
