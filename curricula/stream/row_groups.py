"""Writes Parquet in row groups that a reader of a few rows can afford, whatever the size of the rows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 8192
ROW_GROUP_BYTES = 32 * 1024 * 1024

_PIECE_ROWS = 512


def write_table(table: pa.Table, path: Path) -> None:
    """Write a whole table."""
    with RowGroups(path, table.schema) as rows:
        for start in range(0, table.num_rows, _PIECE_ROWS):
            rows.add(table.slice(start, _PIECE_ROWS))


class RowGroups:
    """A Parquet file in the making. A row group ends with the piece that fills it.

    Example:
        with RowGroups(Path("examples.parquet"), EXAMPLES) as rows:
            rows.add(table)
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """Open the file."""
        self.rows = 0
        # Texts are mostly different; to look for repeats in them takes longer than to write them.
        repeated = [
            name for name in ("task", "domain", "kind", "split", "supervision", "verdict") if name in schema.names
        ]
        # The stub of pyarrow says bool; the documentation says bool or names.
        self._writer = pq.ParquetWriter(path, schema, use_dictionary=repeated)  # pyright: ignore[reportArgumentType]
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0

    def __enter__(self) -> RowGroups:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def add(self, table: pa.Table) -> None:
        """Take rows; they are on disk once there are enough of them."""
        self.rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self._waiting_bytes += table.nbytes
        if self._waiting_rows >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the end of the file; once only."""
        if self._writer.is_open:
            self._flush()
            self._writer.close()

    def abandon(self) -> None:
        """Give the file up after an error, which alone is to be told: what waits is not written."""
        if self._writer.is_open:
            with suppress(OSError, pa.ArrowException):  # a full disk, once more
                self._writer.close()

    def _flush(self) -> None:
        if self._waiting_rows:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=self._waiting_rows)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
