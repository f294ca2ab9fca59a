"""From a plan to the exact optimizer steps of a stage: data order, shapes and price, before anything is computed.

    plan --draw--> rows, pass after pass --cut by step_tokens--> steps --split by length--> micro-batches

Data order is a function of (seed, the plan's rows, rows already drawn): a stage cut in two draws what one would.
Rows of a step are a fair sample of the plan, whatever their length; inside a step they are grouped by length, so that
a five-token answer is not padded to a four-hundred-token trace, and shapes are rounded up, so that few are distinct.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.types import Floats
from trainers.pricing.flops import ModelShape, train_flops
from trainers.pricing.tuning import EVERYTHING, Tuning

Integers = NDArray[np.integer]
"""Whole numbers of any width."""

LENGTH_MULTIPLE = 8  # a row's length is rounded up to this ...
LONG_LENGTH_MULTIPLE = 32  # ... and to this from LONG_LENGTH on
LONG_LENGTH = 128
HEAD_MULTIPLE = 32  # so are the supervised positions of a micro-batch
MICRO_BATCH_OVERHEAD_TOKENS = 128  # what one more micro-batch costs, in token positions; decides the split alone


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchSizes:
    """How rows are made into steps.

    Example:
        BatchSizes(step_tokens=2048, micro_batch_tokens=4096)
    """

    step_tokens: int  # unpadded tokens of one optimizer step, reached or passed by its last row
    micro_batch_tokens: int  # padded positions computed at once, at most (or one row)


@dataclass(frozen=True, kw_only=True, eq=False)
class MicroBatch:
    """Rows computed together: B plan rows padded to one length."""

    row_B: NDArray[np.int64]
    length: int  # positions of every row, padding counted
    head_positions: int  # supervised positions, rounded up
    supervised_tokens: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One optimizer step and its price."""

    micro_batches: tuple[MicroBatch, ...]
    flops: int
    positions: int
    supervised_tokens: int

    @property
    def rows(self) -> int:
        """Rows drawn for the step."""
        return sum(len(batch.row_B) for batch in self.micro_batches)

    @property
    def row_B(self) -> NDArray[np.int64]:
        """The plan rows drawn for the step."""
        return np.concatenate([batch.row_B for batch in self.micro_batches])


def rows_digest(example_R: Integers, supervision_R: Integers, share_R: Floats) -> str:
    """Identity of a plan's rows and shares, the key of its data order."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(example_R, dtype=np.int64).tobytes())
    digest.update(np.ascontiguousarray(supervision_R, dtype=np.int64).tobytes())
    digest.update(np.ascontiguousarray(share_R / share_R.sum(), dtype=np.float64).tobytes())
    return digest.hexdigest()[:32]


def draw_rows(share_R: Floats, *, seed: int, key: str, drawn: int) -> Iterator[NDArray[np.int64]]:
    """Rows in order, one array a pass, from the `drawn`-th row on, without end.

    A pass has as many draws as there are rows. Row r is drawn share_r * R times in expectation: its whole part in
    every pass, the fractional part by systematic sampling (one uniform offset a pass), then the pass is shuffled. So
    equal shares give plain epochs, each row once.
    """
    rows = len(share_R)
    expected_R = share_R * (rows / share_R.sum())
    # An expected count a rounding error away from a whole number is meant to be that number.
    expected_R = np.where(np.abs(expected_R - np.rint(expected_R)) < 1e-9, np.rint(expected_R), expected_R)
    edges_R = np.cumsum(expected_R)
    number, skip = divmod(drawn, rows)
    while True:
        entropy = int.from_bytes(hashlib.sha256(f"{seed}/{key}/{number}".encode()).digest()[:16], "little")
        rng = np.random.Generator(np.random.PCG64(entropy))
        counts_R = np.diff(np.floor(edges_R + rng.random()), prepend=0.0).astype(np.int64)
        order = np.repeat(np.arange(rows, dtype=np.int64), counts_R)
        rng.shuffle(order)
        order = _exactly(order, rows, rng)
        yield order[skip:]
        number, skip = number + 1, 0


def _exactly(order: NDArray[np.int64], rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A pass of exactly `rows` draws: the random offset can give one draw more or less."""
    if len(order) >= rows:
        return order[:rows]
    return np.concatenate([order, rng.integers(0, rows, rows - len(order))])


