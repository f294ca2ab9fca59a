"""TRL's DistillationTrainer on the steps of a plan: its sampling, its divergence and its loop; on-policy distillation.

    step --write--> what the student says --teacher, student--> divergence at every written token --> optimizer step

The student samples an answer to every prompt of the step, and at each of its tokens the teacher's distribution of the
next one is the target ("On-Policy Distillation of Language Models", Agarwal et al., arXiv 2306.13649). The text of the
plan's targets is not used.

Legend: B rows, P positions of the longest prompt, C of the longest rollout, W tokens written in all, d hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel
from transformers.trainer_callback import PrinterCallback
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
from trl.trainer.distillation_config import DistillationConfig
from trl.trainer.distillation_trainer import DistillationTrainer

from curricula.recipe import Divergence
from trainers.decoding.plain import no_habits
from trainers.jobs import NotFiniteError, Precision, StageError
from trainers.rollouts.models import cached, head_of, refuse_length
from trainers.rollouts.price import RolloutSize
from trainers.rollouts.steps import RolloutStep, RunningRollouts
from trainers.sft import GRADIENT_NORM, is_out_of_memory, refuse_weights, training_precision
from trainers.student import Student

BETA: dict[Divergence, float] = {"forward": 0.0, "jensen_shannon": 0.5, "reverse": 1.0}
"""The divergences as TRL interpolates between them."""
NO_LIMIT_STEPS = 2**40
"""The budget ends a stage, not a number of steps."""
PER_ROW = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
"""What TRL's rollouts consist of, a row each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """A step after its forward and backward passes."""

    size: RolloutSize
    loss: torch.Tensor  # of the step, a scalar
    nats_B: NDArray[np.float64]  # divergence, summed over a row's tokens
    tokens_B: NDArray[np.int64]  # written, the end token counted


class StepSource:
    """The next step, again and again, in the form that the parent's loop iterates; the trainer ends the loop."""

    def __init__(self, running: RunningRollouts) -> None:
        self.running = running

    def __iter__(self) -> Iterator[dict[str, RolloutStep]]:
        while True:
            yield {"step": self.running.next}


