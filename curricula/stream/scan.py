"""A corpus read in batches, from memory or from its folder, as often as need be and never held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curricula.columns import EXAMPLES, TARGETS
from curricula.corpus import Corpus
from curricula.folder import CONTENT_FILES, read_about

BATCH_ROWS = 1024
"""Rows read at once: targets of 50,000 characters then take 50 MB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """A corpus's two tables in batches. Make one with `scan_corpus` or `scan_folder`.

    Example:
        scan = scan_folder(Path("corpora/gsm8k"))
        sum(batch.num_rows for batch in scan.targets(["verdict"])) == scan.target_rows
    """

    name: str
    fingerprint: str
    dropped: dict[str, int]  # reason -> count
    example_rows: int
    target_rows: int
    source: Corpus | Path  # a folder where the corpus is not in memory

    def examples(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of the examples, in their order, at most BATCH_ROWS rows at once."""
        yield from self._batches(0, columns)

    def targets(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of the targets, in their order, at most BATCH_ROWS rows at once."""
        yield from self._batches(1, columns)

    def _batches(self, table: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if isinstance(self.source, Corpus):
            whole = (self.source.examples, self.source.targets)[table]
            yield from whole.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS)
            return
        with pq.ParquetFile(self.source / CONTENT_FILES[table]) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns), use_threads=False)


def scan_corpus(corpus: Corpus) -> Scan:
    """A corpus in memory."""
    return Scan(
        name=corpus.name,
        fingerprint=corpus.fingerprint,
        dropped=corpus.dropped,
        example_rows=corpus.examples.num_rows,
        target_rows=corpus.targets.num_rows,
        source=corpus,
    )


def scan_folder(directory: Path) -> Scan:
    """A saved corpus. The fingerprint is the one that was saved: telling whether it still holds would read all of it.

    Raises:
        ValueError: a file is missing or of another form.
    """
    about = read_about(directory)
    rows = []
    for file_name, schema in zip(CONTENT_FILES[:2], (EXAMPLES, TARGETS), strict=True):
        try:
            with pq.ParquetFile(directory / file_name) as file:
                rows.append(file.metadata.num_rows)
                found = file.schema_arrow
        except pa.ArrowInvalid as error:
            raise ValueError(f"{directory / file_name} is no Parquet file: {error}") from error
        missing = [name for name in schema.names if name not in found.names]
        if missing:
            raise ValueError(
                f"{directory / file_name} has no column {', '.join(missing)}: it is no corpus as this version saves it"
            )
    return Scan(
        name=about.name,
        fingerprint=about.fingerprint,
        dropped=about.dropped,
        example_rows=rows[0],
        target_rows=rows[1],
        source=directory,
    )
