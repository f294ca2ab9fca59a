"""From a plan to the exact optimizer steps of a stage: data order, shapes and price, before anything is computed.

    plan --draw--> rows, pass after pass --cut by step_tokens--> steps --pack--> micro-batches

Data order (trainers.order) depends on no more than the rows already drawn: a stage cut in two draws what one would.
Rows of a step are a fair sample of the plan, whatever their length. They are packed one after another, so that a
five-token answer is not padded to a four-hundred-token trace. Neighbours that attend together and hardly differ are
made equally long, and sizes are rounded up, so that few are distinct.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.types import Floats
from trainers.order import draw_rows

Integers = NDArray[np.integer]
"""Whole numbers of any width."""

GROUP_OVERHEAD_PAIRS = 8192
"""What one more call of attention costs, in pairs of positions; decides the groups alone."""
PADDING_SHARE = 1 / 32
"""Up to this share of their tokens, rows of a group are padded where they stand: a gather would cost more."""
SIZES_AN_OCTAVE = 128
"""Into how many sizes all between a power of two and the next are rounded up: few distinct shapes, little padding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchSizes:
    """How rows are made into steps.

    Example:
        BatchSizes(step_tokens=2048, micro_batch_tokens=4096)
    """

    step_tokens: int  # unpadded tokens of one optimizer step, reached or passed by its last row
    micro_batch_tokens: int  # tokens computed at once, at most (or one row)


@dataclass(frozen=True, kw_only=True, eq=False)
class MicroBatch:
    """Rows computed together: B plan rows one after another, the shortest first, with hardly any padding."""

    row_B: NDArray[np.int64]
    length_B: NDArray[np.int64]  # tokens of each row, prompt and target
    width_B: NDArray[np.int64]  # positions it takes: its tokens, or those of its group's longest row
    groups: tuple[tuple[int, int], ...]  # (first, one past the last) of the B that share one call of attention
    positions: int  # of all rows, rounded up
    head_positions: int  # supervised positions, rounded up
    supervised_tokens: int

    @property
    def pairs(self) -> int:
        """Pairs of positions that attention computes: every row of a group as long as the group's longest."""
        return sum((end - start) * int(self.width_B[end - 1]) ** 2 for start, end in self.groups)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One optimizer step and its price."""

    micro_batches: tuple[MicroBatch, ...]
    flops: int
    positions: int
    tokens: int  # unpadded
    supervised_tokens: int

    @property
    def rows(self) -> int:
        """Rows drawn for the step."""
        return sum(len(batch.row_B) for batch in self.micro_batches)

    @property
    def row_B(self) -> NDArray[np.int64]:
        """The plan rows drawn for the step."""
        return np.concatenate([batch.row_B for batch in self.micro_batches])


def round_up(value: int, multiple: int) -> int:
    """The next multiple at or above a value."""
    return -(-value // multiple) * multiple


def computed_size(count: int) -> int:
    """A count of positions as it is computed: rounded up by less than one in 128."""
    return round_up(count, max(1, 2 ** (count.bit_length() - 1) // SIZES_AN_OCTAVE))


def cut(batch: MicroBatch, target_tokens_R: Integers, *, micro_batch_tokens: int) -> tuple[MicroBatch, ...]:
    """A micro-batch in parts of at most `micro_batch_tokens` tokens (or one row) that cost together no more than it.

    What its positions were rounded up by goes to the last part.
    """
    ranges = _filled(batch.length_B, micro_batch_tokens)
    if len(ranges) == 1:
        return (batch,)
    parts = []
    for start, end in ranges:
        supervised = int(target_tokens_R[batch.row_B[start:end]].sum())
        shared = [(max(first, start) - start, min(last, end) - start) for first, last in batch.groups]
        parts.append(
            MicroBatch(
                row_B=batch.row_B[start:end],
                length_B=batch.length_B[start:end],
                width_B=batch.width_B[start:end],
                groups=tuple((first, last) for first, last in shared if first < last),
                positions=int(batch.width_B[start:end].sum()),
                head_positions=supervised,
                supervised_tokens=supervised,
            )
        )
    left = batch.positions - sum(part.positions for part in parts)
    head_left = batch.head_positions - sum(part.head_positions for part in parts)
    last = parts[-1]
    last = dataclasses.replace(last, positions=last.positions + left, head_positions=last.head_positions + head_left)
    return (*parts[:-1], last)


def pack(
    row_B: NDArray[np.int64], length_B: NDArray[np.int64], target_B: NDArray[np.int64], *, micro_batch_tokens: int
) -> tuple[MicroBatch, ...]:
    """Micro-batches of at most `micro_batch_tokens` tokens (or one row), rows of similar length in the same one."""
    order_B = np.lexsort((row_B, length_B))
    row_B, length_B, target_B = row_B[order_B], length_B[order_B], target_B[order_B]
    batches = []
    for start, end in _filled(length_B, micro_batch_tokens):
        supervised = int(target_B[start:end].sum())
        groups = attention_groups(length_B[start:end])
        width_B = _widths(length_B[start:end], groups)
        batches.append(
            MicroBatch(
                row_B=row_B[start:end],
                length_B=length_B[start:end],
                width_B=width_B,
                groups=groups,
                positions=computed_size(int(width_B.sum())),
                head_positions=computed_size(supervised),
                supervised_tokens=supervised,
            )
        )
    return tuple(batches)


def _filled(length_B: NDArray[np.int64], micro_batch_tokens: int) -> list[tuple[int, int]]:
    """Neighbouring rows in ranges of at most so many tokens (or one row), each filled before the next."""
    end_B = np.cumsum(length_B)
    ranges, start = [], 0
    while start < len(length_B):
        before = int(end_B[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(end_B, before + micro_batch_tokens, side="right")))
        ranges.append((start, end))
        start = end
    return ranges


def attention_groups(length_B: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Rows sorted by length in the groups with the least computed pairs, a fixed overhead counted for each.

    An exact dynamic programme over the distinct lengths, shortest first: best[j] is the least cost of all rows up to
    length j, its last group reaching back to some i.
    """
    lengths, counts = np.unique(length_B, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(counts)])
    best = np.zeros(len(lengths) + 1)
    came_from = np.zeros(len(lengths) + 1, dtype=np.int64)
    for j in range(1, len(lengths) + 1):
        cost = best[:j] + (ends[j] - ends[:j]) * lengths[j - 1] ** 2 + GROUP_OVERHEAD_PAIRS
        came_from[j] = int(np.argmin(cost))
        best[j] = cost[came_from[j]]
    groups = []
    j = len(lengths)
    while j > 0:
        groups.append((int(ends[came_from[j]]), int(ends[j])))
        j = int(came_from[j])
    return tuple(reversed(groups))


