"""Writes a corpus from a stream: bounded memory, any number of examples, in place all at once or not at all.

    bundles, prepared anywhere --CorpusWriter--> examples.parquet, targets.parquet, corpus.json, dropped.jsonl

A bundle is a few thousand rows that were read and checked each by itself. The writer takes one after another and does
what needs the rows before: it drops repeats, counts, hashes, writes and assigns splits. What it writes is what
`Corpus.build` and `Corpus.save` make of the same examples, with the same fingerprint.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curricula.columns import (
    EXAMPLES,
    TARGETS,
    Fingerprint,
    supervision_order,
)
from curricula.folder import DROPPED_FILE, fresh_folder, write_about
from curricula.sieve import DUPLICATE, Tally, sift
from curricula.splits import NO_SPLIT, Places, refuse_empty, split_indices
from curricula.stream.bundle import DROPS, NO_EXAMPLE, Bundle
from curricula.stream.intake import Drop
from curricula.stream.row_groups import RowGroups
from curricula.types import SPLITS, Bools, Example, Split

_INDEX_OF_SPLIT = {split: index for index, split in enumerate(SPLITS)}


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a finished corpus holds."""

    name: str
    examples: int
    targets: dict[str, int]  # by supervision, in the order of `supervision_order`
    splits: dict[Split, int]  # examples of each
    dropped: dict[str, int]  # reason -> count
    fingerprint: str


