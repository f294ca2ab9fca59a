"""The corpus: examples and the targets they offer, as two Arrow tables, checked and split once.

    examples  id, task, domain, kind, prompt, answer, choices, split                one row per example, in input order
    targets   example, supervision, text, verdict, what it cost, its ratios         `example` is a row of the other

Axes: N examples, S supervisions, R rows of one split.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curricula.columns import (
    EXAMPLES,
    TARGETS,
    Fingerprint,
    example_table,
    supervision_order,
    target_table,
)
from curricula.folder import CONTENT_FILES, fresh_folder, read_about, refuse_changed, write_about
from curricula.importers import GSM8K_FILES, read_gsm8k
from curricula.reader import read_jsonl, read_parquet
from curricula.sieve import Sieve
from curricula.splits import assign_splits, refuse_empty
from curricula.stream.row_groups import write_table
from curricula.types import SPLITS, Example, Ints, Split


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Examples and their targets, checked and split. Make one with `build`, `load` or `open_corpus`.

    Example:
        >>> corpus = open_corpus("gsm8k/")
        >>> corpus.supervisions
        ('answer', 'short', 'compressed:equations')
    """

    name: str
    examples: pa.Table
    targets: pa.Table  # sorted by example, then by the order of `supervisions`
    tasks: tuple[str, ...]  # sorted
    supervisions: tuple[str, ...]  # by kind, in the order of SUPERVISION_KINDS, then by spelling
    dropped: dict[str, int]  # what was left out: reason -> count
    fingerprint: str  # SHA-256 of both tables' contents and the order of their rows, as `Fingerprint` takes it

    def __len__(self) -> int:
        return self.examples.num_rows

    @classmethod
    def build(cls, examples: Iterable[Example], *, name: str, strict: bool = False) -> Corpus:
        """Check examples, drop and count what must not be trained on, and split what remains.

        Dropped are targets that are empty, do not end in their example's answer, or think where their kind does not
        (or the reverse); examples left without a target; and repeats of an example without an id of its own (same
        task, prompt, answer and choices).

        An example keeps the split it comes with. In a corpus that gives none, in-domain examples are shared out by
        hash of the prompt without case, spacing and punctuation, so that near-copies stand together, and transfer
        examples go to dev or test. Where splits are given but no in-domain probe or dev, these are carved from train.

        Raises:
            ValueError: an example is malformed; two share an id; train or probe is left empty; more than half of the
                targets are dropped or more than half of the examples are left without one; or anything is dropped
                and `strict` is set.
        """
        sieve = Sieve(name=name)
        for example in examples:
            sieve.add(example)
        sieve.judge(strict=strict)
        splits = assign_splits(sieve.kept)
        refuse_empty({split: splits.count(split) for split in SPLITS}, name=name)
        ids = [example.id for example in sieve.kept if example.id is not None]
        return _corpus(
            name,
            example_table(sieve.kept, ids, splits),
            target_table([example.targets for example in sieve.kept]),
            dropped=dict(sorted(sieve.dropped.items())),
        )

    def rows(self, split: Split) -> Ints:
        """Rows of the examples of one split, ascending: int32 [R].

        Raises:
            ValueError: there is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"split {split!r} does not exist; it is one of {', '.join(SPLITS)}")
        column_N = self.examples["split"].to_numpy()
        return np.flatnonzero(column_N == split).astype(np.int32)

    def target_rows_NS(self) -> Ints:
        """The row of each example's target under each supervision: int32 [N, S], -1 where it offers none."""
        position = {name: index for index, name in enumerate(self.supervisions)}
        column = np.array([position[name] for name in self.targets["supervision"].to_pylist()], dtype=np.int32)
        row_NS = np.full((len(self), len(self.supervisions)), -1, dtype=np.int32)
        row_NS[self.targets["example"].to_numpy(), column] = np.arange(len(column), dtype=np.int32)
        return row_NS

    def save(self, directory: str | Path) -> None:
        """Write a folder of `examples.parquet`, `targets.parquet` and `corpus.json`, aside and then renamed.

        A corpus that is there already is replaced.

        Raises:
            ValueError: the folder exists and holds something else.
        """
        with fresh_folder(Path(directory)) as fresh:
            write_table(self.examples, fresh / "examples.parquet")
            write_table(self.targets, fresh / "targets.parquet")
            write_about(fresh, name=self.name, dropped=self.dropped, fingerprint=self.fingerprint)

    @classmethod
    def load(cls, directory: str | Path) -> Corpus:
        """Read a folder that `save` or a CorpusWriter wrote.

        Raises:
            ValueError: a file is missing or of another form, or the contents are not those that were saved.
        """
        directory = Path(directory)
        about = read_about(directory)
        try:
            # Read by Arrow: `datasets` would first copy the files to the reader's cache.
            tables = [pq.read_table(directory / file_name, use_threads=False) for file_name in CONTENT_FILES[:2]]
            examples, targets = (
                table.select(schema.names).cast(schema)
                for table, schema in zip(tables, (EXAMPLES, TARGETS), strict=True)
            )
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(f"{directory} is not a corpus as saved by this version: {error}") from error
        corpus = _corpus(about.name, examples, targets, dropped=about.dropped)
        refuse_changed(directory, found=corpus.fingerprint, saved=about.fingerprint)
        return corpus


def open_corpus(path: str | Path, *, strict: bool = False) -> Corpus:
    """Open a saved corpus folder, or build a corpus from a .jsonl or .parquet file or a GSM8K folder.

    A built corpus is named after the file or folder. `strict` refuses to build one that would drop anything.

    Raises:
        ValueError: nothing is there, it is none of these, or what is there is malformed.
    """
    path = Path(path)
    expected = (
        f"a corpus is a folder with {', '.join(CONTENT_FILES)}, a .jsonl or .parquet file, or a GSM8K folder with "
        f"{' and '.join(name for name, _ in GSM8K_FILES)}"
    )
    if not path.exists():
        raise ValueError(f"no corpus at {path}: {expected}")
    if path.is_dir():
        if (path / "corpus.json").is_file():
            return Corpus.load(path)
        if all((path / name).is_file() for name, _ in GSM8K_FILES):
            return Corpus.build(read_gsm8k(path), name=path.resolve().name, strict=strict)
    elif path.suffix == ".jsonl":
        return Corpus.build(read_jsonl(path), name=path.stem, strict=strict)
    elif path.suffix == ".parquet":
        return Corpus.build(read_parquet(path), name=path.stem, strict=strict)
    raise ValueError(f"{path} is not a corpus: {expected}")


def _corpus(name: str, examples: pa.Table, targets: pa.Table, *, dropped: dict[str, int]) -> Corpus:
    fingerprint = Fingerprint()
    fingerprint.add("examples", examples)
    fingerprint.add("targets", targets)
    return Corpus(
        name=name,
        examples=examples,
        targets=targets,
        tasks=tuple(sorted(examples["task"].unique().to_pylist())),
        supervisions=supervision_order(targets["supervision"].unique().to_pylist()),
        dropped=dropped,
        fingerprint=fingerprint.hexdigest(),
    )
