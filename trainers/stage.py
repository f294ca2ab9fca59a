"""Training a stage: TRL's SFTTrainer runs the loop, on steps that were planned and priced beforehand.

    plan --plan_steps--> steps --StageSFTTrainer.train()--> weights, moments, losses --> outcome, checkpoint

The trainer does not know who planned. It is logically stateless: everything it needs to go on stands in a checkpoint,
so any worker can run any stage; one that still holds the right state skips the load.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.modeling_layers import GradientCheckpointingLayer

from curricula.recipe import Recipe
from trainers.batches import (
    BatchSizes,
    Step,
    plan_steps,
)
from trainers.checkpoint import (
    frozen_digest,
    gather_state,
    load_state,
    restore_state,
    save_state,
    trained_parameters,
)
from trainers.collate import Rows
from trainers.components import trained_by
from trainers.deadline import Deadline
from trainers.jobs import Precision, StageError, StageJob, StageOutcome, StageProgress
from trainers.objectives.distillation import recipe_objective, taught_price
from trainers.objectives.objective import Objective
from trainers.objectives.teacher import WhiteBoxTeacher
from trainers.pricing.flops import ModelShape
from trainers.pricing.recipes import recipe_price, stage_tuning
from trainers.pricing.step_price import StepPrice
from trainers.pricing.tuning import EVERYTHING, Tuning
from trainers.process import return_freed_memory
from trainers.rollouts.on_policy import StageDistillationTrainer
from trainers.rollouts.steps import RunningRollouts
from trainers.schedule import Schedule
from trainers.sft import Drawn, RunningStage, StageSFTTrainer, refuse_weights
from trainers.spans import span_weights
from trainers.speed import training_speed
from trainers.student import Student
from trainers.tally import Tally
from trainers.tokens import TokenStore

ADAM_BETAS = (0.9, 0.98)


class StageTrainer:
    """Trains stages of one student on one corpus, warm between them."""

    def __init__(
        self,
        *,
        student: Student,
        store: TokenStore,
        shape: ModelShape,
        sizes: BatchSizes,
        schedule: Schedule,
        checkpoints: Path,
        seed: int,
        tuning: Tuning = EVERYTHING,
        precision: Precision = "fp32",
        clock: Callable[[], float] = time.monotonic,
        teacher: WhiteBoxTeacher | None = None,
    ) -> None:
        """Train what of the student is not frozen.

        Args:
            checkpoints: the folder that holds them by name.
            tuning: what the student's adapters and frozen weights come to, for the price; and whether activations
                are recomputed.
            clock: seconds, by which stages of a budget in seconds end.
            teacher: whose logits and hidden states recipes may ask for.
        """
        if tuning.recompute:
            student.model.activation_checkpointing_enable()
            student.model.disable_input_require_grads()  # else frozen blocks would be computed backwards too
            tuning = dataclasses.replace(tuning, marked_input=False)
        self.student, self.store, self.shape, self.sizes, self.tuning = student, store, shape, sizes, tuning
        self.schedule, self.checkpoints, self.seed, self.teacher = schedule, checkpoints, seed, teacher
        self.drawn: dict[str, int] = {}
        self.held: str | None = None  # name of the checkpoint whose state the model is in; None untrained
        self.progress = StageProgress()
        self.frozen = frozen_digest(student.model)
        trained = trained_parameters(student.model).values()
        self.optimizer = torch.optim.AdamW(trained, lr=1.0, betas=ADAM_BETAS, weight_decay=0.0, fused=True)
        self.trainer = StageSFTTrainer(
            student=student,
            optimizer=self.optimizer,
            precision=precision,
            folder=checkpoints / ".trl",
            seed=seed,
        )
        self.deadline = Deadline(clock)
        self.trainer.add_callback(self.deadline)

    def hold(self, checkpoint: str, digest: str | None = None) -> None:
        """Bring the model into a checkpoint's state, unless it is in it.

        Raises:
            StageError: what was saved is not what was recorded.
        """
        if self.held == checkpoint:
            return
        state = load_state(self.checkpoints / checkpoint)
        if digest is not None and state.digest() != digest:
            raise StageError(f"checkpoint {checkpoint} is not the state that was recorded; start a new run")
        restore_state(self.student.model, self.optimizer, state, frozen=self.frozen)
        self.drawn, self.held = dict(state.drawn), checkpoint

    def objective(self, recipe: Recipe) -> Objective:
        """What a stage with that recipe minimises."""
        return recipe_objective(recipe, teacher=self.teacher, student=self.student.model, seed=self.seed)

    def price(self, recipe: Recipe) -> StepPrice:
        """What a stage with that recipe pays for its micro-batches.

        Raises:
            StageError: this student, or its teacher, cannot serve that recipe.
        """
        price = recipe_price(recipe, shape=self.shape, run=self.tuning)
        return taught_price(price, recipe, teacher=self.teacher, student=self.student.model)

    def plan(self, job: StageJob, drawn: int) -> tuple[tuple[Step, ...], Step]:
        """The steps that a job's ceilings buy, `drawn` rows into its data order, and the one after them."""
        rows = Rows(store=self.store, example_R=job.example_R, supervision_R=job.supervision_R)
        return plan_steps(
            prompt_tokens_R=rows.prompt_tokens_R,
            target_tokens_R=rows.target_tokens_R,
            share_R=job.share_R,
            price=self.price(job.recipe).flops,
            sizes=self.sizes,
            ceiling_flops=job.ceiling_flops,
            seed=job.seed,
            key=job.rows_key,
            drawn=drawn,
            ceiling_tokens=job.ceiling_tokens,
        )

    def train(self, job: StageJob) -> StageOutcome:
        """Train a stage from `job.start` and save it as `job.checkpoint`.

        Raises:
            NotFiniteError: a loss or a weight is not finite; nothing is saved.
            StageError: there is no memory for one row, the checkpoint to start from is not what was recorded, or this
                student cannot be trained by the job's recipe.
        """
        self.progress = StageProgress()  # first: who watches must not take the last stage's for this one's
        self.deadline.begin(job.allowance)
        if job.start is not None:
            self.hold(job.start, job.start_digest)
        elif self.held is not None:
            raise StageError("a stage without a start needs a worker whose student is untrained")
        key = job.rows_key
        if job.recipe.rollouts is not None:
            return self._train_on_rollouts(job, key)
        steps, next_step = self.plan(job, self.drawn.get(key, 0))
        tally = Tally.empty(len(job.example_R))
        if steps and not self.deadline.has_time_for(steps[0].flops):
            steps, next_step = (), steps[0]
        if not steps:
            return self._outcome(steps, next_step, tally, digest="", train_seconds=0.0)
        rows = Rows(store=self.store, example_R=job.example_R, supervision_R=job.supervision_R)
        spans, objective = span_weights(rows, job.recipe), self.objective(job.recipe)
        self.progress.started = time.monotonic()
        self.trainer.running = RunningStage(
            steps=steps,
            rate=self._rate(job, steps, rows.target_tokens_R),
            rows=rows,
            loss_weight_R=job.loss_weight_R,
            spans=spans,
            objective=objective,
            tally=tally,
            progress=self.progress,
        )
        self.held = "(in training)"  # matches no checkpoint: a stage that fails leaves nothing to build on
        self._training_mode()
        self.deadline.steps = steps
        began = time.monotonic()
        with trained_by(self.student.model, job.recipe):
            self.trainer.train()
        train_seconds = time.monotonic() - began
        steps = steps[: self.trainer.state.global_step]
        digest = self._save(job, key, steps)
        return self._outcome(steps, next_step, tally, digest=digest, train_seconds=train_seconds)

    def _train_on_rollouts(self, job: StageJob, key: str) -> StageOutcome:
        """As `train`, on what the student writes itself; the model is in the state to begin from."""
        running = RunningRollouts(
            job=job,
            rows=Rows(store=self.store, example_R=job.example_R, supervision_R=job.supervision_R),
            student=self.shape,
            tuning=stage_tuning(self.tuning, job.recipe, self.shape),
            teacher=self.teacher,
            schedule=self.schedule,
            step_tokens=self.sizes.step_tokens,
            key=key,
            drawn=self.drawn.get(key, 0),
            progress=self.progress,
            deadline=self.deadline,
        )
        trainer = StageDistillationTrainer(
            student=self.student,
            running=running,
            optimizer=self.optimizer,
            precision=self.trainer.precision,
            micro_batch_tokens=self.trainer.memory_micro_batch_tokens or self.sizes.micro_batch_tokens,
            folder=self.checkpoints / ".trl",
        )
        self.progress.started = began = time.monotonic()
        digest = ""
        if running.fits:
            self.held = "(in training)"
            self._training_mode()
            with trained_by(self.student.model, job.recipe):
                trainer.train()
            digest = self._save(job, key, running.done)
        return running.outcome(digest=digest, train_seconds=time.monotonic() - began)

    def _save(self, job: StageJob, key: str, done: Sequence[Drawn]) -> str:
        """Save what a stage's steps made of the student as `job.checkpoint`; the digest of its state."""
        refuse_weights(self.student.model, done)
        self.drawn[key] = self.drawn.get(key, 0) + sum(len(step.row_B) for step in done)
        state = gather_state(self.student.model, self.optimizer, self.drawn, frozen=self.frozen)
        save_state(state, self.checkpoints / job.checkpoint)
        self.held = job.checkpoint
        return_freed_memory()
        self.deadline.end()
        return state.digest()

    def _outcome(
        self, steps: tuple[Step, ...], next_step: Step, tally: Tally, *, digest: str, train_seconds: float
    ) -> StageOutcome:
        return tally.outcome(
            steps=len(steps),
            next_step_flops=next_step.flops,
            next_step_tokens=next_step.tokens,
            flops=sum(step.flops for step in steps),
            positions=sum(step.positions for step in steps),
            state_digest=digest,
            train_seconds=train_seconds,
            tokens=sum(step.tokens for step in steps),
            memory_micro_batch_tokens=self.trainer.memory_micro_batch_tokens,
        )

    def _training_mode(self) -> None:
        """Dropout off, since a resume must be able to repeat every bit; blocks that recompute are told to."""
        self.student.model.eval()
        for module in self.student.model.modules():
            if self.tuning.recompute and isinstance(module, GradientCheckpointingLayer):
                module.training = True  # of the block alone: what is in it, its dropout too, stays as it is

    def flops_per_second(self, seconds: float = 2.0) -> float:
        """Speed of forward and backward, measured for `seconds` on rows of about median length; changes no weight."""
        self._training_mode()
        return training_speed(
            self.student,
            self.store,
            sizes=self.sizes,
            price=StepPrice(shape=self.shape, tuning=self.tuning),
            precision=self.trainer.precision,
            seconds=seconds,
        )

    def _rate(
        self, job: StageJob, steps: tuple[Step, ...], target_tokens_R: NDArray[np.int32]
    ) -> Callable[[int], float]:
        """Each step's rate: the supervised-token-weighted mean of its rows' base rates, by budget progress."""
        base = [float(np.average(job.rate_R[step.row_B], weights=target_tokens_R[step.row_B])) for step in steps]
        allowance = job.allowance
        if allowance is not None and allowance.unit == "seconds":
            return lambda step: base[step] * self.schedule.factor(self.deadline.spent_share())
        if allowance is None:
            spent, total, costs = job.spent_flops, job.total_flops, [step.flops for step in steps]
        else:
            spent, total, costs = allowance.spent, allowance.total, [step.tokens for step in steps]
        before = list(itertools.accumulate(costs, initial=spent))
        return lambda step: base[step] * self.schedule.factor(before[step] / total)
