"""Examples as Arrow columns: the two tables of a corpus, a bundle of rows on their way to one, and what identifies it.

EXAMPLES  id, task, domain, kind, prompt, answer, choices, split                one row per example, in input order
TARGETS   example, supervision, text, verdict, what it cost, its ratios         `example` is a row of the other
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa

from curricula.types import (
    ANSWER_KINDS,
    DOMAINS,
    SPLITS,
    SUPERVISION_KINDS,
    VERDICTS,
    AnswerKind,
    Cost,
    Domain,
    Example,
    Split,
    Supervision,
    Target,
    Verdict,
)

EXAMPLES = pa.schema(
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
TARGETS = pa.schema(
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


def example_table(examples: Sequence[Example], ids: Sequence[str], splits: Sequence[str | None]) -> pa.Table:
    """The EXAMPLES rows of some examples, with ids and splits from beside them."""
    columns = {
        "id": ids,
        "task": [example.task for example in examples],
        "domain": [example.domain for example in examples],
        "kind": [example.kind for example in examples],
        "prompt": [example.prompt for example in examples],
        "answer": [example.answer for example in examples],
        "choices": [example.choices for example in examples],
        "split": splits,
    }
    return pa.table(columns, schema=EXAMPLES)


def target_table(targets_N: Sequence[Sequence[Target]]) -> pa.Table:
    """The TARGETS rows of each example's targets, which stand in the order of `supervision_rank`."""
    rows: list[int] = []
    targets: list[Target] = []
    for row, own in enumerate(targets_N):
        rows.extend([row] * len(own))
        targets.extend(own if len(own) < 2 else sorted(own, key=_rank))
    teach = [target.teach for target in targets]
    compress = [target.compress for target in targets]
    columns = {
        "example": rows,
        "supervision": [target.supervision for target in targets],
        "text": [target.text for target in targets],
        "verdict": [target.verdict for target in targets],
        "teach_flops": [cost.flops for cost in teach],
        "teach_tokens": [cost.tokens for cost in teach],
        "teach_dollars": [cost.dollars for cost in teach],
        "compress_flops": [cost.flops for cost in compress],
        "compress_tokens": [cost.tokens for cost in compress],
        "compress_dollars": [cost.dollars for cost in compress],
        "token_ratio": [target.token_ratio for target in targets],
        "char_ratio": [target.char_ratio for target in targets],
    }
    return pa.table(columns, schema=TARGETS)


def examples_of(examples: pa.Table, targets: pa.Table, *, first_row: int = 0) -> list[Example]:
    """The examples that some rows of both tables hold.

    Args:
        targets: those of these examples, in order; `example` counts from `first_row`.
    """
    targets_N: list[list[Target]] = [[] for _ in range(examples.num_rows)]
    for row, target in zip(targets["example"].to_pylist(), _targets(targets), strict=True):
        targets_N[row - first_row].append(target)
    columns = [examples[name].to_pylist() for name in EXAMPLES.names]
    return [
        Example(
            id=identity,
            task=task,
            domain=_DOMAIN[domain],
            kind=_KIND[kind],
            prompt=prompt,
            answer=answer,
            choices=tuple(choices),
            split=_SPLIT[split],
            targets=tuple(own),
        )
        for (identity, task, domain, kind, prompt, answer, choices, split), own in zip(
            zip(*columns, strict=True), targets_N, strict=True
        )
    ]


def supervision_order(supervisions: Iterable[str]) -> tuple[str, ...]:
    """Supervisions by kind, in the order of SUPERVISION_KINDS, then by spelling."""
    return tuple(sorted(supervisions, key=supervision_rank))


@lru_cache(maxsize=4096)
def supervision_rank(spelling: str) -> tuple[int, str]:
    """What supervisions are ordered by: their kind, then their spelling."""
    return SUPERVISION_KINDS.index(Supervision.parse(spelling).kind), spelling


