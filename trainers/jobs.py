"""What a trainer is asked for and what it answers: plain data, so that a driver without torch can speak of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curricula.recipe import Recipe
from curricula.types import Supervision
from trainers.batches import Integers
from trainers.order import rows_digest

Precision = Literal["fp32", "bf16"]
"""Of training's matrix products. Weights, gradients, moments, the loss and all that is measured are fp32 in both."""


class StageError(ValueError):
    """A stage that cannot be trained: one line, for the person who planned it."""


class WorkerLostError(RuntimeError):
    """A worker died several times over the same work."""


class NotFiniteError(StageError):
    """A training loss or gradient that is not finite: which plan rows gave it, and which were in the step too."""

    def __init__(
        self, what: Literal["loss", "gradient"], *, bad_rows: Sequence[int], other_rows: Sequence[int]
    ) -> None:
        self.what, self.bad_rows, self.other_rows = what, tuple(bad_rows), tuple(other_rows)
        super().__init__(
            f"the training {what} is not finite at plan rows {[*bad_rows]}, in a step with rows {[*other_rows]}"
        )


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a stage may use of a budget that is not in FLOPs, beside its ceiling in them.

    Example:
        Allowance(unit="tokens", ceiling=40_000, spent=160_000, total=400_000)
    """

    unit: Literal["tokens", "seconds"]  # unpadded tokens; seconds of one worker
    ceiling: float  # for this stage
    spent: float  # of the run, before this stage
    total: float
    flops_per_second: float = 0.0  # at which a stage's first step is expected to be taken; of seconds alone


@dataclass(frozen=True, kw_only=True, eq=False)
class StageJob:
    """One stage to train. R rows."""

    example_R: NDArray[np.int64]  # of the token store
    supervision_R: NDArray[np.int64]
    share_R: NDArray[np.float64]
    loss_weight_R: NDArray[np.float64] | None
    rate_R: NDArray[np.float64]  # base learning rate of each row
    ceiling_flops: int
    spent_flops: int  # of the run, before this stage: where the schedule stands, unless an allowance says
    total_flops: int
    seed: int
    start: str | None  # checkpoint to begin from; the untrained student where None
    start_digest: str | None  # of its state, checked when it is loaded
    checkpoint: str  # name to save under
    recipe: Recipe = field(default_factory=Recipe)
    allowance: Allowance | None = None  # of a budget that is not in FLOPs

    @cached_property
    def rows_key(self) -> str:
        """Identity of the rows and their shares: the key of their data order."""
        return rows_digest(self.example_R, self.supervision_R, self.share_R)

    @property
    def ceiling_tokens(self) -> int | None:
        """The most unpadded tokens to train on; None where they are not counted."""
        allowance = self.allowance
        return int(allowance.ceiling) if allowance is not None and allowance.unit == "tokens" else None


@dataclass(frozen=True, kw_only=True, eq=False)
class StageOutcome:
    """What training one stage gave. Nothing was trained or saved where `steps` is 0."""

    steps: int
    next_step_flops: int  # price of the first step beyond the ceiling
    next_step_tokens: int
    flops: int
    positions: int
    state_digest: str
    seen_R: NDArray[np.int32]
    tokens_R: NDArray[np.int64]  # supervised tokens by row, over all its draws
    loss_sum_R: NDArray[np.float64]  # nats by row, over all its draws
    loss_R: NDArray[np.float32]  # of its last draw, nats per token; NaN where not drawn
    positions_R: NDArray[np.int64]  # by row, over all its draws: of text without padding, of rollouts with it
    train_seconds: float  # inside the loop
    tokens: int  # unpadded
    memory_micro_batch_tokens: int | None = None  # what memory had room for at once; None where all that was asked
    peak_bytes: int | None = None  # most memory held during the stage; None where the system cannot say


@dataclass(kw_only=True)
class StageProgress:
    """Where a running stage stands; read from another thread."""

    flops: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)


def row_rates(
    names: Sequence[str], learning_rates: Mapping[str, float], supervision_R: Integers
) -> NDArray[np.float64]:
    """Base rate of each row from its supervision's kind.

    Raises:
        StageError: the table has no rate for a kind.
    """
    missing = sorted({Supervision.parse(name).kind for name in names} - set(learning_rates))
    if missing:
        raise StageError(f"no base learning rate for {', '.join(missing)}; learning_rates has {sorted(learning_rates)}")
    rate_S = np.array([learning_rates[Supervision.parse(name).kind] for name in names])
    return rate_S[supervision_R]
