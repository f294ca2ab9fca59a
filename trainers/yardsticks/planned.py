"""Our own trainer among the sides: one long stage, its planning counted.

A stage plans its steps before it takes the first. A round is charged its share of that: as many steps' worth as it has
steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np

from trainers.batches import BatchSizes
from trainers.collate import Rows
from trainers.jobs import Precision, StageJob
from trainers.pricing.shape import model_shape
from trainers.schedule import Schedule
from trainers.stage import StageTrainer
from trainers.student import Student
from trainers.yardsticks.clock import ClockCallback, Count

SPARE_SHARE = 1.3
"""The first step's price, times this, stands for the mean step's when a ceiling for so many steps is named."""


def whole_stage(rows: Rows, *, ceiling_flops: int, learning_rate: float, seed: int, checkpoint: str) -> StageJob:
    """A stage that draws all rows in equal shares from an untrained student on."""
    count = len(rows.example_R)
    return StageJob(
        example_R=np.asarray(rows.example_R, dtype=np.int64),
        supervision_R=np.asarray(rows.supervision_R, dtype=np.int64),
        share_R=np.ones(count),
        loss_weight_R=None,
        rate_R=np.full(count, learning_rate),
        ceiling_flops=ceiling_flops,
        spent_flops=0,
        total_flops=ceiling_flops,
        seed=seed,
        start=None,
        start_digest=None,
        checkpoint=checkpoint,
    )


class Planned:
    """A StageTrainer on the rows."""

    def __init__(
        self,
        student: Student,
        rows: Rows,
        *,
        sizes: BatchSizes,
        steps: int,
        learning_rate: float,
        seed: int,
        output_dir: Path,
        precision: Precision = "fp32",
    ) -> None:
        """Plan a stage of at least `steps` steps."""
        self._trainer = StageTrainer(
            student=student,
            store=rows.store,
            shape=model_shape(student.model),
            sizes=sizes,
            schedule=Schedule(),
            checkpoints=output_dir,
            seed=seed,
            precision=precision,
        )
        probe = whole_stage(rows, ceiling_flops=1, learning_rate=learning_rate, seed=seed, checkpoint="whole")
        _, step = self._trainer.plan(probe, 0)
        ceiling_flops = int(SPARE_SHARE * step.flops * (steps + 1))
        self._job = whole_stage(
            rows, ceiling_flops=ceiling_flops, learning_rate=learning_rate, seed=seed, checkpoint="whole"
        )
        began = time.monotonic()
        planned, _ = self._trainer.plan(self._job, 0)
        self.planning_step_seconds = (time.monotonic() - began) / len(planned)
        assert len(planned) >= steps, f"the stage has {len(planned)} steps and {steps} are wanted"
        self._positions = list(accumulate((step.positions for step in planned), initial=0))

    def counted(self, steps: int) -> Count:
        """What the first so many steps computed."""
        return Count(tokens=self._trainer.progress.tokens, positions=self._positions[steps])

    def train(self, step_done: Callable[[], None]) -> None:
        """Step after step, until `step_done` raises or the stage is over."""
        self._trainer.trainer.add_callback(ClockCallback(step_done))
        self._trainer.train(self._job)