class Fingerprint:
    """SHA-256 of a corpus's two tables, taken piece by piece; neither file layout nor the cut of the pieces matters.

    Each column is hashed by itself, so that one (the split) may be added after the others. A column of texts enters
    as their lengths in bytes and their concatenated UTF-8, a column of lists as its lengths and its flattened items,
    any other as 8-byte integers or floats, NaN where null. The fingerprint is the hash of every column's name, length
    and hashes, in the order of the schemas.

    Example:
        fingerprint = Fingerprint()
        fingerprint.add("examples", examples)
        fingerprint.add("targets", targets)
        fingerprint.hexdigest()
    """

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}
        self._rows: dict[str, int] = {}

    def add(self, table_name: str, piece: pa.Table) -> None:
        """Go on with the columns that a piece has."""
        for name in piece.column_names:
            key = f"{table_name}.{name}"
            self._rows[key] = self._rows.get(key, 0) + piece.num_rows
            for chunk in piece[name].chunks:
                self._add(key, chunk)

    def hexdigest(self) -> str:
        """The fingerprint, in hex."""
        whole = hashlib.sha256()
        for table_name, schema in (("examples", EXAMPLES), ("targets", TARGETS)):
            for name in schema.names:
                key = f"{table_name}.{name}"
                whole.update(f"{key}\n{self._rows.get(key, 0)}\n".encode())
                for part in ("", ".bytes", ".items", ".items.bytes"):
                    if f"{key}{part}" in self._parts:
                        whole.update(self._parts[f"{key}{part}"].digest())
        return whole.hexdigest()

    def _add(self, key: str, array: pa.Array) -> None:
        if not len(array):
            return
        if isinstance(array, pa.ListArray):
            self._numbers(key, np.diff(array.offsets.to_numpy()))
            self._add(f"{key}.items", array.flatten())
        elif isinstance(array, pa.StringArray):
            _, offset_buffer, text_buffer = array.buffers()
            assert offset_buffer is not None
            offsets = np.frombuffer(offset_buffer, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
            self._numbers(key, np.diff(offsets))
            part = self._part(f"{key}.bytes")
            if text_buffer is not None:
                part.update(text_buffer.slice(int(offsets[0]), int(offsets[-1] - offsets[0])))
        else:
            self._numbers(key, array.to_numpy(zero_copy_only=False))

    def _numbers(self, key: str, array: np.ndarray[tuple[int], np.dtype[np.number]]) -> None:
        kind = "<f8" if np.issubdtype(array.dtype, np.floating) else "<i8"
        self._part(key).update(np.ascontiguousarray(array, dtype=kind).data)

    def _part(self, key: str) -> hashlib._Hash:
        return self._parts.setdefault(key, hashlib.sha256())


def _rank(target: Target) -> tuple[int, str]:
    return supervision_rank(target.supervision)


def _targets(targets: pa.Table) -> list[Target]:
    """Rows of TARGETS as objects."""
    names = ("supervision", "text", "verdict", "token_ratio", "char_ratio")
    columns = [targets[name].to_pylist() for name in names]
    costs = [
        [
            Cost(flops=flops, tokens=tokens, dollars=dollars) if flops or tokens or dollars else _FREE
            for flops, tokens, dollars in zip(
                *(targets[f"{purpose}_{unit}"].to_pylist() for unit in ("flops", "tokens", "dollars")), strict=True
            )
        ]
        for purpose in ("teach", "compress")
    ]
    return [
        Target(
            supervision=supervision,
            text=text,
            verdict=_VERDICT[verdict],
            teach=teach,
            compress=compress,
            token_ratio=token_ratio,
            char_ratio=char_ratio,
        )
        for supervision, text, verdict, token_ratio, char_ratio, teach, compress in zip(*columns, *costs, strict=True)
    ]


_FREE = Cost()
_DOMAIN: dict[str, Domain] = {domain: domain for domain in DOMAINS}
_KIND: dict[str, AnswerKind] = {kind: kind for kind in ANSWER_KINDS}
_SPLIT: dict[str, Split] = {split: split for split in SPLITS}
_VERDICT: dict[str, Verdict] = {verdict: verdict for verdict in VERDICTS}
