"""Stages on rollouts for tests: random students and teachers of any architecture, and what was written, recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import PreTrainedModel

from curricula.recipe import Divergence, Recipe, Rollouts
from tests.trainers.stages import stage_job
from tests.trainers.stores import random_store
from trainers.adapters import add_adapters
from trainers.batches import BatchSizes
from trainers.jobs import StageJob
from trainers.objectives.teacher import WhiteBoxTeacher
from trainers.pricing.flop_residuals import VOCABULARY, small_config, small_model
from trainers.pricing.shape import model_shape
from trainers.pricing.tuning import EVERYTHING, Adapters, Tuning
from trainers.rollouts.on_policy import StageDistillationTrainer
from trainers.rollouts.steps import RolloutStep
from trainers.schedule import Schedule
from trainers.stage import StageTrainer
from trainers.student import Student, load_student

MAX_TOKENS = 10
REVERSE = Recipe(text=0.0, logits=1.0, divergence="reverse", rollouts=Rollouts(max_tokens=MAX_TOKENS))
Written = Mapping[str, torch.Tensor]


def record_rollouts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[NDArray[np.int64], Written]]:
    """A list that the plan rows and the rollouts of every step are put into, from now on."""
    recorded: list[tuple[NDArray[np.int64], Written]] = []
    write = StageDistillationTrainer.write

    def recording(self: StageDistillationTrainer, model: PreTrainedModel, step: RolloutStep) -> Written:
        rollouts = write(self, model, step)
        recorded.append((step.row_B, rollouts))
        return rollouts

    monkeypatch.setattr(StageDistillationTrainer, "write", recording)
    return recorded


def divergence_of(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, divergence: Divergence, temperature: float
) -> torch.Tensor:
    """By the definitions, one distribution a row: (W,)."""
    q = F.softmax(student_logits.double() / temperature, -1)
    p = F.softmax(teacher_logits.double() / temperature, -1)
    mixture = (p + q) / 2
    pairs = {"forward": [(p, q)], "reverse": [(q, p)], "jensen_shannon": [(p, mixture), (q, mixture)]}[divergence]
    return torch.stack([(a * (a / b).log()).sum(-1) for a, b in pairs]).mean(0)


def random_student(name: str, folder: Path, adapters: Adapters | None = None) -> Student:
    """A small random model of an architecture, adapters beside its layers if asked for."""
    tokenizer = load_student("tiny-0.2m", seed=0, cache_dir=folder).tokenizer
    model = small_model(small_config(name))
    if adapters is not None:
        add_adapters(model, rank=adapters.rank, alpha=8.0, seed=0)
    return Student(name=name, model=model, tokenizer=tokenizer)


def random_teacher(name: str, *, vocabulary: int = VOCABULARY) -> WhiteBoxTeacher:
    """A small random model of an architecture, with other weights than a student of it."""
    model = small_model(small_config(name)).eval().requires_grad_(False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    return WhiteBoxTeacher(name=name, model=model, shape=model_shape(model), vocabulary=vocabulary)


def random_stage(
    name: str,
    folder: Path,
    *,
    recipe: Recipe = REVERSE,
    tuning: Tuning = EVERYTHING,
    teacher: WhiteBoxTeacher | None = None,
) -> tuple[StageTrainer, StageJob]:
    """A small random student of an architecture, eager attention, and prompts of all lengths."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(5, 40, 20).tolist()
    student = random_student(name, folder, tuning.adapters)
    trainer = StageTrainer(
        student=student,
        store=random_store(vocabulary=VOCABULARY, prompt_tokens=prompts, target_tokens=[3] * 20),
        shape=model_shape(student.model),
        sizes=BatchSizes(step_tokens=300, micro_batch_tokens=400),
        schedule=Schedule(),
        checkpoints=folder,
        seed=0,
        tuning=tuning,
        teacher=teacher or random_teacher("Qwen3 (wide heads)"),
    )
    return trainer, stage_job(trainer.store, ceiling_flops=2 * 10**9, recipe=recipe)


TUNED = {
    "full": EVERYTHING,
    "full, recomputing": Tuning(recompute=True),
    "LoRA": Tuning(adapters=Adapters(rank=4), embeddings=False, head=False),
    "LoRA, recomputing": Tuning(
        adapters=Adapters(rank=4), embeddings=False, head=False, recompute=True, marked_input=False
    ),
}


def one_step(trainer: StageTrainer, job: StageJob) -> StageJob:
    """The job with a ceiling that buys one step."""
    unaffordable = trainer.train(dataclasses.replace(job, ceiling_flops=1))
    return dataclasses.replace(job, ceiling_flops=unaffordable.next_step_flops, total_flops=10**15)
