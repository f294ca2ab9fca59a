"""Attention inside a packed micro-batch: rows stand one after another, and none sees another.

    q, k, v of T positions --varlen kernel (bf16 on a GPU): row by row--------------------> output of T positions
                           \\-groups of rows of similar length, padded: dense attention--/

Linear layers compute hardly any padding. Of attention, rows of similar length share one call, padded to the longest:
`trainers/batches.py` plans the groups, and the ledger bills them on every device.

Legend: T packed positions, B rows, L positions of the longest row of a group, A heads, K key-value heads, W head width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from trainers.packing import Packing, gather, spread_out

PACKED, PACKED_EAGER = "packed", "packed_eager"
VARLEN_DTYPES = (torch.bfloat16, torch.float16)
"""Of the varlen kernel; fp32 on a GPU takes the dense way."""


Dense = Callable[
    [torch.nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, float | None, float | None],
    torch.Tensor,
]
"""(module, (B, A, L, W) queries, (B, K, L, W) keys, values, who sees whom (L, L), scaling, softcap) -> (B, L, A, W)."""


def _fused(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Torch's fused attention; soft-capped scores, which it does not know, are written out."""
    if softcap is not None:
        return _eager(module, query, key, value, seen, scaling, softcap)
    return sdpa_attention_forward(module, query, key, value, seen, scaling=scaling, is_causal=True)[0]


def _eager(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Both products of attention written out, so that scores can be capped and a FLOP counter sees them."""
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if seen is None:
        seen = _seen(query.shape[2], None, query.device)
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1, dtype=torch.float32).to(value.dtype)
    return (weights @ value).transpose(1, 2)


def _seen(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Which position sees which (L, L): itself and those before it, of a window the last `window`."""
    at = torch.arange(length, device=device)
    back = at[:, None] - at[None, :]
    return (back >= 0) & (back < window) if window is not None else back >= 0


def _packed(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packing: Packing | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    dense: Dense = _fused,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers asks for it, from a model that was handed a packing.

    Raises:
        ValueError: the model did not hand it on.
    """
    packing = _handed_on(packing, module)
    if torch.is_autocast_enabled(query.device.type):
        # Norms and rotary angles of some architectures leave queries and keys in fp32, values in bf16.
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if query.is_cuda and query.dtype in VARLEN_DTYPES and softcap is None:
        return _row_by_row(query, key, value, packing=packing, scaling=scaling, sliding_window=sliding_window), None
    outputs = []
    packed = (each[0].transpose(0, 1) for each in (query, key, value))
    for group, parts in zip(packing.groups, spread_out(packing, *packed), strict=True):
        q, k, v = (part.unflatten(0, (group.rows, group.length)).transpose(1, 2) for part in parts)
        windowed = sliding_window is not None and sliding_window < group.length
        mask = _seen(group.length, sliding_window, query.device) if windowed else None
        outputs.append(dense(module, q, k, v, mask, scaling, softcap).flatten(0, 1))
    return gather(packing, outputs, positions=query.shape[2])[None], None


def _row_by_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    packing: Packing,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """The varlen kernel: (1, A, T, W) queries, (1, K, T, W) keys and values -> (1, T, A, W)."""
    output = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        packing.starts,
        packing.starts,
        packing.longest,
        packing.longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, torch.Tensor)  # no auxiliary output was asked for
    return output[None]


def _handed_on(packing: Packing | None, module: torch.nn.Module) -> Packing:
    if packing is None:
        raise ValueError(
            f"{type(module).__name__} is not told where packed rows begin and end: models of this architecture cannot "
            "be trained here"
        )
    return packing


# Without a mask function of the same name, transformers builds no mask for these.
AttentionInterface.register(PACKED, _packed)
AttentionInterface.register(PACKED_EAGER, functools.partial(_packed, dense=_eager))


def is_packed(model: PreTrainedModel) -> bool:
    """Whether the model attends within rows at present."""
    return model.config._attn_implementation in (PACKED, PACKED_EAGER)


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model attends within rows: for a forward pass, and a backward pass that recomputes activations."""
    own = model.config._attn_implementation
    model.config._attn_implementation = PACKED_EAGER if own == "eager" else PACKED
    try:
        yield
    finally:
        model.config._attn_implementation = own
