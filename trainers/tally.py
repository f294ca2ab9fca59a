"""What a stage saw of its plan's rows, counted as it goes: free by-products of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.jobs import StageOutcome


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """What was seen of each of a plan's R rows while a stage was trained; filled in as it goes."""

    seen_R: NDArray[np.int32]  # draws
    tokens_R: NDArray[np.int64]  # supervised tokens, over all draws
    loss_sum_R: NDArray[np.float64]  # nats, over all draws
    loss_R: NDArray[np.float32]  # nats per token of the last draw; NaN where not drawn
    positions_R: NDArray[np.int64]  # of text without padding, of rollouts with it, over all draws

    @classmethod
    def empty(cls, rows: int) -> Tally:
        """Before the first step."""
        return cls(
            seen_R=np.zeros(rows, dtype=np.int32),
            tokens_R=np.zeros(rows, dtype=np.int64),
            loss_sum_R=np.zeros(rows),
            loss_R=np.full(rows, np.nan, dtype=np.float32),
            positions_R=np.zeros(rows, dtype=np.int64),
        )

    def add(
        self,
        row_B: NDArray[np.int64],
        *,
        nats_B: NDArray[np.float64],
        tokens_B: NDArray[np.int64],
        positions_B: NDArray[np.int64] | int,
    ) -> None:
        """Count plan rows that were computed: their nats, supervised tokens and positions."""
        np.add.at(self.seen_R, row_B, 1)
        np.add.at(self.tokens_R, row_B, tokens_B)
        np.add.at(self.loss_sum_R, row_B, nats_B)
        np.add.at(self.positions_R, row_B, positions_B)
        self.loss_R[row_B] = nats_B / tokens_B

    def outcome(
        self,
        *,
        steps: int,
        next_step_flops: int,
        next_step_tokens: int,
        flops: int,
        positions: int,
        state_digest: str,
        train_seconds: float,
        tokens: int,
        memory_micro_batch_tokens: int | None = None,
    ) -> StageOutcome:
        """What the stage gave, this beside it."""
        return StageOutcome(
            steps=steps,
            next_step_flops=next_step_flops,
            next_step_tokens=next_step_tokens,
            flops=flops,
            positions=positions,
            state_digest=state_digest,
            seen_R=self.seen_R,
            tokens_R=self.tokens_R,
            loss_sum_R=self.loss_sum_R,
            loss_R=self.loss_R,
            positions_R=self.positions_R,
            train_seconds=train_seconds,
            tokens=tokens,
            memory_micro_batch_tokens=memory_micro_batch_tokens,
        )
