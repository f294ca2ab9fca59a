"""A fixed sequence of supervisions, each for its share of the budget."""

from __future__ import annotations

from dataclasses import dataclass

from curricula.policies.slices import PROBE_SLICE_SHARE, check_slices, next_slice
from curricula.policy import CurriculumPolicy, plan_uniform
from curricula.probes import draw_probe, probe_reserve_flops
from curricula.types import RunState, StagePlan, Supervision


@dataclass(frozen=True, kw_only=True)
class Staged(CurriculumPolicy):
    """One supervision after the other, each for a share of the FLOPs.

    Example: bare answers for a quarter of the budget, then full traces.
        Staged(stages=(("answer", 0.25), ("reasoning", 0.75)))
    """

    stages: tuple[tuple[str, float], ...]  # (supervision, share of total_flops); the shares sum to 1
    slices: int = 8  # parts of the budget in all, one stage each; every phase has at least one
    probe_examples: int = 0  # measured freely after each slice, always the same ones; paid from the budget

    def __post_init__(self) -> None:
        check_shares("Staged: stages", self.stages)
        check_slices("Staged", self.slices, self.probe_examples)

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Raises ValueError where no example offers one of the supervisions."""
        for supervision, _ in self.stages:
            state.train.supervision_index(supervision)
        piece = next_slice(state, shares=tuple(share for _, share in self.stages), slices=self.slices)
        if piece is None:
            return None
        reserve_flops = int(PROBE_SLICE_SHARE * piece.budget_flops)
        probe = draw_probe(state, examples=self.probe_examples, reserve_flops=reserve_flops, afresh=False)
        supervision = self.stages[piece.phase][0]
        return plan_uniform(
            state,
            supervision,
            ceiling_flops=piece.budget_flops - probe_reserve_flops(state.probe, probe),
            name=f"{supervision} {piece.number + 1}/{piece.of}",
            probe=probe,
        )


def check_shares(field: str, shares: tuple[tuple[str, float], ...]) -> None:
    """Refuse shares that are not a division of one whole among supervisions.

    Raises:
        ValueError: none given, a misspelt supervision, a negative or non-finite share, or a sum that is not 1.
    """
    for supervision, share in shares:
        Supervision.parse(supervision)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{field}: the share of {supervision} must lie in [0, 1], got {share}")
    total = sum(share for _, share in shares)
    if abs(total - 1.0) > 1e-6:
        raise ValueError(f"{field}: the shares must sum to 1, got {total:.6g} from {shares}")
