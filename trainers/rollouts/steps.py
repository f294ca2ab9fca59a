"""The steps of a stage on rollouts, one at a time: what one costs is known when it is done, and only then the next.

    plan --draw--> rows --> step, priced at its worst --fits?--> written, trained --charged--> the next step ...

Before a step its worst case is reserved: every rollout as long as it may get. If that does not fit into what is left
of the ceiling, the stage ends. Afterwards what was computed is charged, and the rest is free again. So a stage ends
within one worst case of its ceiling.

Rows, prices and random numbers of a step are functions of (seed, the plan's rows, rows already drawn), so a stage cut
in two takes the steps that one would have taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.types import Floats
from trainers.batches import Integers
from trainers.collate import Rows
from trainers.deadline import Deadline
from trainers.jobs import StageError, StageJob, StageOutcome, StageProgress
from trainers.objectives.teacher import WhiteBoxTeacher
from trainers.order import draw_rows
from trainers.pricing.linear_layers import ModelShape
from trainers.pricing.tuning import Tuning
from trainers.rollouts.price import RolloutPrice, RolloutSize
from trainers.schedule import Schedule
from trainers.tally import Tally


@dataclass(frozen=True, kw_only=True, eq=False)
class RolloutStep:
    """One optimizer step: the prompts it writes to, and the most that it can cost."""

    row_B: NDArray[np.int64]  # plan rows
    seed: int  # of its random numbers
    worst_flops: int
    worst_tokens: int  # read and written, without padding


def rows_per_step(prompt_tokens_R: Integers, *, max_tokens: int, step_tokens: int) -> int:
    """Rollouts of one step: as many as make about `step_tokens`, a prompt of median length and all written.

    Rollouts that end early make a step smaller than that, which is cheaper than one that is too large.
    """
    return max(1, step_tokens // (int(np.median(prompt_tokens_R)) + max_tokens))


def rollout_steps(
    *,
    prompt_tokens_R: Integers,
    share_R: Floats,
    rows: int,
    max_tokens: int,
    price: RolloutPrice,
    seed: int,
    key: str,
    drawn: int,
) -> Iterator[RolloutStep]:
    """Steps of `rows` rows in the plan's order, from the `drawn`-th row on, without end.

    Args:
        key: the plan's `rows_digest`.
        drawn: rows that earlier stages of this checkpoint's line already drew under that key.
    """
    pending = np.zeros(0, dtype=np.int64)
    for order in draw_rows(share_R, seed=seed, key=key, drawn=drawn):
        pending = np.concatenate([pending, order])
        while len(pending) >= rows:
            row_B, pending = pending[:rows], pending[rows:]
            worst = RolloutSize(
                rows=rows,
                prompt_length=int(prompt_tokens_R[row_B].max()),
                written_length=max_tokens,
                written_tokens=rows * max_tokens,
            )
            yield RolloutStep(
                row_B=row_B,
                seed=_step_seed(seed, key, drawn),
                worst_flops=price.flops(worst),
                worst_tokens=int(prompt_tokens_R[row_B].sum()) + rows * max_tokens,
            )
            drawn += rows


def _step_seed(seed: int, key: str, drawn: int) -> int:
    digest = hashlib.sha256(f"rollouts/{seed}/{key}/{drawn}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1  # torch takes 63 bits


class RunningRollouts:
    """A stage on rollouts as far as it has come."""

    def __init__(
        self,
        *,
        job: StageJob,
        rows: Rows,
        student: ModelShape,
        tuning: Tuning,
        teacher: WhiteBoxTeacher | None,
        schedule: Schedule,
        step_tokens: int,
        key: str,
        drawn: int,
        progress: StageProgress,
        deadline: Deadline,
    ) -> None:
        """Before the first step.

        Args:
            tuning: what the stage trains of the student.
            key, drawn: as for `rollout_steps`.
            progress: kept up to date.
            deadline: of a budget in seconds; its stage has begun.

        Raises:
            StageError: there is no teacher.
        """
        if teacher is None:
            raise StageError(
                "rollouts need a white-box teacher, and the run has none: name one with --white_box_teacher"
            )
        assert job.recipe.rollouts is not None
        self.max_tokens = job.recipe.rollouts.max_tokens
        self.job, self.rows, self.schedule, self.progress = job, rows, schedule, progress
        self.teacher, self.deadline = teacher, deadline
        self.price = RolloutPrice(
            student=student, teacher=teacher.shape, tuning=tuning, divergence=job.recipe.divergence
        )
        self._steps = rollout_steps(
            prompt_tokens_R=rows.prompt_tokens_R,
            share_R=job.share_R,
            rows=rows_per_step(rows.prompt_tokens_R, max_tokens=self.max_tokens, step_tokens=step_tokens),
            max_tokens=self.max_tokens,
            price=self.price,
            seed=job.seed,
            key=key,
            drawn=drawn,
        )
        self.next = next(self._steps)
        self.done: list[RolloutStep] = []
        self.flops = self.positions = 0  # charged so far
        self.tally = Tally.empty(len(job.example_R))
        weight_R = np.ones(len(job.example_R)) if job.loss_weight_R is None else job.loss_weight_R
        self.weight_R = job.recipe.logits * weight_R
        deadline.begin_step()

    @property
    def fits(self) -> bool:
        """Whether the next step can be taken, whatever it comes to."""
        worst, ceiling_tokens = self.next, self.job.ceiling_tokens
        return (
            self.flops + worst.worst_flops <= self.job.ceiling_flops
            and (ceiling_tokens is None or self.progress.tokens + worst.worst_tokens <= ceiling_tokens)
            and self.deadline.has_time_for(worst.worst_flops)
        )

    @property
    def rate(self) -> float:
        """Learning rate of the next step: the mean of its rows' base rates, by budget progress."""
        progress = (self.job.spent_flops + self.flops) / self.job.total_flops
        return float(self.job.rate_R[self.next.row_B].mean()) * self.schedule.factor(progress)

    def prompt(self, row: int) -> list[int]:
        """Token ids of a plan row's prompt."""
        return self.rows.store.prompt(int(self.rows.example_R[row])).tolist()

    def settle(self, size: RolloutSize, *, nats_B: NDArray[np.float64], tokens_B: NDArray[np.int64]) -> None:
        """Charge the next step, which was taken, and go on to the one after it.

        Args:
            nats_B, tokens_B: divergence and written tokens of its rows.
        """
        step, flops = self.next, self.price.flops(size)
        assert flops <= step.worst_flops, (flops, step.worst_flops)
        self.flops += flops
        self.positions += size.rows * size.row_positions
        self.tally.add(step.row_B, nats_B=nats_B, tokens_B=tokens_B, positions_B=size.row_positions)
        self.progress.flops += flops
        self.progress.tokens += int(self.rows.prompt_tokens_R[step.row_B].sum() + tokens_B.sum())
        self.done.append(step)
        self.deadline.end_step(flops)
        self.deadline.begin_step()
        self.next = next(self._steps)

    def outcome(self, *, digest: str, train_seconds: float) -> StageOutcome:
        """What the stage gave; `digest` is that of the state it was saved as."""
        return self.tally.outcome(
            steps=len(self.done),
            next_step_flops=self.next.worst_flops,
            next_step_tokens=self.next.worst_tokens,
            flops=self.flops,
            positions=self.positions,
            state_digest=digest,
            train_seconds=train_seconds,
            tokens=self.progress.tokens,
        )
