"""Cutting a budget into slices, so that progress can be shown and measured between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curricula.types import RunState

STEP_ROWS = 64
"""Rows that a slice must at least pay for: one optimizer step, about."""
END_ROWS = 16
"""A budget that cannot pay for this many of the cheapest rows is spent."""
CLEANUP_SHARE = 0.01
"""Of the budget: what returned from probes is worth one more stage from here on."""
PROBE_SLICE_SHARE = 0.1
"""Of a slice: what a static policy's probe may reserve at most; it measures fewer examples where that is less."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The part of the budget that the next stage may use.

    Example: the first of four equal slices.
        Slice(phase=0, number=0, of=4, budget_flops=10**9, last=False)
    """

    phase: int  # index into the shares
    number: int  # of all slices, from 0
    of: int  # how many slices there are
    budget_flops: int  # for training and the probe after it
    last: bool  # no further stage is planned, but for what probes return


def next_slice(state: RunState, *, shares: tuple[float, ...], slices: int) -> Slice | None:
    """The slice that the next stage fills, or None where the budget is spent.

    `shares` are the phases' parts of the whole budget (they sum to 1); each is cut into equal slices, about `slices`
    in all and at least one a phase. Round k fills slice k, or the first later one that can pay for a step: what a
    slice could not use goes to the next. After the last one there is one clean-up slice, if probes returned enough.
    """
    remaining_flops = state.remaining_flops
    cost_S = state.train.mean_train_flops_S
    if not np.isfinite(cost_S).any():
        return None
    # The first stage is planned whatever it costs: the controller then says how much too small the budget is.
    if state.history and remaining_flops < END_ROWS * np.nanmin(state.train.train_flops_NS):
        return None
    phases: list[int] = []
    ends: list[float] = []
    for phase, share in enumerate(shares):
        parts = max(1, round(share * slices)) if share > 0 else 0
        phases += [phase] * parts
        ends += [sum(shares[:phase]) + share * (part + 1) / parts for part in range(parts)]
    ends[-1] = 1.0
    count = len(ends)
    if state.rounds > count or (state.rounds == count and state.progress > 1 - CLEANUP_SHARE):
        return None
    step_flops = STEP_ROWS * float(np.nanmax(cost_S))
    for number in range(state.rounds, count - 1):
        left_flops = int(ends[number] * state.total_flops) - state.spent_flops
        if left_flops >= step_flops:
            return Slice(phase=phases[number], number=number, of=count, budget_flops=left_flops, last=False)
    return Slice(phase=phases[-1], number=count - 1, of=count, budget_flops=remaining_flops, last=True)


def check_slices(policy: str, slices: int, probe_examples: int) -> None:
    """Refuse counts that make no sense.

    Raises:
        ValueError: fewer than one slice, or a negative number of probe examples.
    """
    if slices < 1:
        raise ValueError(f"{policy}: slices must be at least 1, got {slices}")
    if probe_examples < 0:
        raise ValueError(f"{policy}: probe_examples must not be negative, got {probe_examples}")