def round_up(value: int, multiple: int) -> int:
    """The next multiple at or above a value."""
    return -(-value // multiple) * multiple


def padded_length(length_N: Integers) -> NDArray[np.int64]:
    """Lengths in tokens as they are computed: rounded up to few distinct ones."""
    multiple_N = np.where(length_N < LONG_LENGTH, LENGTH_MULTIPLE, LONG_LENGTH_MULTIPLE)
    return -(-length_N.astype(np.int64) // multiple_N) * multiple_N


def micro_batch_flops(shape: ModelShape, batch: MicroBatch, tuning: Tuning = EVERYTHING) -> int:
    """Price of training on one micro-batch."""
    return train_flops(
        shape, rows=len(batch.row_B), length=batch.length, head_positions=batch.head_positions, tuning=tuning
    )


def cut(batch: MicroBatch, target_tokens_R: Integers, *, micro_batch_tokens: int) -> tuple[MicroBatch, ...]:
    """A micro-batch in parts of at most `micro_batch_tokens` positions (or one row) that cost together what it costs.

    The positions that its head was rounded up by go to the last part.
    """
    size = max(1, micro_batch_tokens // batch.length)
    if len(batch.row_B) <= size:
        return (batch,)
    parts = []
    left = batch.head_positions
    for row_B in np.array_split(batch.row_B, -(-len(batch.row_B) // size)):
        supervised = int(target_tokens_R[row_B].sum())
        parts.append(
            MicroBatch(row_B=row_B, length=batch.length, head_positions=supervised, supervised_tokens=supervised)
        )
        left -= supervised
    last = parts[-1]
    return (*parts[:-1], dataclasses.replace(last, head_positions=last.head_positions + left))


def split_by_length(
    row_B: NDArray[np.int64], length_B: NDArray[np.int64], target_B: NDArray[np.int64], *, micro_batch_tokens: int
) -> tuple[MicroBatch, ...]:
    """Micro-batches of similar length with the least computed positions, a fixed overhead counted for each.

    An exact dynamic programme over the distinct lengths, shortest first: best[j] is the least cost of all rows up to
    length j, its last group reaching back to some i.
    """
    order_B = np.lexsort((row_B, length_B))
    row_B, length_B, target_B = row_B[order_B], length_B[order_B], target_B[order_B]
    lengths, counts = np.unique(length_B, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(counts)])
    best = np.zeros(len(lengths) + 1)
    came_from = np.zeros(len(lengths) + 1, dtype=np.int64)
    for j in range(1, len(lengths) + 1):
        cost = best[:j] + (ends[j] - ends[:j]) * lengths[j - 1] + MICRO_BATCH_OVERHEAD_TOKENS
        came_from[j] = int(np.argmin(cost))
        best[j] = cost[came_from[j]]
    groups = []
    j = len(lengths)
    while j > 0:
        groups.append((int(ends[came_from[j]]), int(ends[j]), int(lengths[j - 1])))
        j = int(came_from[j])
    batches = []
    for start, end, length in reversed(groups):
        size = max(1, micro_batch_tokens // length)
        parts = -(-(end - start) // size)
        for part in np.array_split(np.arange(start, end), parts):
            supervised = int(target_B[part].sum())
            batches.append(
                MicroBatch(
                    row_B=row_B[part],
                    length=length,
                    head_positions=round_up(supervised, HEAD_MULTIPLE),
                    supervised_tokens=supervised,
                )
            )
    return tuple(batches)


def plan_steps(
    *,
    prompt_tokens_R: Integers,
    target_tokens_R: Integers,
    share_R: Floats,
    shape: ModelShape,
    sizes: BatchSizes,
    ceiling_flops: int,
    seed: int,
    key: str,
    drawn: int,
    tuning: Tuning = EVERYTHING,
) -> tuple[tuple[Step, ...], int]:
    """All steps that `ceiling_flops` buys, none beyond it, and the price of the one that no longer fits.

    Args:
        prompt_tokens_R, target_tokens_R: lengths of every plan row, the end token counted in the target.
        key: the plan's `rows_digest`.
        drawn: rows that earlier stages of this checkpoint's line already drew under that key.
        tuning: what is trained, which decides the price.
    """
    target_R = target_tokens_R.astype(np.int64)
    total_R = prompt_tokens_R.astype(np.int64) + target_R
    padded_R = padded_length(total_R)
    steps: list[Step] = []
    spent, pending = 0, np.zeros(0, dtype=np.int64)
    for order in draw_rows(share_R, seed=seed, key=key, drawn=drawn):
        pending = np.concatenate([pending, order])
        cumulative = np.cumsum(total_R[pending])
        start = 0
        while True:
            before = int(cumulative[start - 1]) if start else 0
            end = int(np.searchsorted(cumulative, before + sizes.step_tokens)) + 1
            if end > len(pending):
                break
            row_B = pending[start:end]
            batches = split_by_length(
                row_B, padded_R[row_B], target_R[row_B], micro_batch_tokens=sizes.micro_batch_tokens
            )
            flops = sum(micro_batch_flops(shape, batch, tuning) for batch in batches)
            if spent + flops > ceiling_flops:
                return tuple(steps), flops
            spent += flops
            steps.append(
                Step(
                    micro_batches=batches,
                    flops=flops,
                    positions=sum(len(batch.row_B) * batch.length for batch in batches),
                    supervised_tokens=sum(batch.supervised_tokens for batch in batches),
                )
            )
            start = end
        pending = pending[start:]
    raise AssertionError("draw_rows is endless")
