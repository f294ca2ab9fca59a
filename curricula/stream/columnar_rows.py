"""Raw rows of Parquet files, by row groups, and of Arrow files and streams (as `datasets` keeps them), by batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curricula.stream.intake import Drop
from curricula.stream.rows import BrokenRowError, Chunk, Row
from curricula.types import Split

CHUNK_ROWS = 16_384
"""The most rows of a chunk."""

_BATCH_ROWS = 256  # as Python data at a time: traces may be long


@dataclass(frozen=True, kw_only=True)
class ParquetChunk(Chunk):
    """Rows of one row group of a Parquet file."""

    row_group: int
    skip: int = 0  # rows of the group that stand before the chunk

    def read(self) -> Iterator[tuple[str, Row] | Drop]:
        """One row a row."""
        try:
            with pq.ParquetFile(self.path) as file:
                batches = file.iter_batches(_BATCH_ROWS, row_groups=[self.row_group], use_threads=False)
                yield from _numbered(self, batches, self.skip)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{self.path}, row group {self.row_group + 1}: not readable as Parquet: {error}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class ArrowChunk(Chunk):
    """Rows of some record batches of an Arrow file."""

    first_batch: int
    batches: int
    skip: int = 0  # rows of the first batch that stand before the chunk

    def read(self) -> Iterator[tuple[str, Row] | Drop]:
        """One row a row."""
        try:
            with pa.memory_map(self.path) as source:
                batches = _arrow_batches(source, self.first_batch, self.first_batch + self.batches)
                yield from _numbered(self, batches, self.skip)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path}: not readable as Arrow: {error}") from error


def parquet_chunks(path: Path, *, split: Split | None = None) -> Iterator[ParquetChunk]:
    """Cut a Parquet file by its row groups; a large one is cut again, and what stands before a cut is read twice.

    Raises:
        ValueError: it is no whole Parquet file.
    """
    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not readable as Parquet: {error}") from error
    first = 1
    for group, rows in enumerate(groups):
        for skip in range(0, rows, CHUNK_ROWS):
            inside = min(CHUNK_ROWS, rows - skip)
            yield ParquetChunk(path=str(path), first=first, rows=inside, split=split, row_group=group, skip=skip)
            first += inside


def arrow_chunks(path: Path, *, split: Split | None = None) -> Iterator[ArrowChunk]:
    """Cut an Arrow file, or a stream in a file, by its record batches.

    Raises:
        ValueError: it is neither.
    """
    try:
        with pa.memory_map(str(path)) as source:
            batches = [batch.num_rows for batch in _arrow_batches(source, 0, None)]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not readable as Arrow: {error}") from error
    first = 1
    position, skip = 0, 0
    while position < len(batches):
        begin, rows = (position, skip), 0
        while position < len(batches) and rows < CHUNK_ROWS:
            taken = min(batches[position] - skip, CHUNK_ROWS - rows)
            rows, skip = rows + taken, skip + taken
            if skip == batches[position]:
                position, skip = position + 1, 0
        if rows:
            end = position + (1 if skip else 0)
            yield ArrowChunk(
                path=str(path),
                first=first,
                rows=rows,
                split=split,
                first_batch=begin[0],
                batches=end - begin[0],
                skip=begin[1],
            )
            first += rows


def _arrow_batches(source: pa.NativeFile, start: int, stop: int | None) -> Iterator[pa.RecordBatch]:
    """The record batches from `start` up to `stop` of an Arrow file or stream that lies in memory."""
    magic = source.read(6)
    source.seek(0)
    if magic == b"ARROW1":
        reader = pa.ipc.open_file(source)
        for index in range(start, reader.num_record_batches if stop is None else stop):
            yield reader.get_batch(index)
        return
    stream = pa.ipc.open_stream(source)
    for index, batch in enumerate(stream):
        if stop is not None and index >= stop:
            return
        if index >= start:
            yield batch


def _numbered(chunk: Chunk, batches: Iterator[pa.RecordBatch], skip: int) -> Iterator[tuple[str, Row] | Drop]:
    """The rows of a chunk, `skip` rows into its batches, as Python data."""
    number, last = chunk.first, chunk.first + chunk.rows
    for batch in batches:
        for start in range(min(skip, batch.num_rows), batch.num_rows, _BATCH_ROWS):
            part = batch.slice(start, min(_BATCH_ROWS, last - number))
            for row in _rows_of(part):
                where = f"{chunk.path}, row {number}"
                yield Drop(where=where, reason=str(row)) if isinstance(row, BrokenRowError) else (where, row)
                number += 1
            if number == last:
                return
        skip = max(0, skip - batch.num_rows)


def _rows_of(batch: pa.RecordBatch) -> Iterator[Row | BrokenRowError]:
    """The rows of a batch; of one that holds texts that are none, row by row what can be read."""
    try:
        yield from batch.to_pylist(maps_as_pydicts="strict")
    except (UnicodeDecodeError, KeyError):
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist(maps_as_pydicts="strict")[0]
            except UnicodeDecodeError as error:
                yield BrokenRowError("not UTF-8", str(error))
            except KeyError as error:
                yield BrokenRowError("names a field twice", str(error))
