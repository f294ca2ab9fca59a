"""Prompts that stand twice: repeats and near-copies inside train, and what of the held-out splits leaks into train.

Compared are normalised prompts (curricula.splits): without case, with every run of spaces and punctuation as one space.

    equal        the whole normalised prompt, by a hash of 64 bits
    overlapping  one run of 13 words in common; of a shorter prompt the whole of it, which then is another short one
                 (Brown et al. 2020, Language models are few-shot learners, appendix C, for the 13 words)
    near-copy    an estimate: see curricula.description.near_copies

Two hashes are equal by chance with a probability of 5e-20: about 3e-8 for some pair of a million prompts, and 1e-5 for
all runs of a million training prompts against those of a hundred thousand held-out ones. The corpus is read several
times and never held; what is kept is about 400 bytes a prompt and 60 a run, of at most about 4 million runs at once.

Axes: G runs of words of held-out prompts, U different ones of them, N examples, R different training prompts, K minima.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curricula.description.near_copies import MINIMA, Minima, minima_of, near_copies
from curricula.description.word_runs import CHUNK_CHARS, Hashes, Rows, runs, whole_hashes
from curricula.splits import normalised
from curricula.types import SPLITS, Split

RUN_WORDS = 13
"""Words of a run that tells leakage."""
MOSTLY = 0.5
"""Share of its runs from which a held-out prompt counts as mostly found in train."""
SHOWN_PAIRS = 5
READ_COLUMNS = ("id", "prompt", "split")
HELD_OUT: tuple[Split, ...] = ("probe", "dev", "test")

_BLOCK_RUNS = 4_000_000  # held-out runs looked up at once

Read = Callable[[], Iterator[pa.RecordBatch]]
"""Reads a corpus's examples from the first, in batches with the columns READ_COLUMNS; always the same rows."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two examples with much in common, by id.

    Example:
        Pair(example="a1f0", earlier="99c2")
    """

    example: str
    earlier: str  # the training example it repeats


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """What of one held-out split stands in train too. Each count includes those before it.

    Example:
        Leakage(split="test", prompts=1319, equal=0, mostly=1, overlapping=3, pairs=(Pair(...),))
    """

    split: Split
    prompts: int
    equal: int  # the whole normalised prompt
    mostly: int  # at least MOSTLY of its runs of words
    overlapping: int  # at least one
    pairs: tuple[Pair, ...]  # the first few that overlap, each with the first training example that it overlaps


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Repeats, near-copies and leakage of a corpus.

    Example:
        Overlap(run_words=13, train_prompts=7473, repeated=4, near_copies=9, leakage=(...), ...)
    """

    run_words: int
    train_prompts: int
    repeated: int  # training prompts equal to an earlier one
    near_copies: int  # others, estimated to be nearly equal to an earlier one
    repeated_pairs: tuple[Pair, ...]
    near_pairs: tuple[Pair, ...]
    leakage: tuple[Leakage, ...]  # one for each held-out split that has examples


def measure_overlap(read: Read, *, run_words: int = RUN_WORDS) -> Overlap:
    """Compare a corpus's prompts with each other.

    Args:
        read: called some times; a prompt beyond its first million characters is not looked at.
        run_words: length of the runs that tell leakage, in words.

    Raises:
        ValueError: run_words is below 1.
    """
    if run_words < 1:
        raise ValueError(f"run_words must be at least 1, got {run_words}")
    whole_N, split_N, minima_R, row_R = _first_pass(read)
    train_N = np.flatnonzero(split_N == SPLITS.index("train"))
    first, at = np.unique(whole_N[train_N], return_index=True)
    earliest_N = train_N[at[np.searchsorted(first, whole_N[train_N])]] if len(train_N) else train_N
    repeats = np.flatnonzero(earliest_N != train_N)
    near = near_copies(minima_R, row_R)
    found = _look_up(read, split_N, run_words)
    held_N = np.flatnonzero(split_N != SPLITS.index("train"))
    equal_N = held_N[np.isin(whole_N[held_N], first)]
    pairs = {
        "repeated": [(int(train_N[row]), int(earliest_N[row])) for row in repeats[:SHOWN_PAIRS]],
        "near": [(int(row), int(earlier)) for row, earlier in near[:SHOWN_PAIRS]],
    }
    for split in HELD_OUT:
        rows = found.row_H[split_N[found.row_H] == SPLITS.index(split)][:SHOWN_PAIRS]
        pairs[split] = [(int(row), int(found.earlier_N[row])) for row in rows]
    named = _named(read, pairs)
    counts = {split: int((split_N == SPLITS.index(split)).sum()) for split in HELD_OUT}
    return Overlap(
        run_words=run_words,
        train_prompts=len(train_N),
        repeated=len(repeats),
        near_copies=len(near),
        repeated_pairs=named["repeated"],
        near_pairs=named["near"],
        leakage=tuple(
            Leakage(
                split=split,
                prompts=counts[split],
                equal=int((split_N[equal_N] == SPLITS.index(split)).sum()),
                mostly=int((split_N[found.mostly_H] == SPLITS.index(split)).sum()),
                overlapping=int((split_N[found.row_H] == SPLITS.index(split)).sum()),
                pairs=named[split],
            )
            for split in HELD_OUT
            if counts[split]
        ),
    )