def _widths(length_B: NDArray[np.int64], groups: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """The positions that each row takes: rows of a group that hardly differ are as wide as the longest of them."""
    width_B = length_B.copy()
    for start, end in groups:
        tokens, padded = int(length_B[start:end].sum()), (end - start) * int(length_B[end - 1])
        if padded <= tokens * (1 + PADDING_SHARE):
            width_B[start:end] = length_B[end - 1]
    return width_B


def plan_steps(
    *,
    prompt_tokens_R: Integers,
    target_tokens_R: Integers,
    share_R: Floats,
    price: Callable[[MicroBatch], int],
    sizes: BatchSizes,
    ceiling_flops: int,
    seed: int,
    key: str,
    drawn: int,
    ceiling_tokens: int | None = None,
) -> tuple[tuple[Step, ...], Step]:
    """All steps that fit both ceilings, none beyond them, and the one that no longer fits.

    Args:
        prompt_tokens_R, target_tokens_R: lengths of every plan row, the end token counted in the target.
        price: FLOPs of training on a micro-batch, as `StepPrice.flops` tells them.
        key: the plan's `rows_digest`.
        drawn: rows that earlier stages of this checkpoint's line already drew under that key.
        ceiling_tokens: of unpadded tokens; none where None.
    """
    steps: list[Step] = []
    spent, spent_tokens, pending = 0, 0, np.zeros(0, dtype=np.int64)
    for order in draw_rows(share_R, seed=seed, key=key, drawn=drawn):
        pending = np.concatenate([pending, order])
        total_B = prompt_tokens_R[pending].astype(np.int64) + target_tokens_R[pending]
        cumulative = np.cumsum(total_B)
        start = 0
        while True:
            before = int(cumulative[start - 1]) if start else 0
            end = int(np.searchsorted(cumulative, before + sizes.step_tokens)) + 1
            if end > len(pending):
                break
            row_B = pending[start:end]
            batches = pack(
                row_B,
                total_B[start:end],
                target_tokens_R[row_B].astype(np.int64),
                micro_batch_tokens=sizes.micro_batch_tokens,
            )
            step = Step(
                micro_batches=batches,
                flops=sum(price(batch) for batch in batches),
                positions=sum(batch.positions for batch in batches),
                tokens=int(cumulative[end - 1]) - before,
                supervised_tokens=sum(batch.supervised_tokens for batch in batches),
            )
            spent, spent_tokens = spent + step.flops, spent_tokens + step.tokens
            if spent > ceiling_flops or (ceiling_tokens is not None and spent_tokens > ceiling_tokens):
                return tuple(steps), step
            steps.append(step)
            start = end
        pending = pending[start:]
    raise AssertionError("draw_rows is endless")
