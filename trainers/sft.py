"""TRL's SFTTrainer on steps that were planned and priced beforehand: its loop, its optimizer step, its clipping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel
from trl.trainer.sft_trainer import SFTTrainer

from trainers.batches import MicroBatch, Step
from trainers.collate import Rows, collate, supervised_logits, token_losses
from trainers.jobs import StageError, StageProgress


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """What was seen of each of a plan's R rows while a stage was trained; filled in as it goes."""

    seen_R: NDArray[np.int32]  # draws
    tokens_R: NDArray[np.int64]  # supervised tokens, over all draws
    loss_sum_R: NDArray[np.float64]  # nats, over all draws
    loss_R: NDArray[np.float32]  # nats per token of the last draw; NaN where not drawn
    positions_R: NDArray[np.int64]  # padded positions, over all draws

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

    def add(self, batch: MicroBatch, loss_B: NDArray[np.float64], tokens_B: NDArray[np.int64]) -> None:
        """Count one micro-batch: nats and supervised tokens of its B rows."""
        np.add.at(self.seen_R, batch.row_B, 1)
        np.add.at(self.tokens_R, batch.row_B, tokens_B)
        np.add.at(self.loss_sum_R, batch.row_B, loss_B)
        np.add.at(self.positions_R, batch.row_B, batch.length)
        self.loss_R[batch.row_B] = loss_B / tokens_B


@dataclass(frozen=True, kw_only=True, eq=False)
class RunningStage:
    """What the trainer needs of the stage in hand."""

    steps: tuple[Step, ...]
    rates: Sequence[float]  # learning rate of each step
    rows: Rows
    loss_weight_R: NDArray[np.float64] | None
    tally: Tally
    progress: StageProgress


class StepLoader:
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

    running: RunningStage
    pad_id: int

    def get_train_dataloader(  # pyright: ignore[reportIncompatibleMethodOverride] the loop asks for no more than this
        self,
    ) -> StepLoader:
        """The steps of the stage in hand."""
        return StepLoader(self.running.steps)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """A scheduler that gives every step its own known rate."""
        rates = self.running.rates
        stepped = self.optimizer if optimizer is None else optimizer
        assert isinstance(stepped, torch.optim.Optimizer), type(stepped)
        for group in stepped.param_groups:
            group["lr"] = 1.0  # LambdaLR multiplies this by the step's own rate
        scheduler = torch.optim.lr_scheduler.LambdaLR(stepped, lambda step: rates[min(step, len(rates) - 1)])
        self.lr_scheduler = scheduler
        self._created_lr_scheduler = True  # tells the parent that the next stage needs a new one
        return scheduler

    def floating_point_ops(self, inputs: Mapping[str, object]) -> int:
        """Nothing: the ledger prices steps, and the parent's estimate is not used."""
        return 0

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, Step],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Forward and backward of one optimizer step; its mean loss in nats per supervised token, a scalar."""
        assert isinstance(model, PreTrainedModel), type(model)  # one device: nothing wraps it
        step = inputs["step"]
        total = torch.zeros((), device=self.args.device)
        for batch in step.micro_batches:
            loss = self.micro_batch_loss(model, batch, step_tokens=step.supervised_tokens)
            self.accelerator.backward(loss)
            total += loss.detach()
            self.running.progress.tokens += self._tokens(batch)
        self.running.progress.flops += step.flops
        return total

    def micro_batch_loss(self, model: PreTrainedModel, batch: MicroBatch, *, step_tokens: int) -> torch.Tensor:
        """A micro-batch's share of its step's loss, a scalar: nats divided by the step's supervised tokens.

        Raises:
            StageError: the loss is not finite; the rows are named.
        """
        running = self.running
        tensors = collate(running.rows, batch, pad_id=self.pad_id, device=self.args.device)
        loss_H = token_losses(supervised_logits(model, tensors), tensors.label_H)
        loss_B = torch.zeros(len(batch.row_B), device=loss_H.device).index_add_(0, tensors.row_H, loss_H.detach())
        nats_B = loss_B.double().cpu().numpy()
        if not np.isfinite(nats_B).all():
            bad = batch.row_B[~np.isfinite(nats_B)][:5].tolist()
            raise StageError(f"the training loss is not finite at plan rows {bad}; the last checkpoint is kept")
        running.tally.add(batch, nats_B, running.rows.target_tokens_R[batch.row_B].astype(np.int64))
        if running.loss_weight_R is not None:
            weight_B = torch.from_numpy(running.loss_weight_R[batch.row_B]).to(loss_H)
            loss_H = loss_H * weight_B[tensors.row_H]
        return loss_H.sum() / step_tokens

    def _tokens(self, batch: MicroBatch) -> int:
        rows = self.running.rows
        return int((rows.prompt_tokens_R[batch.row_B] + rows.target_tokens_R[batch.row_B]).sum())