def _prompts(batch: pa.RecordBatch, rows: Rows | None = None) -> list[str]:
    """A batch's prompts, or those of some of its rows, normalised."""
    column = batch.column("prompt")
    texts = column.to_pylist() if rows is None else column.take(pa.array(rows)).to_pylist()
    return [normalised(text[:CHUNK_CHARS]) for text in texts]


def _first_pass(read: Read) -> tuple[Hashes, NDArray[np.int8], Minima, Rows]:
    """Hash of every whole prompt, its split, and the minima of the training prompts that repeat no earlier one."""
    whole, splits, minima, kept = list[Hashes](), list[NDArray[np.int8]](), list[Minima](), list[Rows]()
    seen: set[int] = set()
    start = 0
    for batch in read():
        texts = _prompts(batch)
        hashes = whole_hashes(texts)
        split = np.array([SPLITS.index(name) for name in batch.column("split").to_pylist()], dtype=np.int8)
        fresh = list[int]()
        for place in np.flatnonzero(split == SPLITS.index("train")).tolist():
            if (key := int(hashes[place])) not in seen:
                seen.add(key)
                fresh.append(place)
        whole.append(hashes)
        splits.append(split)
        rows, found = minima_of([texts[place] for place in fresh])
        minima.append(found)
        kept.append(start + np.array(fresh, dtype=np.int64)[rows])
        start += len(texts)
    return (
        np.concatenate([np.zeros(0, np.uint64), *whole]),
        np.concatenate([np.zeros(0, np.int8), *splits]),
        np.concatenate([np.zeros((0, MINIMA), np.uint32), *minima]),
        np.concatenate([np.zeros(0, np.int64), *kept]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """H held-out prompts that overlap with train: ascending rows, those found mostly, and whom each overlaps first."""

    row_H: Rows
    mostly_H: Rows
    earlier_N: Rows


def _look_up(read: Read, split_N: NDArray[np.int8], run_words: int) -> _Found:
    """The held-out prompts with a run of words in train, block by block of held-out runs."""
    train = SPLITS.index("train")
    earlier_N = np.full(len(split_N), len(split_N), dtype=np.int64)
    mostly, start = list[Rows](), 0
    while start < len(split_N):
        run_G, owner_G, start = _held_out_runs(read, split_N, run_words, start)
        if not len(run_G):
            continue
        unique_U, unique_of_G = np.unique(run_G, return_inverse=True)
        earlier_U = np.full(len(unique_U), len(split_N), dtype=np.int64)
        for batch_start, batch in _numbered(read):
            rows = np.flatnonzero(split_N[batch_start : batch_start + batch.num_rows] == train)
            for place, sought_G in runs(_prompts(batch, rows), run_words):
                at = np.minimum(np.searchsorted(unique_U, sought_G), len(unique_U) - 1)
                there = np.flatnonzero(unique_U[at] == sought_G)
                np.minimum.at(earlier_U, at[there], batch_start + rows[place[there]])
        earlier_G = earlier_U[unique_of_G]
        np.minimum.at(earlier_N, owner_G, earlier_G)
        base = int(owner_G[0])
        hits = np.bincount(owner_G - base, weights=earlier_G < len(split_N))
        mostly.append(base + np.flatnonzero((hits > 0) & (hits >= MOSTLY * np.bincount(owner_G - base))))
    row_H = np.flatnonzero(earlier_N < len(split_N))
    return _Found(row_H=row_H, mostly_H=np.concatenate([np.zeros(0, np.int64), *mostly]), earlier_N=earlier_N)


def _held_out_runs(read: Read, split_N: NDArray[np.int8], run_words: int, start: int) -> tuple[Hashes, Rows, int]:
    """Runs of the held-out prompts from example `start` on, their owners ascending, and the example to go on with."""
    found, owners, total, row = list[Hashes](), list[Rows](), 0, start
    for batch_start, batch in _numbered(read):
        row = batch_start + batch.num_rows
        if row <= start:
            continue
        rows = np.flatnonzero(split_N[batch_start:row] != SPLITS.index("train"))
        rows = rows[batch_start + rows >= start]
        for place, run_G in runs(_prompts(batch, rows), run_words):
            found.append(run_G)
            owners.append(batch_start + rows[place])
            total += len(run_G)
        if total >= _BLOCK_RUNS:
            break
    order = np.argsort(np.concatenate([np.zeros(0, np.int64), *owners]), kind="stable")
    return (
        np.concatenate([np.zeros(0, np.uint64), *found])[order],
        np.concatenate([np.zeros(0, np.int64), *owners])[order],
        row,
    )


def _numbered(read: Read) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches, each with the row of its first example."""
    start = 0
    for batch in read():
        yield start, batch
        start += batch.num_rows


def _named(read: Read, pairs: dict[str, list[tuple[int, int]]]) -> dict[str, tuple[Pair, ...]]:
    """Pairs of rows as pairs of ids."""
    wanted = np.unique([row for some in pairs.values() for pair in some for row in pair]).astype(np.int64)
    names: dict[int, str] = {}
    for start, batch in _numbered(read) if len(wanted) else ():
        here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
        ids = batch.column("id").take(pa.array(here - start)).to_pylist()
        names.update(zip(here.tolist(), ids, strict=True))
    return {
        kind: tuple(Pair(example=names[row], earlier=names[earlier]) for row, earlier in some)
        for kind, some in pairs.items()
    }
