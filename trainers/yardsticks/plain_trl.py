"""TRL's SFTTrainer as a plain script uses it, on the same rows and with the same numbers as our own trainer.

    default    rows in random order
    grouped    train_sampling_strategy="group_by_length"
    bare       nothing set but what ends the run, where it writes, and rows a step: TRL's own optimizer settings,
               precision, activation recomputation and logging

It cuts steps by rows, not by tokens: `rows_a_step` says how many come nearest. In `default` and `grouped` it logs
nothing, as ours does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from datasets import Dataset
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from trainers.collate import Rows
from trainers.jobs import Precision
from trainers.sft import GRADIENT_NORM
from trainers.stage import ADAM_BETAS
from trainers.student import Student
from trainers.yardsticks.clock import ClockCallback, Count
from trainers.yardsticks.rows import token_lists

Variant = Literal["default", "grouped", "bare"]

_TOLD = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "train_sampling_strategy", "optim", "adam_beta1"),
    *("adam_beta2", "weight_decay", "max_grad_norm", "bf16", "activation_checkpointing"),
    *("logging_strategy", "logging_steps", "lr_scheduler_type"),
)
"""The settings that decide its speed, told beside the figures."""

FOR_EVER_STEPS = 10**7


def config(
    variant: Variant,
    *,
    output_dir: Path,
    batch_rows: int,
    learning_rate: float,
    seed: int,
    max_steps: int,
    precision: Precision = "fp32",
) -> SFTConfig:
    """The settings of one variant, on this process's device."""
    shared = {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": batch_rows,
        "max_steps": max_steps,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }
    if variant == "bare":
        with warnings.catch_warnings():
            # Its own default is set under a name that transformers has given up.
            warnings.filterwarnings("ignore", message="`gradient_checkpointing` is deprecated", category=FutureWarning)
            return SFTConfig(**shared)
    return SFTConfig(
        **shared,
        learning_rate=learning_rate,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta1=ADAM_BETAS[0],
        adam_beta2=ADAM_BETAS[1],
        weight_decay=0.0,
        max_grad_norm=GRADIENT_NORM,
        bf16=precision == "bf16",
        activation_checkpointing=False,
        logging_strategy="no",
        seed=seed,
        train_sampling_strategy="group_by_length" if variant == "grouped" else "random",
    )


def settings(arguments: SFTConfig) -> dict[str, object]:
    """What the trainer was really told, defaults resolved."""
    resolved = arguments.to_dict()
    return {name: resolved[name] for name in _TOLD}


class CountingCollator:
    """TRL's collator, and what each batch held. A loader reads ahead, so counts are kept batch by batch."""

    def __init__(self, pad_token_id: int) -> None:
        self._collate = DataCollatorForLanguageModeling(pad_token_id=pad_token_id)
        self._held = [Count(tokens=0, positions=0)]

    def __call__(self, examples: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        """One batch; it is told apart how many tokens and positions all batches up to it hold."""
        batch = self._collate(list(examples))
        tokens = sum(len(example["input_ids"]) for example in examples)
        before = self._held[-1]
        after = Count(tokens=before.tokens + tokens, positions=before.positions + batch["input_ids"].numel())
        self._held.append(after)
        return batch

    def counted(self, steps: int) -> Count:
        """What the first so many batches hold."""
        return self._held[steps]


class PlainTrl:
    """The script: rows as token ids with labels, so that nothing is left to prepare."""

    def __init__(
        self,
        student: Student,
        rows: Rows,
        *,
        variant: Variant,
        batch_rows: int,
        learning_rate: float,
        seed: int,
        output_dir: Path,
        precision: Precision = "fp32",
    ) -> None:
        ids, labels = token_lists(rows)
        self._collator = CountingCollator(student.pad_id)
        arguments = config(
            variant,
            output_dir=output_dir,
            batch_rows=batch_rows,
            learning_rate=learning_rate,
            seed=seed,
            max_steps=FOR_EVER_STEPS,
            precision=precision,
        )
        self.settings = settings(arguments)
        arguments.dataset_kwargs = {"skip_prepare_dataset": True}
        self._trainer = SFTTrainer(
            model=student.model,
            args=arguments,
            data_collator=self._collator,
            train_dataset=Dataset.from_dict({"input_ids": ids, "labels": labels}),
            processing_class=student.tokenizer,
        )
        self._trainer.remove_callback(PrinterCallback)

    def counted(self, steps: int) -> Count:
        """What the first so many steps computed."""
        return self._collator.counted(steps)

    def train(self, step_done: Callable[[], None]) -> None:
        """Step after step, until `step_done` raises."""
        self._trainer.add_callback(ClockCallback(step_done))
        self._trainer.train()
