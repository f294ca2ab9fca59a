"""How measurements are cut into batches and what they cost, exactly, before they are made. No torch in here."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.batches import Integers, MicroBatch, pack, round_up
from trainers.pricing.flops import ModelShape, decode_flops, forward_flops, generate_flops
from trainers.pricing.step_price import reading_flops
from trainers.pricing.tuning import Adapters

PROMPT_MULTIPLE = 16
"""A prompt is read at its length rounded up to a multiple of this, together with others of that length."""
CACHE_BYTES = 2 << 30
"""Of keys and values of answers written side by side; more where the model itself takes more."""
EDGES_TOKENS = (512, 4096, 32_768)
"""Where a cap lets answers grow longer than there is room for side by side, all are written so far at first; those that
have not ended are read in again and go on, fewer at once. One that rambles to a cap of 100,000 tokens would otherwise
decide how few may be written beside it from the first token on."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Part of writing one request's answers: everybody goes on from `start` tokens until it ends or has written `end`.

    Example: a request of 64 whose cap is 600 tokens, on a cache with room for 50 rows of prompt and 512.
        Phase(start=0, end=512, rows=50), Phase(start=512, end=600, rows=44)
    """

    start: int
    end: int
    rows: int  # side by side, at most


def spare_columns(columns: int) -> int:
    """Columns of a cache beyond those in use when it is moved, so that it is moved seldom."""
    return 32 + columns // 16


def cache_rows(shape: ModelShape, columns: int) -> int:
    """Rows of so many positions for which a cache has room, one at least. The cache is kept in fp32."""
    outputs = sum(layer.outputs for layer in shape.block if layer.role in ("query", "key", "value", "query_key_value"))
    width = outputs - shape.attention_width if shape.block else 2 * shape.attention_width  # of a key and a value
    row_bytes = 4 * shape.layers * width * (columns + spare_columns(columns))
    return max(1, max(CACHE_BYTES, 4 * shape.parameters) // row_bytes)


def generation_phases(shape: ModelShape, *, rows: int, longest: int, max_output_tokens: int) -> list[Phase]:
    """How a request of so many rows is written, of which the longest prompt has `longest` tokens.

    In one go where there is room for all of them up to the cap.
    """
    enough = cache_rows(shape, longest + max_output_tokens) >= rows
    between = () if enough else tuple(edge for edge in EDGES_TOKENS if edge < max_output_tokens)
    edges = (0, *between, max_output_tokens)
    return [
        Phase(start=start, end=end, rows=min(rows, cache_rows(shape, longest + end)))
        for start, end in itertools.pairwise(edges)
    ]


def prompt_batches(prompt_tokens_Q: Integers, *, batch_rows: int) -> list[NDArray[np.int64]]:
    """Positions 0..Q-1 sorted by prompt length and cut into batches of at most `batch_rows`."""
    order_Q = np.argsort(prompt_tokens_Q, kind="stable").astype(np.int64)
    return [order_Q[start : start + batch_rows] for start in range(0, len(order_Q), batch_rows)]


def generation_ceiling_flops(
    shape: ModelShape,
    prompt_tokens_Q: Integers,
    *,
    batch_rows: int,
    max_output_tokens: int,
    prefix_tokens: int,
    adapters: Adapters | None = None,
) -> int:
    """The most that generating for these prompts can cost, as requests of at most `batch_rows`.

    That is what they cost where all run to the cap, no prompt is shorter than the longest of its request, and there is
    room for all at once. Where there is not, a row may be written beside others that are almost done, and then attends
    to as many columns as they.
    """
    total = 0
    for batch in prompt_batches(prompt_tokens_Q, batch_rows=batch_rows):
        rows, longest = len(batch), int(prompt_tokens_Q[batch].max()) + prefix_tokens
        for phase in generation_phases(shape, rows=rows, longest=longest, max_output_tokens=max_output_tokens):
            length, new_tokens = round_up(longest + phase.start, PROMPT_MULTIPLE), phase.end - phase.start
            if phase.rows == rows:
                total += generate_flops(
                    shape, rows=rows, prompt_length=length, new_tokens=new_tokens, adapters=adapters
                )
                continue
            total += forward_flops(shape, rows=rows, length=length, head_positions=rows, adapters=adapters)
            attended = longest + phase.end - 1
            total += (new_tokens - 1) * decode_flops(shape, rows=rows, attended=attended, adapters=adapters)
    return total


def force_batches(
    prompt_tokens_Q: Integers, target_tokens_Q: Integers, *, micro_batch_tokens: int
) -> tuple[MicroBatch, ...]:
    """Teacher-forced rows of similar length together, at most `micro_batch_tokens` tokens computed at once."""
    return pack(
        np.arange(len(prompt_tokens_Q), dtype=np.int64),
        (prompt_tokens_Q + target_tokens_Q).astype(np.int64),
        target_tokens_Q.astype(np.int64),
        micro_batch_tokens=micro_batch_tokens,
    )


def force_flops(
    shape: ModelShape,
    prompt_tokens_Q: Integers,
    target_tokens_Q: Integers,
    *,
    micro_batch_tokens: int,
    adapters: Adapters | None = None,
) -> int:
    """What teacher-forcing these rows costs, exactly."""
    return sum(
        reading_flops(shape, batch, adapters)
        for batch in force_batches(prompt_tokens_Q, target_tokens_Q, micro_batch_tokens=micro_batch_tokens)
    )
