"""The one FLOP formula, for every purpose: matrix products as they are computed, and full quadratic attention.

For a batch of B rows, each L positions long (padding counted: it is computed), a dense decoder-only transformer does

    blocks      2 * B*L * w           w: weights of all linear layers in the blocks (gated MLP: three; GQA: narrow k, v)
    attention   4 * B*L*L * n*a       n layers of attention width a = heads * head_dim; scores and weighted values
    head        2 * H * v*d           v*d: vocabulary x hidden size; H: the positions at which the head is computed

multiply-adds counted as two. The embedding look-up is no matrix product. Backward costs twice the forward where all is
trained: one product for the gradient of the input, one for that of the weight. What frozen parts save, and what
adapters and recomputed activations add, is counted product by product (trainers/pricing/products.py). Norms,
activations, softmax, rotary angles and the optimizer are left out: below 1% of the products at the sizes we train.
Attention is billed in full, as eager attention computes it; a causal kernel may skip half of it, and the price of a
plan must not depend on the kernel. A sliding window is masked, not skipped, except where a decode step finds only the
window cached.

Generating t tokens is one prefill (head at one position a row) and t - 1 decode steps, each of one position a row
against all that came before it.

docs/flops.md derives every term and compares it with torch's own counter. torch is not needed to price anything: this
file is arithmetic.
"""

from __future__ import annotations

from trainers.pricing.linear_layers import ModelShape
from trainers.pricing.products import BACKWARD_OVER_FORWARD, Amount, forward_products, training_products
from trainers.pricing.tuning import EVERYTHING, Adapters, Tuning

__all__ = [
    "BACKWARD_OVER_FORWARD",
    "Amount",
    "ModelShape",
    "decode_flops",
    "forward_flops",
    "generate_flops",
    "train_flops",
]


def forward_flops(
    shape: ModelShape,
    *,
    rows: int,
    length: Amount,
    head_positions: Amount | int,
    adapters: Adapters | None = None,
) -> Amount:
    """FLOPs of one forward pass over `rows` x `length` positions, the head at `head_positions` of them.

    A prefill is a forward pass with the head at one position a row.
    """
    products = forward_products(shape, adapters)
    return products.flops(positions=rows * length, pairs=rows * length * length, head_positions=head_positions)


def train_flops(
    shape: ModelShape,
    *,
    rows: int,
    length: Amount,
    head_positions: Amount | int,
    tuning: Tuning = EVERYTHING,
    narrowed: bool = True,
) -> Amount:
    """FLOPs of one training pass, forward and backward, over `rows` x `length` positions.

    Args:
        narrowed: whether the last block's MLP is computed only where the head is, as our packed passes do.
    """
    products = training_products(shape, tuning, narrowed=narrowed)
    return products.flops(positions=rows * length, pairs=rows * length * length, head_positions=head_positions)


def decode_flops(shape: ModelShape, *, rows: int, attended: Amount, adapters: Adapters | None = None) -> Amount:
    """FLOPs of one decode step: one position in each of `rows` rows, against `attended` positions, itself included."""
    return _decoding(shape, rows=rows, cached=attended - 1, steps=1, adapters=adapters)


def generate_flops(
    shape: ModelShape, *, rows: int, prompt_length: Amount, new_tokens: int, adapters: Adapters | None = None
) -> Amount:
    """FLOPs of generating `new_tokens` tokens for each of `rows` prompts padded to `prompt_length`."""
    if new_tokens < 1:
        raise ValueError(f"an answer has at least one token, got new_tokens={new_tokens}")
    prefill = forward_flops(shape, rows=rows, length=prompt_length, head_positions=rows, adapters=adapters)
    return prefill + _decoding(shape, rows=rows, cached=prompt_length, steps=new_tokens - 1, adapters=adapters)


def _decoding(shape: ModelShape, *, rows: int, cached: Amount, steps: int, adapters: Adapters | None) -> Amount:
    """FLOPs of `steps` decode steps, the first with `cached` positions before it."""
    products = forward_products(shape, adapters)
    per_position = 2 * (products.position + products.head_position)
    attended = steps * cached + steps * (steps + 1) // 2  # sum over steps of the positions attended to
    pairs = (shape.layers - shape.windowed_layers) * attended
    if shape.windowed_layers:
        # Steps that still see everything, then steps that see the window: (|x| + x) / 2 is x where positive, else 0.
        room = shape.window - cached
        short = (abs(room) + room) // 2
        short = (short + steps - abs(short - steps)) // 2  # the lesser of both
        seen = short * cached + short * (short + 1) // 2 + (steps - short) * shape.window
        pairs = pairs + shape.windowed_layers * seen
    return rows * (steps * per_position + 4 * shape.attention_width * pairs)
