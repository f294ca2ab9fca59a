"""Small stages for tests: a corpus in the store, a trainer of any tuning, and jobs on all of the corpus."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from curricula.corpus import Corpus
from curricula.procedural import generate
from trainers.adapters import add_adapters
from trainers.batches import BatchSizes
from trainers.jobs import Precision, StageJob, StageOutcome
from trainers.objectives.teacher import WhiteBoxTeacher, load_white_box_teacher
from trainers.pricing.shape import model_shape
from trainers.pricing.tuning import EVERYTHING, Adapters, Tuning
from trainers.process import set_up_process
from trainers.schedule import Schedule
from trainers.stage import StageTrainer
from trainers.student import Student, load_student
from trainers.tokens import TokenStore, open_tokens

SIZES = BatchSizes(step_tokens=400, micro_batch_tokens=600)
LORA = Tuning(adapters=Adapters(rank=4), embeddings=False, head=False)
TUNINGS = {"full": EVERYTHING, "lora": LORA}
RATES = {"full": 3e-3, "lora": 1e-2}
SEED = 3


def small_store(folder: Path) -> TokenStore:
    """500 procedural examples under all their supervisions, as the smallest student reads them."""
    set_up_process(threads=1)
    corpus = Corpus.build(generate(examples=500, seed=2), name="small")
    tokenizer = load_student("tiny-0.2m", seed=0, cache_dir=folder).tokenizer
    return open_tokens(corpus, tokenizer, max_tokens=512, cache_dir=folder)


def stage_trainer(
    store: TokenStore,
    folder: Path,
    *,
    sizes: BatchSizes = SIZES,
    tuning: Tuning = EVERYTHING,
    precision: Precision = "fp32",
    student_seed: int = SEED,
    clock: Callable[[], float] = time.monotonic,
    teacher: str | None = None,
) -> StageTrainer:
    """A cold trainer of the smallest student, checkpoints in `folder`; its teacher, if it has one, knows nothing."""
    student = load_student("tiny-0.2m", seed=student_seed, cache_dir=folder)
    shape = model_shape(student.model)
    if tuning.adapters is not None:
        add_adapters(student.model, rank=tuning.adapters.rank, alpha=32.0, seed=SEED)
    return StageTrainer(
        student=student,
        store=store,
        shape=shape,
        sizes=sizes,
        schedule=Schedule(),
        checkpoints=folder,
        seed=SEED,
        tuning=tuning,
        precision=precision,
        clock=clock,
        teacher=None if teacher is None else white_box_teacher(teacher, student, folder),
    )


def white_box_teacher(name: str, student: Student, folder: Path) -> WhiteBoxTeacher:
    """A teacher on the CPU."""
    return load_white_box_teacher(name, student=student, seed=7, cache_dir=folder, device=torch.device("cpu"))


def stage_job(
    store: TokenStore,
    *,
    ceiling_flops: int,
    start: StageOutcome | None = None,
    rate: float = RATES["full"],
    **changes: object,
) -> StageJob:
    """All rows in equal shares: `first` from the untrained student, `second` from what `first` gave."""
    offered = np.argwhere(store.target_tokens_NS >= 0)
    job = StageJob(
        example_R=offered[:, 0],
        supervision_R=offered[:, 1],
        share_R=np.ones(len(offered)),
        loss_weight_R=None,
        rate_R=np.full(len(offered), rate),
        ceiling_flops=ceiling_flops,
        spent_flops=0 if start is None else start.flops,
        total_flops=10**11,
        seed=SEED,
        start=None if start is None else "first",
        start_digest=None if start is None else start.state_digest,
        checkpoint="first" if start is None else "second",
    )
    return dataclasses.replace(job, **changes)