class CorpusWriter:
    """Takes bundles in order. Keeps about 200 bytes in memory for every example, and one row group of each file.

    Example:
        with CorpusWriter.open(Path("corpora/sums"), name="sums") as writer:
            writer.add(bundle)
        writer.written().examples
    """

    def __init__(self, folder: Path, *, name: str, strict: bool, keep_splits: bool) -> None:
        """Write into an empty folder; `open` is the way to a corpus in its place."""
        self._folder = folder
        self._keep_splits = keep_splits
        self._strict = strict
        self._tally = Tally(name=name)
        self._fingerprint = Fingerprint()
        self._examples_file = folder / ("examples.parquet" if keep_splits else "unsplit.parquet")
        self._examples = RowGroups(self._examples_file, EXAMPLES)
        self._targets = RowGroups(folder / "targets.parquet", TARGETS)
        self._drops = (folder / DROPPED_FILE).open("w", encoding="utf-8")
        self._offered: Counter[str] = Counter()
        self._own_splits: list[NDArray[np.int8]] = []
        self._transfers: list[Bools] = []
        self._places: list[Places] = []
        self._written: Written | None = None

    @classmethod
    @contextmanager
    def open(
        cls, directory: Path, *, name: str, strict: bool = False, keep_splits: bool = False
    ) -> Iterator[CorpusWriter]:
        """A writer whose corpus stands at `directory` when the block ends; after an error nothing of it is left.

        Args:
            name: of the corpus.
            strict: whether any loss is an error, raised as soon as it is met.
            keep_splits: every example comes with its split and stays there; otherwise by `split_indices`.

        Raises:
            ValueError: the folder holds something else; two examples share an id; more than half is lost, or anything
                and `strict` is set; train or probe is left empty.
            OSError: the disk is full, or the like.
        """
        with fresh_folder(directory) as folder:
            writer = cls(folder, name=name, strict=strict, keep_splits=keep_splits)
            try:
                yield writer
                writer._finish()
            finally:
                writer._abandon()

    @property
    def examples(self) -> int:
        """How many were kept so far."""
        return self._examples.rows

    def written(self) -> Written:
        """What came of it, once the block has ended."""
        assert self._written is not None
        return self._written

    def add_examples(self, examples: Iterable[Example]) -> None:
        """Check, lay out and add a few thousand examples.

        Raises:
            ValueError: one is malformed, or what `add` raises.
        """
        first = self._tally.offered_examples + 1
        sifted = [
            sift(example, f"corpus {self._tally.name!r}, example {row}") for row, example in enumerate(examples, first)
        ]
        self.add(Bundle.pack(sifted, rows=len(sifted)))

    def add(self, bundle: Bundle) -> None:
        """Add what a bundle holds.

        Raises:
            ValueError: two examples share an id; or anything is lost and `strict` is set.
        """
        fate_N, drops = self._decide(bundle)
        for drop in drops:
            self._tally.drop(drop)
            self._drops.write(json.dumps(dataclasses.asdict(drop), ensure_ascii=False) + "\n")
        if drops and self._strict:
            self._tally.judge(strict=True)
        kept_N = np.array([fate is None for fate in fate_N], dtype=bool)
        row_N = self._examples.rows - 1 + np.cumsum(kept_N, dtype=np.int32)
        examples, offers, targets = bundle.examples, bundle.offers, bundle.targets
        owner = targets["example"].to_numpy()
        if not kept_N.all():
            examples, offers, targets = examples.filter(kept_N), offers.filter(kept_N), targets.filter(kept_N[owner])
            owner = owner[kept_N[owner]]
        targets = targets.set_column(0, TARGETS.field(0), pa.array(row_N[owner].astype(np.int32)))
        self._remember(examples, offers)
        self._fingerprint.add("examples", examples if self._keep_splits else examples.drop_columns(["split"]))
        self._fingerprint.add("targets", targets)
        self._examples.add(examples)
        self._targets.add(targets)
        for counted in targets["supervision"].value_counts().to_pylist():
            self._offered[counted["values"]] += counted["counts"]

    def _decide(self, bundle: Bundle) -> tuple[list[str | None], list[Drop]]:
        """What becomes of each example (None: kept; or why not), and all losses of a bundle."""
        for _ in range(bundle.lost_rows):
            self._tally.lose_row()
        kept_N = np.bincount(bundle.targets["example"].to_numpy(), minlength=bundle.examples.num_rows).tolist()
        identities = bundle.examples["id"].to_pylist()
        columns = (bundle.offers["own_id"].to_pylist(), bundle.offers["targets"].to_pylist(), kept_N)
        fate_N = [
            self._tally.offer(identity=identity, own_id=own_id, offered_targets=offered, kept_targets=kept)
            for identity, own_id, offered, kept in zip(identities, *columns, strict=True)
        ]
        drops = [
            Drop(where=where, reason=reason, shown=shown)
            for row, where, reason, shown in zip(*(bundle.drops[name].to_pylist() for name in DROPS.names), strict=True)
            if row == NO_EXAMPLE or fate_N[row] != DUPLICATE
        ]
        for row, reason in enumerate(fate_N):
            if reason is not None:
                where = bundle.offers["where"][row].as_py()
                repeated = f"repeats example {self._tally.first_row(identities[row])}" if reason == DUPLICATE else ""
                drops.append(Drop(where=where, reason=reason, shown=repeated))
        return fate_N, drops

    def _remember(self, examples: pa.Table, offers: pa.Table) -> None:
        """Keep of each example what its split depends on."""
        own_N = [_INDEX_OF_SPLIT.get(split, NO_SPLIT) for split in examples["split"].to_pylist()]
        self._own_splits.append(np.array(own_N, dtype=np.int8))
        self._transfers.append(
            np.array([domain == "transfer" for domain in examples["domain"].to_pylist()], dtype=bool)
        )
        places = [offers[name].to_numpy() for name in ("split_place", "transfer_place", "carve_place")]
        self._places.append(np.stack(places, axis=1))

    def _finish(self) -> None:
        """Judge, assign splits, and write what is known only at the end."""
        self._tally.judge(strict=self._strict)
        own_N = np.concatenate(self._own_splits)
        split_N = own_N
        if self._keep_splits:
            if (own_N == NO_SPLIT).any():
                raise ValueError(f"corpus {self._tally.name!r}: an example comes without its split")
        else:
            split_N = split_indices(own_N, np.concatenate(self._transfers), np.concatenate(self._places))
        count_S = np.bincount(split_N, minlength=len(SPLITS))
        splits: dict[Split, int] = {split: int(count_S[index]) for index, split in enumerate(SPLITS)}
        refuse_empty(splits, name=self._tally.name)
        self._close()
        if not self._keep_splits:
            self._fill_in(split_N)
        if not self._tally.dropped:
            (self._folder / DROPPED_FILE).unlink()
        fingerprint = self._fingerprint.hexdigest()
        write_about(self._folder, name=self._tally.name, dropped=self._tally.dropped, fingerprint=fingerprint)
        self._written = Written(
            name=self._tally.name,
            examples=self._examples.rows,
            targets={name: self._offered[name] for name in supervision_order(self._offered)},
            splits=splits,
            dropped=dict(sorted(self._tally.dropped.items())),
            fingerprint=fingerprint,
        )

    def _fill_in(self, split_N: NDArray[np.int8]) -> None:
        """Write the examples once more, with their splits."""
        names = pa.array(SPLITS, pa.string())
        path = self._folder / "examples.parquet"
        with pq.ParquetFile(self._examples_file) as file, RowGroups(path, EXAMPLES) as rows:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, use_threads=False)
                column = names.take(pa.array(split_N[rows.rows : rows.rows + table.num_rows]))
                table = table.set_column(EXAMPLES.get_field_index("split"), EXAMPLES.field("split"), column)
                self._fingerprint.add("examples", table.select(["split"]))
                rows.add(table)
        self._examples_file.unlink()

    def _close(self) -> None:
        self._examples.close()
        self._targets.close()
        self._drops.close()

    def _abandon(self) -> None:
        """Close what an error has left open: it alone is to be told, and the files are thrown away."""
        self._examples.abandon()
        self._targets.abandon()
        with suppress(OSError):  # a full disk, once more
            self._drops.close()
