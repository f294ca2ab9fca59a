"""TRL's SFTTrainer on steps that were planned and priced beforehand: its loop, its optimizer step, its clipping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate.optimizer import AcceleratedOptimizer
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from trainers.batches import MicroBatch, Step, cut
from trainers.checkpoint import trained_parameters
from trainers.collate import Rows, collate, packed_pass
from trainers.jobs import NotFiniteError, Precision, StageError, StageProgress
from trainers.objectives.objective import Objective
from trainers.spans import SpanWeights
from trainers.student import Student
from trainers.tally import Tally

GRADIENT_NORM = 1.0
_MEMORY_MESSAGES = ("not enough memory", "DefaultCPUAllocator", "can't allocate memory", "out of memory")
"""Of which a RuntimeError says one where memory ran out: on a CPU it has no class of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunningStage:
    """What the trainer needs of the stage in hand."""

    steps: tuple[Step, ...]
    rate: Callable[[int], float]  # learning rate of a step by its number, asked when it begins
    rows: Rows
    loss_weight_R: NDArray[np.float64] | None
    spans: SpanWeights | None
    objective: Objective
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Computed:
    """A micro-batch after its forward and backward pass."""

    batch: MicroBatch
    loss: torch.Tensor  # its share of the step's loss, a scalar
    nats_B: torch.Tensor  # of its rows


