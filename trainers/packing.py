"""Where the rows of a packed micro-batch stand; from there into groups padded to one length, and back.

    packed (T, A, W) --spread_out--> every group's (S, A, W) --attention--> the same --gather--> packed (T, A, W)

Every packed position stands in its group once, so both ways are reads, backwards too: the gradient of either is a read
by the other's indices. Left to autograd, it would be added up into zeros position by position.

Legend: T packed positions, S positions of a group, its padding counted, s without, A heads, W head width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True, eq=False)
class GroupIndices:
    """From the packed positions of a group of rows to the padded ones, and back."""

    take_S: torch.Tensor  # of the s, the one at each padded position; any beyond a row's end
    place_s: torch.Tensor  # of the S, that of each packed one
    blank: torch.Tensor  # of the S, those beyond a row's end


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Neighbouring rows that share one dense call."""

    first: int  # packed position of its first
    last: int  # one past its last
    rows: int
    length: int  # positions of its longest row
    indices: GroupIndices | None  # None where all rows are as long


@dataclass(frozen=True, kw_only=True, eq=False)
class Packing:
    """Where the rows of one packed micro-batch stand."""

    starts: torch.Tensor  # int32: of every row and of what fills up the end, and T
    longest: int  # positions of the longest of them
    groups: tuple[Group, ...]  # in packed order; what fills up the end is in none


class _Context(FunctionCtx):
    """What both directions keep for their gradient."""

    groups: tuple[Group, ...]
    positions: int
    needs_input_grad: tuple[bool, ...]  # set by torch


class _Spread(torch.autograd.Function):
    """From packed tensors to their groups: all groups of the first tensor, then all of the second."""

    @staticmethod
    def forward(ctx: _Context, groups: tuple[Group, ...], *packed: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.groups, ctx.positions = groups, len(packed[0])
        spread = [_read(each_TAW, groups, blank=False) for each_TAW in packed]
        # One that depends on nothing trained must not be given a gradient for the others' sake.
        constant = [parts for parts, needed in zip(spread, ctx.needs_input_grad[1:], strict=True) if not needed]
        ctx.mark_non_differentiable(*itertools.chain.from_iterable(constant))
        return tuple(itertools.chain.from_iterable(spread))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] the stub does not know what the decorator makes
        ctx: _Context, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        count = len(ctx.groups)
        return None, *(
            _write(gradients[place * count : (place + 1) * count], ctx.groups, ctx.positions) if needed else None
            for place, needed in enumerate(ctx.needs_input_grad[1:])
        )


class _Gather(torch.autograd.Function):
    """From groups to one packed tensor."""

    @staticmethod
    def forward(ctx: _Context, groups: tuple[Group, ...], positions: int, *spread: torch.Tensor) -> torch.Tensor:
        ctx.groups = groups
        return _write(spread, groups, positions)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] as above
        ctx: _Context, gradient_TAW: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        return None, None, *_read(gradient_TAW, ctx.groups, blank=True)


def _read(packed_TAW: torch.Tensor, groups: tuple[Group, ...], *, blank: bool) -> list[torch.Tensor]:
    """Every group's positions (S, A, W); those beyond a row's end are zero if `blank`, else any."""
    spread = []
    for group in groups:
        own_SAW = packed_TAW[group.first : group.last]
        if group.indices is not None:
            own_SAW = own_SAW.index_select(0, group.indices.take_S)
            if blank:
                own_SAW.index_fill_(0, group.indices.blank, 0.0)
        spread.append(own_SAW)
    return spread


def _write(spread: Sequence[torch.Tensor], groups: tuple[Group, ...], positions: int) -> torch.Tensor:
    """The packed positions (T, A, W) of groups' (S, A, W); those that fill up the end are zero."""
    packed_TAW = spread[0].new_empty((positions, *spread[0].shape[1:]))
    for group, group_SAW in zip(groups, spread, strict=True):
        own_sAW = packed_TAW[group.first : group.last]
        if group.indices is None:
            own_sAW.copy_(group_SAW)
        else:
            torch.index_select(group_SAW, 0, group.indices.place_s, out=own_sAW)
    packed_TAW[groups[-1].last :] = 0.0
    return packed_TAW


def spread_out(packing: Packing, *packed: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    """For every group the positions (S, A, W) of each packed (T, A, W); beyond a row's end stands any of its group."""
    if _is_one_piece(packing, len(packed[0])):
        return [packed]
    spread, count = _Spread.apply(packing.groups, *packed), len(packing.groups)
    return [spread[group::count] for group in range(count)]


def gather(packing: Packing, spread: Sequence[torch.Tensor], *, positions: int) -> torch.Tensor:
    """The `positions` packed positions (T, A, W) of every group's (S, A, W); zero where they fill up the end."""
    if _is_one_piece(packing, positions):
        return spread[0]
    return _Gather.apply(packing.groups, positions, *spread)


def _is_one_piece(packing: Packing, positions: int) -> bool:
    """Whether all positions are one group of equally long rows, which is packed as it attends."""
    [first, *others] = packing.groups
    return not others and first.indices is None and first.last == positions
