"""Where the rows of a packed micro-batch stand; from there into groups padded to one length, and back.

    (T, A, W) packed --spread--> (S, A, W) of every group --attention--> (S, A, W) of every group --gather--> (T, A, W)

Every packed position stands in its group once, so both ways are reads, backwards too: the gradient of either is a read
by the other's indices. Left to autograd, it would be added up into zeros position by position.

Legend: T packed positions, S positions of a group, its padding counted, s without, A heads, W head width.
"""

from __future__ import annotations

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
    shape_TAW: torch.Size


def _read(packed_TAW: torch.Tensor, groups: tuple[Group, ...], *, blank: bool) -> tuple[torch.Tensor, ...]:
    """Every group's positions (S, A, W); those beyond a row's end are zero if `blank`, else any."""
    spread = []
    for group in groups:
        own_sAW = packed_TAW[group.first : group.last]
        if group.indices is None:
            spread.append(own_sAW)
            continue
        taken_SAW = own_sAW.index_select(0, group.indices.take_S)
        spread.append(taken_SAW.index_fill_(0, group.indices.blank, 0.0) if blank else taken_SAW)
    return tuple(spread)


def _write(spread: Sequence[torch.Tensor], groups: tuple[Group, ...], shape_TAW: torch.Size) -> torch.Tensor:
    """The packed positions (T, A, W) of groups' (S, A, W); those that fill up the end are zero."""
    packed_TAW = spread[0].new_empty(shape_TAW)
    for group, group_SAW in zip(groups, spread, strict=True):
        own_sAW = packed_TAW[group.first : group.last]
        if group.indices is None:
            own_sAW.copy_(group_SAW)
        else:
            torch.index_select(group_SAW, 0, group.indices.place_s, out=own_sAW)
    packed_TAW[groups[-1].last :] = 0.0
    return packed_TAW


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, packed_TAW: torch.Tensor, groups: tuple[Group, ...]) -> tuple[torch.Tensor, ...]:
        ctx.groups, ctx.shape_TAW = groups, packed_TAW.shape
        return _read(packed_TAW, groups, blank=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _write(gradients, ctx.groups, ctx.shape_TAW), None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, groups: tuple[Group, ...], shape_TAW: torch.Size, *spread: torch.Tensor) -> torch.Tensor:
        ctx.groups = groups
        return _write(spread, groups, shape_TAW)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient_TAW: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, None, *_read(gradient_TAW, ctx.groups, blank=True)


def spread(packed_TAW: torch.Tensor, packing: Packing) -> tuple[torch.Tensor, ...]:
    """The positions (S, A, W) of every group, row after row; beyond a row's end stands any other position."""
    return _Spread.apply(packed_TAW, packing.groups)


def gather(spread: Sequence[torch.Tensor], packing: Packing, positions: int) -> torch.Tensor:
    """The `positions` packed positions (T, A, W) of the groups' (S, A, W); zero where they fill up the end."""
    return _Gather.apply(packing.groups, torch.Size((positions, *spread[0].shape[1:])), *spread)