def training_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """Matrix products in bf16 where that is asked for; weights, their gradients and the loss stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out, on an accelerator or on a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _MEMORY_MESSAGES)


class Drawn(Protocol):
    """A step that was taken."""

    @property
    def row_B(self) -> NDArray[np.int64]:
        """The plan rows drawn for it."""
        ...


def refuse_weights(model: torch.nn.Module, done: Sequence[Drawn]) -> None:
    """Nothing, where all trained weights are finite; else the last step is to blame.

    Raises:
        NotFiniteError: they are not.
    """
    if done and not all(bool(weight.isfinite().all()) for weight in trained_parameters(model).values()):
        raise NotFiniteError("gradient", bad_rows=done[-1].row_B.tolist(), other_rows=())


class StageSFTTrainer(SFTTrainer):
    """SFTTrainer fed with planned steps: same loop, optimizer step, clipping and callbacks; own data, loss and rate.

    Where it differs from its parent: batches come from the plan instead of a sampler, one element holds all
    micro-batches of an optimizer step, the head runs at supervised positions only, and the rate of every step is known.
    """

    running: RunningStage
    memory_micro_batch_tokens: int | None = None  # what there turned out to be memory for at once; None: as planned

    def __init__(
        self, *, student: Student, optimizer: torch.optim.Optimizer, precision: Precision, folder: Path, seed: int
    ) -> None:
        """Train a student with that optimizer; nothing is written to `folder`."""
        self.pad_id = student.pad_id
        self.trained = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.precision: Precision = precision
        config = SFTConfig(
            output_dir=str(folder),
            seed=seed,
            bf16=False,  # precision and recomputation are ours, so that the ledger and the speed test see the same
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
        super().__init__(
            model=student.model,
            args=config,
            train_dataset=Dataset.from_dict({"input_ids": [[0]], "labels": [[0]]}),  # the plan brings the real rows
            processing_class=student.tokenizer,
            optimizers=(optimizer, None),
        )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(  # pyright: ignore[reportIncompatibleMethodOverride] the loop asks for no more than this
        self,
    ) -> StepLoader:
        """The steps of the stage in hand."""
        return StepLoader(self.running.steps)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """A scheduler that gives every step its own known rate."""
        running = self.running
        stepped = self.optimizer if optimizer is None else optimizer
        assert isinstance(stepped, torch.optim.Optimizer), type(stepped)
        if isinstance(stepped, AcceleratedOptimizer):
            # On one device the wrapping adds nothing to a step but two searches for a package that is not installed.
            stepped = self.optimizer = stepped.optimizer
        for group in stepped.param_groups:
            group["lr"] = 1.0  # LambdaLR multiplies this by the step's own rate
        last = len(running.steps) - 1
        scheduler = torch.optim.lr_scheduler.LambdaLR(stepped, lambda step: running.rate(min(step, last)))
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
        """Forward and backward of one optimizer step; its mean loss over supervised tokens as weighted, a scalar.

        Where memory runs out, the step is done again from its beginning with micro-batches of half the size. The
        weights are as they were: they change only after this.

        Raises:
            NotFiniteError: the loss is not finite, or the gradient of the step before was not.
            StageError: there is no memory for one row.
        """
        assert isinstance(model, PreTrainedModel), type(model)  # one device: nothing wraps it
        step = inputs["step"]
        computed = self._compute(model, step)
        while isinstance(computed, MicroBatch):
            self._halve(model, computed)
            computed = self._compute(model, step)
        self._count(model, computed)
        self.running.progress.flops += step.flops
        return torch.stack([micro_batch.loss for micro_batch in computed]).sum()

    def _compute(self, model: PreTrainedModel, step: Step) -> list[Computed] | MicroBatch:
        """All micro-batches of a step, forward and backward; or the first one that there was no memory for."""
        computed = []
        spans = self.running.spans
        weight = step.supervised_tokens if spans is None else spans.total(step.row_B)
        for planned in step.micro_batches:
            limit = self.memory_micro_batch_tokens
            parts = (
                (planned,)
                if limit is None
                else cut(planned, self.running.rows.target_tokens_R, micro_batch_tokens=limit)
            )
            for batch in parts:
                try:
                    computed.append(self._forward_and_backward(model, batch, step_weight=weight))
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    return batch  # what was computed of it must be let go before the next attempt
        return computed

    def _forward_and_backward(self, model: PreTrainedModel, batch: MicroBatch, *, step_weight: float) -> Computed:
        """One micro-batch: its share of the step's loss is its own, summed, over the weight of the step's tokens."""
        running = self.running
        tensors = collate(running.rows, batch, pad_id=self.pad_id, device=self.args.device)
        with packed_pass(model, tensors):  # in the backward pass too, which may recompute activations
            with training_precision(self.args.device, self.precision):
                losses = running.objective(model, tensors)
            loss_H = losses.loss_H
            nats_B = torch.zeros(len(batch.row_B), device=loss_H.device).index_add_(0, tensors.row_H, losses.nats_H)
            if running.loss_weight_R is not None:
                weight_B = torch.from_numpy(running.loss_weight_R[batch.row_B]).to(loss_H)
                loss_H = loss_H * weight_B[tensors.row_H]
            if running.spans is not None:
                weight_H = running.spans.of_tokens(batch.row_B, size=batch.head_positions)
                loss_H = loss_H * torch.from_numpy(weight_H).to(loss_H)
            loss = loss_H.sum() / step_weight
            self.accelerator.backward(loss)
        return Computed(batch=batch, loss=loss.detach(), nats_B=nats_B)

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        """As the parent's on one device, without looking for the parameters in all modules at every step."""
        return torch.nn.utils.clip_grad_norm_(self.trained, GRADIENT_NORM)

    def _halve(self, model: PreTrainedModel, batch: MicroBatch) -> None:
        """Plan no micro-batch as large as one that there was no memory for, and forget what its step computed.

        Raises:
            StageError: it was a single row.
        """
        if len(batch.row_B) == 1:
            raise StageError(
                f"there is no memory for a micro-batch of one row of {batch.length_B[0]} tokens; lower --max_tokens, "
                "or set --activation_checkpointing true"
            )
        self.memory_micro_batch_tokens = int(batch.length_B.sum()) // 2
        model.zero_grad(set_to_none=True)
        if self.args.device.type == "cuda":
            torch.cuda.empty_cache()

    def _count(self, model: PreTrainedModel, computed: Sequence[Computed]) -> None:
        """Add a step to the tally, unless a row's loss is not finite."""
        # The one time in a step that a device is waited for.
        nats_B = torch.cat([micro_batch.nats_B for micro_batch in computed]).double().cpu().numpy()
        if not np.isfinite(nats_B).all():
            refuse_weights(model, self.running.steps[: self.state.global_step])
            row_B = np.concatenate([micro_batch.batch.row_B for micro_batch in computed])
            bad_B = ~np.isfinite(nats_B)
            raise NotFiniteError("loss", bad_rows=row_B[bad_B].tolist(), other_rows=row_B[~bad_B].tolist())
        tokens_R = self.running.rows.target_tokens_R
        done = 0
        for batch in (micro_batch.batch for micro_batch in computed):
            nats_b = nats_B[done : done + len(batch.row_B)]
            done += len(batch.row_B)
            tokens_b = tokens_R[batch.row_B].astype(np.int64)
            self.running.tally.add(batch.row_B, nats_B=nats_b, tokens_B=tokens_b, positions_B=batch.length_B)
            self.running.progress.tokens += int(batch.length_B.sum())
