"""Corpora of any size: Ray Data reads and works in processes, one writer puts the results together in order.

    chunks --read, or read and put through a step, in workers--> bundles --CorpusWriter, here--> a corpus folder

What is computed does not depend on the number of workers: pieces are cut by the source alone and written in its order.
With 0 workers everything happens in this process and Ray is not started, which is quickest for small sources.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from curricula.layouts.layout import Layout
from curricula.sieve import Sifted, sift
from curricula.stream.bundle import Bundle
from curricula.stream.intake import Drop, Intake
from curricula.stream.rows import Chunk
from curricula.stream.sources import known_rows
from curricula.stream.stored import StoredCorpus, StoredRows
from curricula.stream.writer import CorpusWriter, Written
from curricula.types import Example

BUNDLE_ROWS = 2048
"""The most rows that are read, checked and sent together."""
BUNDLE_CHARS = 4 * 1024 * 1024
"""Fewer are, once their texts have so many characters."""
PIECES_PER_WORKER = 8
"""A corpus is cut into at least so many pieces for each worker, where it is large enough, so that all have work."""
MALFORMED = "malformed example"

Step = Callable[[Sequence[Example]], Intake]
"""What is done to some examples: those that go on, and what was left out and why."""
Progress = Callable[[int, int | None], None]
"""Told the rows done and the rows there are, None where no one knows."""
Item = TypeVar("Item", contravariant=True)


class Work(Protocol[Item]):
    """What one process does with one piece after another."""

    def __call__(self, item: Item) -> Iterator[Bundle]:
        """Do one piece.

        Raises:
            ValueError, OSError: it cannot be done; the message is one line for a person.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an import or a transformation."""

    written: Written
    rows: int  # raw rows, or examples, that were read
    seconds: float  # from the first piece to the corpus in its place; starting Ray and its workers included


def import_rows(
    chunks: Sequence[Chunk],
    layout: Layout,
    output_dir: Path,
    *,
    name: str,
    workers: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Make a corpus of the raw rows of some chunks.

    Raises:
        ValueError: a file is broken as a whole, there are fewer cores than workers, or what `CorpusWriter.open` raises.
        OSError: the disk is full, or the like.
        WorkerLostError: a worker died again and again.
    """
    started = time.monotonic()
    with CorpusWriter.open(output_dir, name=name, strict=strict) as writer:
        bundles = _bundles(chunks, _MakeImport(layout=layout), workers)
        rows = _write(bundles, writer, known_rows(chunks), progress)
    return Outcome(written=writer.written(), rows=rows, seconds=time.monotonic() - started)


def transform_corpus(
    source: Path,
    output_dir: Path,
    make_step: Callable[[], Step],
    *,
    name: str | None = None,
    workers: int = 0,
    batch_examples: int = 256,
    strict: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Make a corpus of the examples of another, after a step; ids and splits stay.

    Args:
        source: the folder of a saved corpus; it may be `output_dir`.
        make_step: called once in each process, before its first batch; must pickle.
        name: of the new corpus; that of the source where None.
        workers: processes, each of one core; 0 for this one.
        batch_examples: examples given to the step at once, in the corpus's order.
        strict: whether any loss is an error.

    Raises:
        ValueError: the source is no corpus; the step, or making it, raised one; there are fewer cores than workers; or
            what `CorpusWriter.open` raises.
        OSError: the disk is full, or the like.
        WorkerLostError: a worker died again and again.
    """
    if batch_examples < 1:
        raise ValueError(f"batch_examples must be at least 1, got {batch_examples}")
    started = time.monotonic()
    stored = StoredCorpus.open(source)
    share = min(BUNDLE_ROWS, len(stored) // (PIECES_PER_WORKER * max(1, workers)))
    piece = batch_examples * max(1, share // batch_examples)  # whole batches: how they are grouped changes nothing
    pieces = [(start, min(len(stored), start + piece)) for start in range(0, len(stored), piece)]
    make_work = _MakeStepWork(stored=stored, make_step=make_step, batch_examples=batch_examples)
    with CorpusWriter.open(output_dir, name=name or stored.name, strict=strict, keep_splits=True) as writer:
        rows = _write(_bundles(pieces, make_work, workers), writer, len(stored), progress)
    return Outcome(written=writer.written(), rows=rows, seconds=time.monotonic() - started)


@dataclass(frozen=True, kw_only=True)
class _MakeImport:
    layout: Layout

    def __call__(self) -> Work[Chunk]:
        return self._read

    def _read(self, item: Chunk) -> Iterator[Bundle]:
        """The bundles of one chunk."""
        sifted: list[Sifted] = []
        lost: list[Drop] = []
        chars = 0
        for found in item.read():
            if isinstance(found, Drop):
                lost.append(found)
            else:
                where, row = found
                chars += _take_in(self.layout.intake(row, where), where, item, sifted, lost)
            if len(sifted) + len(lost) >= BUNDLE_ROWS or chars >= BUNDLE_CHARS:
                yield Bundle.pack(sifted, lost=lost, rows=len(sifted) + len(lost))
                sifted, lost, chars = [], [], 0
        yield Bundle.pack(sifted, lost=lost, rows=len(sifted) + len(lost))


def _take_in(intake: Intake, where: str, chunk: Chunk, sifted: list[Sifted], lost: list[Drop]) -> int:
    """Add what came of one row to what was sifted and what was lost; the characters that were taken in."""
    if not intake.examples:
        lost.extend(intake.drops)
    chars = 0
    for example in intake.examples:
        if chunk.split is not None and example.split is None:
            example = replace(example, split=chunk.split)
        try:
            one = sift(example, where)
        except ValueError as error:
            lost.append(Drop(where=where, reason=MALFORMED, shown=str(error).removeprefix(f"{where}: ")))
            continue
        if intake.drops:  # targets that the layout has left out count as if the sieve had
            offered = one.offered_targets + len(intake.drops)
            one = replace(one, drops=(*intake.drops, *one.drops), offered_targets=offered)
        sifted.append(one)
        chars += len(example.prompt) + sum(len(target.text) for target in one.targets)
    return chars


@dataclass(frozen=True, kw_only=True)
class _MakeStepWork:
    stored: StoredCorpus
    make_step: Callable[[], Step]
    batch_examples: int

    def __call__(self) -> Work[tuple[int, int]]:
        rows, step = StoredRows(self.stored), self.make_step()

        def work(item: tuple[int, int]) -> Iterator[Bundle]:
            start, stop = item
            for first in range(start, stop, self.batch_examples):
                examples = rows.read(first, min(stop, first + self.batch_examples))
                intake = step(examples)
                sifted = [sift(example, f"example {example.id}") for example in intake.examples]
                yield Bundle.pack(sifted, left=intake.drops, rows=len(examples))

        return work


def _write(bundles: Iterable[Bundle], writer: CorpusWriter, total: int | None, progress: Progress | None) -> int:
    """Write all bundles; how many rows were read for them."""
    rows = 0
    for bundle in bundles:
        writer.add(bundle)
        rows += bundle.rows
        if progress is not None:
            progress(rows, total)
    return rows


def _bundles(items: Sequence[Item], make_work: Callable[[], Work[Item]], workers: int) -> Iterator[Bundle]:
    """What comes of all pieces, in their order."""
    if workers:
        # Imported where it is used: it takes 1.3 s and 100 MB, which a small source does without.
        from controller.traces.stream import in_workers

        yield from in_workers(items, make_work, workers)
        return
    work = make_work()
    for item in items:
        yield from work(item)
