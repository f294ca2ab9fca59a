"""Training a stage: TRL's SFTTrainer runs the loop, on steps that were planned and priced beforehand.

    plan --plan_steps--> steps --StageSFTTrainer.train()--> weights, moments, losses --> outcome, checkpoint

The trainer does not know who planned. It is logically stateless: everything it needs to go on stands in a checkpoint,
so any worker can run any stage; one that still holds the right state skips the load.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from trainers.batches import (
    BatchSizes,
    MicroBatch,
    Step,
    micro_batch_flops,
    padded_length,
    plan_steps,
    rows_digest,
    split_by_length,
)
from trainers.checkpoint import gather_state, load_state, restore_state, save_state
from trainers.collate import Rows, collate, supervised_logits, token_losses
from trainers.flops import ModelShape
from trainers.jobs import StageError, StageJob, StageOutcome, StageProgress
from trainers.schedule import Schedule
from trainers.student import Student
from trainers.tokens import TokenStore

ADAM_BETAS = (0.9, 0.95)
GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Running:
    """What the trainer needs of the stage in hand."""

    steps: tuple[Step, ...]
    rates: Sequence[float]  # learning rate of each step
    rows: Rows
    loss_weight_R: NDArray[np.float64] | None
    outcome: _Tally
    progress: StageProgress


@dataclass(kw_only=True, eq=False)
class _Tally:
    seen_R: NDArray[np.int32]
    tokens_R: NDArray[np.int64]
    loss_sum_R: NDArray[np.float64]
    loss_R: NDArray[np.float32]
    positions_R: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int) -> _Tally:
        return cls(
            seen_R=np.zeros(rows, dtype=np.int32),
            tokens_R=np.zeros(rows, dtype=np.int64),
            loss_sum_R=np.zeros(rows),
            loss_R=np.full(rows, np.nan, dtype=np.float32),
            positions_R=np.zeros(rows, dtype=np.int64),
        )

    def add(self, batch: MicroBatch, loss_B: NDArray[np.float64], tokens_B: NDArray[np.int64]) -> None:
        np.add.at(self.seen_R, batch.row_B, 1)
        np.add.at(self.tokens_R, batch.row_B, tokens_B)
        np.add.at(self.loss_sum_R, batch.row_B, loss_B)
        np.add.at(self.positions_R, batch.row_B, batch.length)
        self.loss_R[batch.row_B] = loss_B / tokens_B


class _StepLoader:
    """The stage's steps, in the form that the parent's loop iterates: one element is one optimizer step."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[dict[str, Step]]:
        return ({"step": step} for step in self.steps)


