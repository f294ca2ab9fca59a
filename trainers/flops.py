"""The one FLOP formula, for every purpose: matrix products as they are computed, and full quadratic attention.

For a batch of B rows, each L positions long (padding counted: it is computed), a dense decoder-only transformer does

    blocks      2 * B*L * w           w: weights of all linear layers in the blocks (gated MLP: three; GQA: narrow k, v)
    attention   4 * B*L*L * n*a       n layers of attention width a = heads * head_dim; scores and weighted values
    head        2 * H * v*d           v*d: vocabulary x hidden size; H: the positions at which the head is computed

multiply-adds counted as two. The embedding look-up is no matrix product. Backward costs twice the forward: one product
for the gradient of the input, one for that of the weight. Norms, activations, softmax and the optimizer are left out:
below 1% of the products at the sizes we train. Attention is billed in full, as eager attention computes it; a causal
kernel may skip half of it, and the price of a plan must not depend on the kernel.

Generating t tokens is one prefill (head at one position a row) and t - 1 decode steps, each of one position a row
against all that came before it.

torch is not needed to price anything: this file is arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Amount = TypeVar("Amount", int, NDArray[np.int64])
"""One amount, or one for every example of a table."""

BACKWARD_OVER_FORWARD = 2


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What of an architecture decides its FLOPs.

    Example: three blocks, 128 wide, 4 heads of 32, a gated MLP of 352 and 260 tokens.
        ModelShape(layers=3, block_weights=3 * (4 * 128 * 128 + 3 * 128 * 352), attention_width=128,
                   head_weights=260 * 128, parameters=635_000)
    """

    layers: int
    block_weights: int  # weights of all linear layers of all blocks
    attention_width: int  # heads x head dimension, of the queries
    head_weights: int  # vocabulary x hidden size, tied or not
    parameters: int  # all of them, for people and for disk


def forward_flops(shape: ModelShape, *, rows: int, length: Amount, head_positions: Amount | int) -> Amount:
    """FLOPs of one forward pass over `rows` x `length` positions, the head at `head_positions` of them."""
    blocks = 2 * rows * length * shape.block_weights
    attention = 4 * rows * length * length * shape.layers * shape.attention_width
    return blocks + attention + 2 * head_positions * shape.head_weights


def train_flops(shape: ModelShape, *, rows: int, length: Amount, head_positions: Amount | int) -> Amount:
    """FLOPs of one training pass, forward and backward, with every part trained and nothing recomputed."""
    forward = forward_flops(shape, rows=rows, length=length, head_positions=head_positions)
    return (1 + BACKWARD_OVER_FORWARD) * forward


def generate_flops(shape: ModelShape, *, rows: int, prompt_length: Amount, new_tokens: int) -> Amount:
    """FLOPs of generating `new_tokens` tokens for each of `rows` prompts padded to `prompt_length`."""
    if new_tokens < 1:
        raise ValueError(f"an answer has at least one token, got new_tokens={new_tokens}")
    prefill = forward_flops(shape, rows=rows, length=prompt_length, head_positions=rows)
    steps = new_tokens - 1
    attended = steps * prompt_length + steps * (steps + 1) // 2  # sum over steps of the positions attended to
    per_position = 2 * (shape.block_weights + shape.head_weights)
    return prefill + rows * (steps * per_position + 4 * attended * shape.layers * shape.attention_width)
