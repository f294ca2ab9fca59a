"""The default: every task under the cheapest supervision that works for it, most of the compute where it fails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curricula.policies.routed import Roles
from curricula.policies.slices import next_slice
from curricula.policy import CurriculumPolicy
from curricula.probes import draw_probe, probe_reserve_flops
from curricula.types import RunState, StagePlan


@dataclass(frozen=True, kw_only=True)
class Adaptive(CurriculumPolicy):
    """v0"""

    slices: int = 10
    floor: float = 0.1
    probe_per_task: int = 8

    def next_stage(self, state: RunState) -> StagePlan | None:
        piece = next_slice(state, shares=(1.0,), slices=self.slices)
        if piece is None:
            return None
        table = state.train
        roles = Roles.of(table)
        tasks = len(table.tasks)
        weight_K = np.ones(tasks)
        for result in state.history[-1:]:
            if result.probe is not None:
                rows = result.probe.under("free")
                task_P = state.probe.task_N[result.probe.example_P[rows]]
                solved_K = np.bincount(task_P, weights=result.probe.solved_P[rows], minlength=tasks)
                n_K = np.bincount(task_P, minlength=tasks)
                weight_K = 1 - (solved_K + 0.5) / (n_K + 1) + self.floor
        example_R = np.arange(len(table), dtype=np.int32)
        probe = None if piece.last else draw_probe(
            state, examples=self.probe_per_task * tasks, reserve_flops=int(state.total_flops * 0.02)
        )
        size_K = np.bincount(table.task_N, minlength=tasks)
        return StagePlan(
            name=f"adaptive {piece.number + 1}/{piece.of}",
            example_R=example_R,
            supervision_R=np.full(len(table), roles.middle, dtype=np.int32),
            share_R=(weight_K / size_K)[table.task_N],
            ceiling_flops=piece.budget_flops - probe_reserve_flops(state.probe, probe),
            probe=probe,
        )
