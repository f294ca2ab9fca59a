"""Meters of compute as papers publish them, beside ours, so that figures can be compared. They charge nothing.

Legend: N parameters, D tokens; l length, V vocabulary, d hidden size, f MLP width, h heads, n layers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainers.pricing.architectures import Dimensions
from trainers.pricing.products import Amount

BACKWARD_AND_FORWARD = 3


def six_n_d_flops(parameters: int, tokens: Amount) -> Amount:
    """Training FLOPs as 6 N D (Kaplan et al., arXiv 2001.08361): no attention, no padding, every position scored.

    N is taken with the embeddings here, as literature on small students does; their look-up is no product, but a tied
    head is one.
    """
    return 6 * parameters * tokens


def two_n_flops(parameters: int, tokens: Amount) -> Amount:
    """Inference FLOPs as 2 N for every token, read or written: no attention, the head scored at every position."""
    return 2 * parameters * tokens


def hoffmann_forward_flops(size: Dimensions, length: Amount) -> Amount:
    """Forward FLOPs over one sequence, as "Scale or Reason?" (arXiv 2509.22193) publishes them after Hoffmann et al.

        2lVd [embedding] + n (6ld^2 + 2l^2 d + 3l^2 h + 2l^2 d + 2ld^2) [attention] + n 4ldf [MLP] + 2ldV [logits]

    As published, so with its flaws: two matrices in the MLP (a gated one has three: 6ldf), keys and values as wide as
    queries (grouped queries are ignored), the embedding look-up billed as a product, logits at every position.
    """
    return _blocks(size, length) + 2 * (2 * length * size.vocabulary * size.hidden)


def hoffmann_train_flops(size: Dimensions, length_N: NDArray[np.int64]) -> int:
    """Training FLOPs over N sequences, each seen once: three forward passes; padding and recomputation not counted."""
    return BACKWARD_AND_FORWARD * int(hoffmann_forward_flops(size, length_N.astype(np.int64)).sum())


def hoffmann_prefill_flops(size: Dimensions, length: Amount) -> Amount:
    """FLOPs of reading a prompt: a forward pass with logits at its last position alone."""
    return _blocks(size, length) + 2 * length * size.vocabulary * size.hidden + 2 * size.hidden * size.vocabulary


def hoffmann_decode_flops(size: Dimensions, length: Amount) -> Amount:
    """FLOPs of writing the token at position `length`:

    2dV [embedding] + n (6d^2 + 2ld + 3lh + 2ld + 2d^2) [attention] + n 4df [MLP] + 2dV [logits]
    """
    hidden, heads = size.hidden, size.heads
    attention = 8 * hidden * hidden + 4 * length * hidden + 3 * length * heads
    return 4 * hidden * size.vocabulary + size.layers * (attention + 4 * hidden * size.mlp_width)


def hoffmann_generate_flops(size: Dimensions, *, prompt_length: int, new_tokens: int) -> int:
    """FLOPs of one answer: the prefill, then a decode step for each of its tokens at positions after the prompt.

    The prefill's own token is billed again as a decode step: so published.
    """
    position_T = prompt_length + np.arange(1, new_tokens + 1, dtype=np.int64)
    return hoffmann_prefill_flops(size, prompt_length) + int(hoffmann_decode_flops(size, position_T).sum())


def _blocks(size: Dimensions, length: Amount) -> Amount:
    """FLOPs of all blocks over one sequence."""
    hidden, heads = size.hidden, size.heads
    attention = 8 * length * hidden * hidden + length * length * (4 * hidden + 3 * heads)
    return size.layers * (attention + 4 * length * hidden * size.mlp_width)
