"""The last block's MLP where the head reads: what it adds to any other position, nothing ever sees.

    all positions --> blocks --> attention of the last --> its MLP at supervised positions --> head at these

Keys and values of the last block are needed everywhere, for others attend to them; its MLP is not. It is computed at
the supervised positions and its output put back, zero elsewhere; no gradient comes from there, and none is looked for.
Queries and the projection behind attention could be spared alike, but take less time than to pick and put back what
they would be given (experiments/LOG.md).

Legend: T packed positions, H supervised positions (rounded up), d a model's width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from trainers.components import decoder_blocks
from trainers.pricing.architectures import ARCHITECTURES

MLP = "mlp"
"""As a block of every architecture that is priced from its config calls it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Supervised:
    """The positions that the head reads."""

    position_H: torch.Tensor  # each once; then, where rounded up, any
    tokens: int  # how many of the H are not rounding


class _Context(FunctionCtx):
    """What a gradient is put back by."""

    supervised: Supervised
    positions: int


class _Take(torch.autograd.Function):
    """(1, T, d) -> (1, H, d)."""

    @staticmethod
    def forward(ctx: _Context, all_1Td: torch.Tensor, supervised: Supervised) -> torch.Tensor:
        ctx.supervised, ctx.positions = supervised, all_1Td.shape[1]
        return all_1Td.index_select(1, supervised.position_H)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] the stub does not know what the decorator makes
        ctx: _Context, gradient_1Hd: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        return _placed(gradient_1Hd, ctx.supervised, ctx.positions), None


class _Place(torch.autograd.Function):
    """(1, H, d) -> (1, T, d), zero elsewhere."""

    @staticmethod
    def forward(ctx: _Context, few_1Hd: torch.Tensor, supervised: Supervised, positions: int) -> torch.Tensor:
        ctx.supervised = supervised
        return _placed(few_1Hd, supervised, positions)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] as above
        ctx: _Context, gradient_1Td: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        gradient_1Hd = gradient_1Td.index_select(1, ctx.supervised.position_H)
        gradient_1Hd[:, ctx.supervised.tokens :] = 0.0  # rounding may name a position that stands there already
        return gradient_1Hd, None, None


def _placed(few_1Hd: torch.Tensor, supervised: Supervised, positions: int) -> torch.Tensor:
    tokens = supervised.tokens
    all_1Td = few_1Hd.new_zeros((1, positions, few_1Hd.shape[2]))
    return all_1Td.index_copy_(1, supervised.position_H[:tokens], few_1Hd[:, :tokens])


@contextmanager
def last_mlp_narrowed(model: PreTrainedModel, supervised: Supervised) -> Iterator[None]:
    """Inside, the model computes one micro-batch so, forward and backward; one that was measured computes all of it."""
    handles: list[RemovableHandle] = []
    if model.config.get_text_config().model_type in ARCHITECTURES:
        mlp = decoder_blocks(model)[-1].get_submodule(MLP)
        positions = 0

        def take(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            nonlocal positions
            positions = inputs[0].shape[1]
            return (_Take.apply(inputs[0], supervised),)

        def place(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
            return _Place.apply(output, supervised, positions)

        handles += [mlp.register_forward_pre_hook(take), mlp.register_forward_hook(place)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