class StageDistillationTrainer(DistillationTrainer):
    """DistillationTrainer for one stage: same sampling, divergence, loop, clipping and callbacks; own data and rate.

    Where it differs from its parent: prompts come tokenized from the plan, one element is a whole optimizer step with
    random numbers of its own, dropout is off, positions are counted from a row's first token in training as in
    sampling, both heads run at written tokens only and over the shared vocabulary, and every row's divergence is kept.
    """

    def __init__(
        self,
        *,
        student: Student,
        running: RunningRollouts,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        micro_batch_tokens: int,
        folder: Path,
    ) -> None:
        """Train the student's own model with its own optimizer, moments and all; nothing is written to `folder`.

        Raises:
            StageError: a prompt with its rollout would be longer than student or teacher can read.
        """
        recipe, teacher = running.job.recipe, running.teacher
        assert recipe.rollouts is not None
        longest = int(running.rows.prompt_tokens_R.max()) + recipe.rollouts.max_tokens
        for name, model in ((student.name, student.model), (teacher.name, teacher.model)):
            refuse_length(name, model, longest)
        self.running, self.teacher, self.micro_batch_tokens = running, teacher, micro_batch_tokens
        self.precision: Precision = precision
        embedded = student.model.get_input_embeddings().weight
        assert isinstance(embedded, torch.Tensor), type(embedded)
        config = DistillationConfig(
            output_dir=str(folder),
            seed=running.job.seed,
            bf16=False,  # precision and recomputation are ours
            activation_checkpointing=False,
            max_steps=NO_LIMIT_STEPS,
            max_grad_norm=GRADIENT_NORM,
            logging_strategy="no",
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            beta=BETA[recipe.divergence],
            temperature=recipe.temperature,
            max_completion_length=recipe.rollouts.max_tokens,
            generation_kwargs={
                "temperature": recipe.rollouts.temperature,
                # Rows of the embedding that are no token, and that the teacher may not have.
                "suppress_tokens": [*range(teacher.vocabulary, len(embedded))] or None,
            },
        )
        with no_habits(student.model):  # they name further end tokens
            super().__init__(
                model=student.model,
                args=config,
                train_dataset=Dataset.from_dict({"prompt": [""]}),  # the plan brings the real prompts
                processing_class=student.tokenizer,
                optimizers=(optimizer, None),
            )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(  # pyright: ignore[reportIncompatibleMethodOverride] the loop asks for no more than this
        self,
    ) -> StepSource:
        """The steps of the stage in hand."""
        return StepSource(self.running)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """A scheduler that gives every step the rate it has when its turn comes."""
        stepped = self.optimizer if optimizer is None else optimizer
        assert isinstance(stepped, torch.optim.Optimizer), type(stepped)
        for group in stepped.param_groups:
            group["lr"] = 1.0  # LambdaLR multiplies this by the step's own rate
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(stepped, lambda _: self.running.rate)
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Mapping[str, object]) -> int:
        """Nothing: the ledger prices steps, and the parent's estimate is not used."""
        return 0

    def training_step(  # pyright: ignore[reportIncompatibleMethodOverride] the loop hands on what `StepSource` yields
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, RolloutStep],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Sampling, forward and backward of one optimizer step; its mean divergence in nats per token, a scalar.

        Raises:
            NotFiniteError: a divergence is not finite, or the gradient of the step before was not.
            StageError: there is no memory for it.
        """
        assert isinstance(model, PreTrainedModel), type(model)  # one device: nothing wraps it
        step = inputs["step"]
        refuse_weights(model, self.running.done)  # before it samples from them
        try:
            learnt = self.learn(model, step, self.write(model, step))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise StageError(
                f"there is no memory for {len(step.row_B)} rollouts of up to {self.running.max_tokens} tokens; "
                "lower --step_tokens or --micro_batch_tokens, or the recipe's max_tokens"
            ) from None
        if not np.isfinite(learnt.nats_B).all():
            bad_B = ~np.isfinite(learnt.nats_B)
            raise NotFiniteError("loss", bad_rows=step.row_B[bad_B].tolist(), other_rows=step.row_B[~bad_B].tolist())
        self.running.settle(learnt.size, nats_B=learnt.nats_B, tokens_B=learnt.tokens_B)
        self.control.should_training_stop = not self.running.fits
        return learnt.loss

    def write(self, model: PreTrainedModel, step: RolloutStep) -> dict[str, torch.Tensor]:
        """Rollouts of a step's prompts: those of `PER_ROW`, prompts padded on the left, completions on the right."""
        device = self.args.device
        prompts = [{"prompt": self.running.prompt(row)} for row in step.row_B]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), no_habits(model), cached(model):
            torch.manual_seed(step.seed)
            rollouts = self._generate_and_score_completions(prompts)
        self._metrics["eval"].clear()  # a log that nobody reads
        return {name: rollouts[name] for name in PER_ROW}

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, torch.Tensor]]:
        """The prompts, which are token ids already."""
        return prompts, None, {}

    def learn(self, model: PreTrainedModel, step: RolloutStep, rollouts: Mapping[str, torch.Tensor]) -> Learnt:
        """Forward and backward over the rollouts, at most `micro_batch_tokens` positions (or one row) at once."""
        written_BC = rollouts["completion_mask"]
        size = RolloutSize(
            rows=len(step.row_B),
            prompt_length=rollouts["prompt_ids"].shape[1],
            written_length=written_BC.shape[1],
            written_tokens=int(written_BC.sum()),
        )
        inputs = {
            **rollouts,
            "weight_B": torch.from_numpy(self.running.weight_R[step.row_B]).to(written_BC.device, torch.float32),
            "nats_B": torch.zeros(size.rows, device=written_BC.device),  # filled in by `_compute_loss`
        }
        count = max(1, self.micro_batch_tokens // size.length)
        losses = []
        for start in range(0, size.rows, count):
            part = {name: tensor[start : start + count] for name, tensor in inputs.items()}
            with training_precision(self.args.device, self.precision):
                loss = self.compute_loss(model, part, num_items_in_batch=size.written_tokens)
            self.accelerator.backward(loss)
            losses.append(loss.detach())
        return Learnt(
            size=size,
            loss=torch.stack(losses).sum(),
            nats_B=inputs["nats_B"].double().cpu().numpy(),
            tokens_B=written_BC.sum(1).cpu().numpy().astype(np.int64),
        )

    def _compute_loss(
        self, unwrapped_student: PreTrainedModel, inputs: Mapping[str, torch.Tensor], num_items_in_batch: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The parent's divergence with its rows told apart: weighted one by one, and kept in `nats_B`.

        Returns the loss, the sum of the student's entropies at the W tokens, and W, all scalars. The squared
        temperature makes a recipe's weight mean the same at every temperature, as it does for its other objectives.
        """
        written_BC = inputs["completion_mask"].bool()
        input_ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        attention_mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        length = written_BC.shape[1]
        student_Wd = self._get_last_hidden_state(unwrapped_student, input_ids, attention_mask, length)[written_BC]
        with torch.no_grad():
            teacher_Wd = self._get_last_hidden_state(self.teacher.model, input_ids, attention_mask, length)[written_BC]
        vocabulary = self.teacher.vocabulary
        student, teacher = head_of(unwrapped_student, vocabulary), head_of(self.teacher.model, vocabulary)
        divergence_W, entropy_W = ChunkedDivergenceFunction.apply(
            *(student_Wd, student.weight, student.bias, teacher_Wd, teacher.weight, teacher.bias),
            *(self.beta, self.temperature, 1.0, student.softcap, 1.0, teacher.softcap),
        )
        row_W = written_BC.nonzero()[:, 0]
        inputs["nats_B"].index_add_(0, row_W, divergence_W.detach())
        loss = (divergence_W * inputs["weight_B"][row_W]).sum() * self.temperature**2 / num_items_in_batch
        return loss, entropy_W.sum(), written_BC.sum()

    def _get_last_hidden_state(
        self,
        unwrapped_model: PreTrainedModel,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
    ) -> torch.Tensor:
        """What the head reads to predict the last C tokens, (B, C, d); positions as they were in sampling.

        The parent counts them from the padding on, which a model with learnt positions would take for another text.
        """
        position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
        hidden = unwrapped_model.base_model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        return hidden[:, -logits_to_keep - 1 : -1]