class StageSFTTrainer(SFTTrainer):
    """SFTTrainer fed with planned steps: same loop, optimizer step, clipping and callbacks; own data, loss and rate.

    Where it differs from its parent: batches come from the plan instead of a sampler, one element holds all
    micro-batches of an optimizer step, the head runs at supervised positions only, and the rate of every step is known.
    """

    running: _Running

    def get_train_dataloader(self) -> _StepLoader:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _StepLoader(self.running.steps)

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None):  # noqa: ANN201
        rates = self.running.rates
        for group in self.optimizer.param_groups:
            group["lr"] = 1.0  # LambdaLR multiplies this by the step's own rate
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rates[min(step, len(rates) - 1)]
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Mapping[str, Step]) -> int:
        return 0  # the ledger prices steps; the parent's estimate is not used

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:  # noqa: ANN001
        step: Step = inputs["step"]
        total = torch.zeros((), device=self.args.device)
        for micro_batch in step.micro_batches:
            loss = self.compute_loss(model, {"micro_batch": micro_batch}, num_items_in_batch=step.supervised_tokens)
            self.accelerator.backward(loss)
            total += loss.detach()
        self.running.progress.flops += step.flops
        self.running.progress.tokens += int(sum(self._tokens(batch) for batch in step.micro_batches))
        return total

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # noqa: ANN001, ANN201
        running, micro_batch = self.running, inputs["micro_batch"]
        batch = collate(running.rows, micro_batch, pad_id=int(self._tokenizer.pad_token_id), device=self.args.device)
        loss_H = token_losses(supervised_logits(model, batch), batch.label_H)
        count = len(micro_batch.row_B)
        loss_B = torch.zeros(count, device=loss_H.device).index_add_(0, batch.row_H, loss_H.detach())
        nats_B = loss_B.double().cpu().numpy()
        if not np.isfinite(nats_B).all():
            bad = micro_batch.row_B[~np.isfinite(nats_B)][:5].tolist()
            raise StageError(f"the training loss is not finite at plan rows {bad}; the last checkpoint is kept")
        running.outcome.add(micro_batch, nats_B, running.rows.target_tokens_R[micro_batch.row_B].astype(np.int64))
        if running.loss_weight_R is not None:
            weight_B = torch.from_numpy(running.loss_weight_R[micro_batch.row_B]).to(loss_H)
            loss_H = loss_H * weight_B[batch.row_H]
        return loss_H.sum() / num_items_in_batch

    def _tokens(self, batch: MicroBatch) -> int:
        rows = self.running.rows
        return int((rows.prompt_tokens_R[batch.row_B] + rows.target_tokens_R[batch.row_B]).sum())


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
    ) -> None:
        """`checkpoints` is the folder that holds them by name."""
        self.student, self.store, self.shape, self.sizes = student, store, shape, sizes
        self.schedule, self.checkpoints = schedule, checkpoints
        self.drawn: dict[str, int] = {}
        self.held: str | None = None  # name of the checkpoint whose state the model is in; None untrained
        self.progress = StageProgress()
        self.optimizer = torch.optim.AdamW(
            student.model.parameters(), lr=1.0, betas=ADAM_BETAS, weight_decay=0.0, fused=True
        )
        config = SFTConfig(
            output_dir=str(checkpoints / ".trl"),
            seed=seed,
            bf16=False,
            activation_checkpointing=False,
            num_train_epochs=1,
            max_grad_norm=GRADIENT_NORM,
            logging_strategy="no",
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        self.trainer = StageSFTTrainer(
            model=student.model,
            args=config,
            train_dataset=Dataset.from_dict({"input_ids": [[0]], "labels": [[0]]}),  # the plan brings the real rows
            processing_class=student.tokenizer,
            optimizers=(self.optimizer, None),
        )
        self.trainer.remove_callback(PrinterCallback)

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
        restore_state(self.student.model, self.optimizer, state)
        self.drawn, self.held = dict(state.drawn), checkpoint

    def plan(self, job: StageJob, drawn: int) -> tuple[tuple[Step, ...], int]:
        """The steps that a job's ceiling buys, `drawn` rows into its data order, and the price of one more."""
        rows = Rows(store=self.store, example_R=job.example_R, supervision_R=job.supervision_R)
        return plan_steps(
            prompt_tokens_R=rows.prompt_tokens_R,
            target_tokens_R=rows.target_tokens_R,
            share_R=job.share_R,
            shape=self.shape,
            sizes=self.sizes,
            ceiling_flops=job.ceiling_flops,
            seed=job.seed,
            key=rows_digest(job.example_R, job.supervision_R, job.share_R),
            drawn=drawn,
        )

    def train(self, job: StageJob) -> StageOutcome:
        """Train a stage from `job.start` and save it as `job.checkpoint`.

        Raises:
            StageError: the loss is not finite, or the checkpoint to start from is not what was recorded.
        """
        if job.start is not None:
            self.hold(job.start, job.start_digest)
        elif self.held is not None:
            raise StageError("a stage without a start needs a worker whose student is untrained")
        key = rows_digest(job.example_R, job.supervision_R, job.share_R)
        steps, next_step_flops = self.plan(job, self.drawn.get(key, 0))
        tally = _Tally.empty(len(job.example_R))
        if not steps:
            return self._outcome(steps, next_step_flops, tally, digest="", train_seconds=0.0)
        rows = Rows(store=self.store, example_R=job.example_R, supervision_R=job.supervision_R)
        self.progress = StageProgress()
        self.trainer.running = _Running(
            steps=steps,
            rates=self._rates(job, steps, rows.target_tokens_R),
            rows=rows,
            loss_weight_R=job.loss_weight_R,
            outcome=tally,
            progress=self.progress,
        )
        self.held = "(in training)"  # matches no checkpoint: a stage that fails leaves nothing to build on
        self.student.model.train()
        began = time.monotonic()
        self.trainer.train()
        train_seconds = time.monotonic() - began
        self.drawn[key] = self.drawn.get(key, 0) + sum(step.rows for step in steps)
        state = gather_state(self.student.model, self.optimizer, self.drawn)
        save_state(state, self.checkpoints / job.checkpoint)
        self.held = job.checkpoint
        return self._outcome(steps, next_step_flops, tally, digest=state.digest(), train_seconds=train_seconds)

    def _outcome(
        self, steps: tuple[Step, ...], next_step_flops: int, tally: _Tally, *, digest: str, train_seconds: float
    ) -> StageOutcome:
        return StageOutcome(
            steps=len(steps),
            next_step_flops=next_step_flops,
            flops=sum(step.flops for step in steps),
            positions=sum(step.positions for step in steps),
            state_digest=digest,
            seen_R=tally.seen_R,
            tokens_R=tally.tokens_R,
            loss_sum_R=tally.loss_sum_R,
            loss_R=tally.loss_R,
            positions_R=tally.positions_R,
            train_seconds=train_seconds,
            tokens=self.progress.tokens if steps else 0,
        )

    def flops_per_second(self, seconds: float = 2.0) -> float:
        """Measured speed of forward and backward on the longest rows that fit one micro-batch; changes no weight."""
        offered = np.argwhere(self.store.target_tokens_NS >= 0)
        length = self.store.prompt_tokens_N[offered[:, 0]] + self.store.target_tokens_NS[offered[:, 0], offered[:, 1]]
        typical = np.argsort(length)[len(length) // 2 :][: max(1, self.sizes.step_tokens // int(np.median(length)))]
        rows = Rows(store=self.store, example_R=offered[typical, 0], supervision_R=offered[typical, 1])
        batches = split_by_length(
            np.arange(len(typical)),
            padded_length(rows.prompt_tokens_R + rows.target_tokens_R),
            rows.target_tokens_R.astype(np.int64),
            micro_batch_tokens=self.sizes.micro_batch_tokens,
        )
        model, flops, began = self.student.model.train(), 0, 0.0
        while True:
            for batch in batches:
                tensors = collate(rows, batch, pad_id=int(self.student.tokenizer.pad_token_id), device=model.device)
                token_losses(supervised_logits(model, tensors), tensors.label_H).sum().backward()
            model.zero_grad()
            if not began:  # the first pass warms up and is not counted
                began = time.monotonic()
                continue
            flops += sum(micro_batch_flops(self.shape, batch) for batch in batches)
            if (spent := time.monotonic() - began) >= seconds:
                return flops / spent

    def _rates(self, job: StageJob, steps: tuple[Step, ...], target_tokens_R: NDArray[np.int32]) -> list[float]:
        """Each step's rate: the supervised-token-weighted mean of its rows' base rates, by budget progress."""
        rates, spent = [], job.spent_flops
        for step in steps:
            row_B = np.concatenate([batch.row_B for batch in step.micro_batches])
            base = float(np.average(job.rate_R[row_B], weights=target_tokens_R[row_B]))
            rates.append(base * self.schedule.factor(spent / job.total_flops))
            spent += step.flops
        return rates
