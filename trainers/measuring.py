"""How measurements are cut into batches and what they cost, exactly, before they are made. No torch in here."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from trainers.batches import Integers, MicroBatch, pack, round_up
from trainers.pricing.flops import ModelShape, generate_flops
from trainers.pricing.step_price import reading_flops
from trainers.pricing.tuning import Adapters

PROMPT_MULTIPLE = 16
RESTART_TOKENS = (16, 32, 64, 128, 256, 512, 1024)
"""After so many new tokens a batch is regrouped: rows that have ended leave it, the others are read in again and go on.
One answer that rambles to the cap would otherwise keep a hundred finished ones company."""


def generation_phases(max_output_tokens: int) -> list[tuple[int, int]]:
    """(tokens already written, tokens to write at most) of each phase of generating one batch."""
    edges = [0, *(edge for edge in RESTART_TOKENS if edge < max_output_tokens), max_output_tokens]
    return [(start, end - start) for start, end in itertools.pairwise(edges)]


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
    """The most that generating for these prompts can cost, exactly as it would be batched."""
    total = 0
    for batch in prompt_batches(prompt_tokens_Q, batch_rows=batch_rows):
        longest = int(prompt_tokens_Q[batch].max()) + prefix_tokens
        for written, new_tokens in generation_phases(max_output_tokens):
            length = round_up(longest + written, PROMPT_MULTIPLE)
            total += generate_flops(
                shape, rows=len(batch), prompt_length=length, new_tokens=new_tokens, adapters=adapters
            )
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
