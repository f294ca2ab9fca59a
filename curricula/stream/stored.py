"""A saved corpus that is read a few rows at a time, however large it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curricula.columns import EXAMPLES, TARGETS, Fingerprint, examples_of
from curricula.folder import read_about, refuse_changed
from curricula.types import Example, Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredCorpus:
    """Where the rows of a saved corpus lie.

    Example:
        >>> stored = StoredCorpus.open("corpora/gsm8k")
        >>> [example.id for example in StoredRows(stored).read(0, 2)]
        ['5f0c1d...', '77ab20...']
    """

    directory: Path
    name: str
    first_target_N: Ints  # the first target of each example, and behind the last the count of targets: [N + 1]

    def __len__(self) -> int:
        return len(self.first_target_N) - 1

    @classmethod
    def open(cls, directory: str | Path) -> StoredCorpus:
        """Read a saved corpus through once, to see that it is whole and where its targets lie.

        Raises:
            ValueError: a file is missing or of another form, or the contents are not those that were saved.
        """
        directory = Path(directory)
        about = read_about(directory)
        fingerprint = Fingerprint()
        owners: list[Ints] = []
        counted = 0
        try:
            for table_name, schema in (("examples", EXAMPLES), ("targets", TARGETS)):
                with _open(directory, table_name) as file:
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group, schema.names, use_threads=False).select(schema.names)
                        fingerprint.add(table_name, table.cast(schema))
                        if table_name == "examples":
                            counted += table.num_rows
                        else:
                            owners.append(table["example"].to_numpy())
        except (pa.ArrowException, ValueError, KeyError, OSError) as error:
            raise ValueError(f"{directory} is not a corpus as saved by this version: {error}") from error
        refuse_changed(directory, found=fingerprint.hexdigest(), saved=about.fingerprint)
        owner = np.concatenate(owners) if owners else np.zeros(0, dtype=np.int32)
        first_target_N = np.searchsorted(owner, np.arange(counted + 1)).astype(np.int32)
        return cls(directory=directory, name=about.name, first_target_N=first_target_N)


class StoredRows:
    """Reads rows of one stored corpus; keeps the row groups that it read last, for the rows that follow."""

    def __init__(self, stored: StoredCorpus) -> None:
        """Open both files; they stay open as long as this lives."""
        self._stored = stored
        self._examples = _Slices(_open(stored.directory, "examples"), EXAMPLES)
        self._targets = _Slices(_open(stored.directory, "targets"), TARGETS)

    def read(self, start: int, stop: int) -> list[Example]:
        """The examples of rows `start` to `stop` (excluded), with their targets, ids and splits."""
        first, last = self._stored.first_target_N[[start, stop]].tolist()
        return examples_of(self._examples.read(start, stop), self._targets.read(first, last), first_row=start)


class _Slices:
    """Ranges of rows of a Parquet file."""

    def __init__(self, file: pq.ParquetFile, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._first_row = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self._kept: dict[int, pa.Table] = {}

    def read(self, start: int, stop: int) -> pa.Table:
        """The rows from `start` up to `stop`."""
        if start == stop:
            return self._schema.empty_table()
        first, last = np.searchsorted(self._first_row, [start, stop - 1], side="right") - 1
        groups = range(int(first), int(last) + 1)
        self._kept = {group: self._kept[group] if group in self._kept else self._read_group(group) for group in groups}
        offset = start - int(self._first_row[first])
        return pa.concat_tables(self._kept[group] for group in groups).slice(offset, stop - start)

    def _read_group(self, group: int) -> pa.Table:
        table = self._file.read_row_group(group, self._schema.names, use_threads=False)
        return table.select(self._schema.names).cast(self._schema)


def _open(directory: Path, table_name: str) -> pq.ParquetFile:
    return pq.ParquetFile(directory / f"{table_name}.parquet")
