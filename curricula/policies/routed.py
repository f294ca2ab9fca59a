"""Every example under the supervision it needs: routing by a difficulty classifier that is fitted as the run goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curricula.difficulty import fit_difficulty
from curricula.policies.mixed import plan_mixture
from curricula.policies.roles import Roles, nearest_offered
from curricula.policies.slices import Slice, check_slices, next_slice
from curricula.policy import CurriculumPolicy
from curricula.probes import draw_probe, probe_reserve_flops
from curricula.types import Floats, Ints, ProbePlan, RunState, StagePlan

REACH_NOISE = 0.05
"""A predicted probability that is higher by less than this is not higher."""


@dataclass(frozen=True, kw_only=True)
class Routed(CurriculumPolicy):
    """Easy examples get bare answers or rest, middling ones compressed traces, hard ones full reasoning if affordable.

    The first slices show a mix. After each slice a small probe is bought: fresh examples, answered freely and
    teacher-forced under the three supervisions in question. From all outcomes so far `curricula.difficulty` predicts
    for every training example whether the student solves it (p) and whether it would if it decoded as under each
    supervision (reach). Then, in this order:

        reach of the light supervision >= easy                            -> light (from easy / 2 on, beside the other)
        p < hard x passes / deep_passes, where passes >= deep_passes      -> deep
        else                                                              -> middle

    drawn in proportion to max(1 - p, maintenance): nothing is dropped for good, because what is no longer shown is
    forgotten. An example that is solved only by thinking stays with the middle supervision: bare answers would undo it.

    `passes` is how often all examples that need more than light can be shown under deep: what deep has had so far and
    the rest of the budget, over the cost of one such pass. Long traces seen a few times teach less per FLOP than short
    ones seen often, so that a small budget has no deep stage at all, and a large one counts more as hard. Once deep
    has had `deep_passes` passes it must also reach as far as the middle, example by example.

    Light, middle and deep are the cheapest supervisions offered of the first kind there is in `LIGHT`, `MIDDLE` and
    `DEEP`.
    """

    slices: int = 8  # equal parts of the budget, one stage each
    warmup_slices: int = 1  # at least so many show the mix
    light_share: float = 0.25  # of an example's share, that of light while it is open whether light suffices, in [0, 1)
    easy: float = 0.8  # probability from which on the light supervision suffices, in (0, 1]
    hard: float = 0.3  # probability of being solved below which an example is hard, at deep_passes; in [0, 1)
    deep_passes: float = 8.0  # over the examples that need it, below which the budget is too small for deep
    maintenance: float = 0.1  # sampling share of a solved example, where an unsolved one has 1; in (0, 1]
    probe_examples: int = 64  # measured after each slice but the last; fewer where probe_share buys fewer
    probe_share: float = 0.01  # of the whole budget, which one probe may reserve at most

    def __post_init__(self) -> None:
        check_slices("Routed", self.slices, self.probe_examples)
        if not 0 <= self.warmup_slices <= self.slices:
            raise ValueError(f"Routed: warmup_slices must lie in [0, slices={self.slices}], got {self.warmup_slices}")
        for name, share in (("light_share", self.light_share), ("hard", self.hard)):
            if not 0.0 <= share < 1.0:
                raise ValueError(f"Routed: {name} must lie in [0, 1), got {share}")
        for name, share in (("easy", self.easy), ("maintenance", self.maintenance)):
            if not 0.0 < share <= 1.0:
                raise ValueError(f"Routed: {name} must lie in (0, 1], got {share}")
        if not 0.0 <= self.probe_share <= 0.5:
            raise ValueError(f"Routed: probe_share must lie in [0, 0.5], got {self.probe_share}")
        if not 0.0 < self.deep_passes < float("inf"):
            raise ValueError(f"Routed: deep_passes must be positive and finite, got {self.deep_passes}")

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Works with any supervisions; raises nothing of its own."""
        piece = next_slice(state, shares=(1.0,), slices=self.slices)
        if piece is None:
            return None
        roles = Roles.of(state.train)
        probe = self._probe(state, piece, roles)
        ceiling_flops = piece.budget_flops - probe_reserve_flops(state.probe, probe)
        difficulty = fit_difficulty(state) if piece.number >= self.warmup_slices else None
        name = f"{'warm-up' if difficulty is None else 'routed'} {piece.number + 1}/{piece.of}"
        if difficulty is None:
            light, middle = (state.train.supervisions[column] for column in (roles.light, roles.middle))
            shares = (
                ((light, self.light_share), (middle, 1.0 - self.light_share)) if light != middle else ((light, 1.0),)
            )
            return plan_mixture(state, shares, ceiling_flops=ceiling_flops, name=name, probe=probe)
        p_solved_N = difficulty.p_solved_N(state.train)
        reach_NS = difficulty.reach_NS(state.train)
        supervision_N = self._route(state, p_solved_N, reach_NS, roles)
        share_N = np.maximum(1.0 - p_solved_N, self.maintenance)
        # Light beside the other where it is half-way: shown to nobody, it could never prove that it suffices.
        both_N = (reach_NS[:, roles.light] >= self.easy / 2) & (supervision_N != roles.light)
        light_N = np.where(both_N, self.light_share, 0.0) * share_N
        rest_N = np.flatnonzero(supervision_N >= 0).astype(np.int32)
        twice_N = np.flatnonzero(light_N > 0).astype(np.int32)
        return StagePlan(
            name=name,
            example_R=np.concatenate([rest_N, twice_N]),
            supervision_R=np.concatenate([supervision_N[rest_N], np.full_like(twice_N, roles.light)]),
            share_R=np.concatenate([(share_N - light_N)[rest_N], light_N[twice_N]]),
            ceiling_flops=ceiling_flops,
            probe=probe,
        )

    def _route(self, state: RunState, p_solved_N: Floats, reach_NS: Floats, roles: Roles) -> Ints:
        """The column of every training example, shape (N,); -1 where it offers nothing."""
        table = state.train
        is_light_N = reach_NS[:, roles.light] >= self.easy
        may_be_deep_N = table.offered_NS[:, roles.deep] & ~is_light_N
        pass_flops = float(table.train_flops_NS[may_be_deep_N, roles.deep].sum())
        deep_flops = _spent_on(state, table.supervisions[roles.deep])
        passes = (deep_flops + state.remaining_flops) / max(pass_flops, 1.0)
        threshold = self.hard * passes / self.deep_passes if passes >= self.deep_passes else 0.0
        deep_N = may_be_deep_N & (p_solved_N < threshold)
        if deep_flops >= self.deep_passes * pass_flops:
            deep_N &= ~(reach_NS[:, roles.middle] > reach_NS[:, roles.deep] + REACH_NOISE)
        wanted_N = np.where(is_light_N, roles.light, np.where(deep_N, roles.deep, roles.middle))
        return nearest_offered(table, wanted_N.astype(np.int32), np.arange(len(table), dtype=np.int32), roles)

    def _probe(self, state: RunState, piece: Slice, roles: Roles) -> ProbePlan | None:
        if piece.last:
            return None  # no later plan could use it
        return draw_probe(
            state,
            examples=self.probe_examples,
            reserve_flops=int(min(self.probe_share * state.total_flops, piece.budget_flops / 4)),
            supervisions=tuple(state.train.supervisions[column] for column in roles.columns),
        )


def _spent_on(state: RunState, supervision: str) -> int:
    return sum(flops for result in state.history for name, _, flops in result.mix if name == supervision)
