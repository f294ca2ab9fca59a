"""The corpus: examples and the targets they offer, as two Arrow tables, checked and split once.

    examples  id, task, domain, kind, prompt, answer, choices, split                one row per example, in input order
    targets   example, supervision, text, verdict, what it cost, its ratios         `example` is a row of the other

Axes: N examples, S supervisions, R rows of one split.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curricula.importers import GSM8K_FILES, read_gsm8k
from curricula.reader import read_jsonl, read_parquet
from curricula.sieve import Sieve
from curricula.splits import assign_splits
from curricula.types import SPLITS, SUPERVISION_KINDS, Example, Ints, Split, Supervision

CONTENT_FILES = ("examples.parquet", "targets.parquet", "corpus.json")

_EXAMPLES = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("domain", pa.string()),
        ("kind", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("split", pa.string()),
    ]
)
_TARGETS = pa.schema(
    [
        ("example", pa.int32()),
        ("supervision", pa.string()),
        ("text", pa.string()),
        ("verdict", pa.string()),
        ("teach_flops", pa.int64()),
        ("teach_tokens", pa.int64()),
        ("teach_dollars", pa.float64()),
        ("compress_flops", pa.int64()),
        ("compress_tokens", pa.int64()),
        ("compress_dollars", pa.float64()),
        ("token_ratio", pa.float64()),
        ("char_ratio", pa.float64()),
    ]
)


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
    fingerprint: str  # SHA-256 of both tables' contents and the order of their rows

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
        counts = {split: splits.count(split) for split in SPLITS}
        for split, remedy in (("train", "give in-domain examples"), ("probe", "give more examples, or splits")):
            if not counts[split]:
                found = ", ".join(f"{split} {count}" for split, count in counts.items())
                raise ValueError(f"corpus {name!r}: the {split} split is empty ({found}); {remedy}")
        return _corpus(name, *_tables(sieve.kept, splits), dropped=dict(sorted(sieve.dropped.items())))

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
        # Imported here: it takes longer than all else in this room together, and only writing needs it.
        from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        directory = Path(directory).resolve()
        found = {path.name for path in directory.iterdir()} if directory.is_dir() else set[str]()
        if (directory.exists() and not directory.is_dir()) or not found <= {*CONTENT_FILES}:
            raise ValueError(f"{directory} exists and is not a corpus; choose a folder that does not exist yet")
        directory.parent.mkdir(parents=True, exist_ok=True)
        about = {"name": self.name, "dropped": self.dropped, "fingerprint": self.fingerprint}
        silent = are_progress_bars_disabled()
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as aside:
            fresh = Path(aside, "fresh")
            fresh.mkdir()
            disable_progress_bars()
            try:
                Dataset(self.examples).to_parquet(fresh / "examples.parquet")
                Dataset(self.targets).to_parquet(fresh / "targets.parquet")
            finally:
                if not silent:
                    enable_progress_bars()
            Path(fresh, "corpus.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
            if directory.exists():  # a folder that is not empty cannot be replaced in one step
                os.replace(directory, Path(aside, "previous"))
            os.replace(fresh, directory)

    @classmethod
    def load(cls, directory: str | Path) -> Corpus:
        """Read a folder that `save` wrote.

        Raises:
            ValueError: a file is missing or of another form, or the contents are not those that were saved.
        """
        directory = Path(directory)
        for file_name in CONTENT_FILES:
            if not (directory / file_name).is_file():
                raise ValueError(f"{directory / file_name} is missing; a corpus holds {', '.join(CONTENT_FILES)}")
        try:
            about: object = json.loads((directory / "corpus.json").read_text("utf-8"))
            # Read by Arrow: `datasets` would first copy the files to the reader's cache.
            tables = [pq.read_table(directory / file_name, use_threads=False) for file_name in CONTENT_FILES[:2]]
            examples, targets = (
                table.select(schema.names).cast(schema)
                for table, schema in zip(tables, (_EXAMPLES, _TARGETS), strict=True)
            )
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(f"{directory} is not a corpus as saved by this version: {error}") from error
        match about:
            case {"name": str(name), "dropped": dict(dropped), "fingerprint": str(fingerprint)}:
                corpus = _corpus(name, examples, targets, dropped=dropped)
            case _:
                raise ValueError(f"{directory / 'corpus.json'} must hold name, dropped and fingerprint")
        if corpus.fingerprint != fingerprint:
            raise ValueError(
                f"{directory}: the contents have fingerprint {corpus.fingerprint[:12]}, but {fingerprint[:12]} was "
                "saved; the files were changed since: build the corpus again"
            )
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
    return Corpus(
        name=name,
        examples=examples,
        targets=targets,
        tasks=tuple(sorted(examples["task"].unique().to_pylist())),
        supervisions=_in_order(targets["supervision"].unique().to_pylist()),
        dropped=dropped,
        fingerprint=_fingerprint(examples, targets),
    )


def _tables(examples: Sequence[Example], splits: Sequence[Split]) -> tuple[pa.Table, pa.Table]:
    """The two tables of a corpus."""
    example_columns = {
        "id": [example.id for example in examples],
        "task": [example.task for example in examples],
        "domain": [example.domain for example in examples],
        "kind": [example.kind for example in examples],
        "prompt": [example.prompt for example in examples],
        "answer": [example.answer for example in examples],
        "choices": [example.choices for example in examples],
        "split": splits,
    }
    names = _in_order({target.supervision for example in examples for target in example.targets})
    position = {name: index for index, name in enumerate(names)}
    rows = [
        (row, target)
        for row, example in enumerate(examples)
        for target in sorted(example.targets, key=lambda target: position[target.supervision])
    ]
    target_columns = {
        "example": [row for row, _ in rows],
        "supervision": [target.supervision for _, target in rows],
        "text": [target.text for _, target in rows],
        "verdict": [target.verdict for _, target in rows],
        "teach_flops": [target.teach.flops for _, target in rows],
        "teach_tokens": [target.teach.tokens for _, target in rows],
        "teach_dollars": [target.teach.dollars for _, target in rows],
        "compress_flops": [target.compress.flops for _, target in rows],
        "compress_tokens": [target.compress.tokens for _, target in rows],
        "compress_dollars": [target.compress.dollars for _, target in rows],
        "token_ratio": [target.token_ratio for _, target in rows],
        "char_ratio": [target.char_ratio for _, target in rows],
    }
    return pa.table(example_columns, schema=_EXAMPLES), pa.table(target_columns, schema=_TARGETS)


def _in_order(supervisions: Iterable[str]) -> tuple[str, ...]:
    """Supervisions by kind, in the order of SUPERVISION_KINDS, then by spelling."""
    return tuple(sorted(supervisions, key=lambda name: (SUPERVISION_KINDS.index(Supervision.parse(name).kind), name)))


def _fingerprint(*tables: pa.Table) -> str:
    """SHA-256 of the tables' columns; neither file layout nor the chunks of a column matter.

    A column of texts enters as their lengths and their concatenation, a column of lists as its lengths and its
    flattened items, any other as 8-byte integers or floats.
    """
    digest = hashlib.sha256()
    for table in tables:
        for name in table.column_names:
            digest.update(f"{name}\n{table.num_rows}\n".encode())
            column = table[name]
            if pa.types.is_list(column.type):
                lists = column.to_pylist()
                digest.update(np.array([len(items) for items in lists], dtype="<i8").tobytes())
                digest.update(_text_bytes([item for items in lists for item in items]))
            elif pa.types.is_string(column.type):
                digest.update(_text_bytes(column.to_pylist()))
            elif pa.types.is_floating(column.type):
                digest.update(column.to_numpy().astype("<f8").tobytes())
            else:
                digest.update(column.to_numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def _text_bytes(texts: list[str]) -> bytes:
    return np.array([len(text) for text in texts], dtype="<i8").tobytes() + "".join(texts).encode()
