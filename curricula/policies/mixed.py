"""Several supervisions at once, from one shuffled pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curricula.policies.slices import PROBE_SLICE_SHARE, check_slices, next_slice
from curricula.policies.staged import check_shares
from curricula.policy import CurriculumPolicy
from curricula.probes import draw_probe, probe_reserve_flops
from curricula.types import ProbePlan, RunState, StagePlan


@dataclass(frozen=True, kw_only=True)
class Mixed(CurriculumPolicy):
    """One shuffled pool in which the supervisions have fixed shares of the examples drawn.

    Example: one long trace to four short answers.
        Mixed(shares=(("reasoning", 0.2), ("short", 0.8)))
    """

    shares: tuple[tuple[str, float], ...]  # (supervision, share of the examples drawn); the shares sum to 1
    slices: int = 8  # equal parts of the budget, one stage each
    probe_examples: int = 0  # measured freely after each slice, always the same ones; paid from the budget

    def __post_init__(self) -> None:
        check_shares("Mixed: shares", self.shares)
        names = [supervision for supervision, _ in self.shares]
        if len(set(names)) < len(names):
            raise ValueError(f"Mixed: every supervision may stand once in shares, got {', '.join(names)}")
        check_slices("Mixed", self.slices, self.probe_examples)

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Raises ValueError where no example offers one of the supervisions."""
        for supervision, _ in self.shares:
            state.train.supervision_index(supervision)
        piece = next_slice(state, shares=(1.0,), slices=self.slices)
        if piece is None:
            return None
        reserve_flops = int(PROBE_SLICE_SHARE * piece.budget_flops)
        probe = draw_probe(state, examples=self.probe_examples, reserve_flops=reserve_flops, afresh=False)
        return plan_mixture(
            state,
            self.shares,
            ceiling_flops=piece.budget_flops - probe_reserve_flops(state.probe, probe),
            name=f"mix {piece.number + 1}/{piece.of}",
            probe=probe,
        )


def plan_mixture(
    state: RunState,
    shares: tuple[tuple[str, float], ...],
    *,
    ceiling_flops: int,
    name: str,
    probe: ProbePlan | None = None,
) -> StagePlan:
    """A stage in which every example stands under every supervision it offers, drawn so that supervision s makes up
    `share / sum of shares` of the examples drawn, however many examples offer it.

    Raises:
        ValueError: no example offers one of the supervisions; the message names those offered.
    """
    examples, supervisions, weights = [], [], []
    for supervision, share in shares:
        column = state.train.supervision_index(supervision)
        example_R = np.flatnonzero(state.train.offered_NS[:, column]).astype(np.int32)
        if share > 0:
            examples.append(example_R)
            supervisions.append(np.full(len(example_R), column, dtype=np.int32))
            weights.append(np.full(len(example_R), share / len(example_R)))
    return StagePlan(
        name=name,
        example_R=np.concatenate(examples),
        supervision_R=np.concatenate(supervisions),
        share_R=np.concatenate(weights),
        ceiling_flops=ceiling_flops,
        probe=probe,
    )
