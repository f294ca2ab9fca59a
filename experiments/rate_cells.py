"""A cell of the rate grid: a student trained under one supervision at one rate, and measured on dev, in one process."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.actors import WorkerSpec
from controller.config import Json, RunConfig
from controller.held_out import evaluation_rows
from controller.resolve import resolve_corpus, resolve_student, resolve_threads
from controller.session import worker_settings
from curricula.corpus import Corpus
from curricula.policies import Fixed
from curricula.types import Supervision
from trainers.jobs import NotFiniteError, Precision, StageJob, row_rates
from trainers.measuring import prompt_batches


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training run of the grid.

    Example:
        Cell(student="tiny", supervision="answer", rate=2e-3, seed=0)
    """

    student: str
    supervision: str  # by its name in the corpus
    rate: float  # base learning rate
    seed: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a cell gave: a line of the grid's journal."""

    cell: Cell
    parameters: int
    corpus_fingerprint: str
    total_flops: float
    step_tokens: int
    precision: str
    device: str
    steps: int  # 0 where training diverged
    loss: float | None  # nats per target token, over all targets of dev; None where training diverged
    in_domain_loss: float | None  # the same without the transfer domain
    targets: int  # that the loss was measured on
    correct: int  # free answers
    questions: int
    seconds: float

    def to_json(self) -> dict[str, Json]:
        """Plain data, the cell's fields first."""
        own = {name: value for name, value in vars(self).items() if name != "cell"}
        return {**dataclasses.asdict(self.cell), **own}

    @classmethod
    def from_json(cls, fields: dict[str, Json]) -> Line:
        """Read what `to_json` wrote.

        Raises:
            TypeError: a field is missing, or is none of a line's.
        """
        names = [field.name for field in dataclasses.fields(Cell)]
        cell = {name: value for name, value in fields.items() if name in names}
        own = {name: value for name, value in fields.items() if name not in names}
        return cls(cell=Cell(**cell), **own)  # pyright: ignore[reportArgumentType] plain data


def cell_config(
    cell: Cell,
    *,
    corpus: str,
    total_flops: float,
    eval_examples: int | None,
    threads: int | None,
    precision: Precision | None,
) -> RunConfig:
    """The run that a cell is, but for what the student and the corpus decide.

    Raises:
        ValueError: an amount is not positive, or the supervision is misspelt.
    """
    return resolve_threads(
        RunConfig(
            policy=Fixed(supervision=cell.supervision, slices=1),
            student=cell.student,
            corpus=corpus,
            total_flops=total_flops,
            seed=cell.seed,
            eval_examples=eval_examples,
            threads=threads,
            precision=precision,
            learning_rates={Supervision.parse(cell.supervision).kind: cell.rate},
        )
    )


def run_cell(cell: Cell, config: RunConfig, *, corpus_dir: Path, cache_dir: Path) -> Line:
    """Train a student from its first weights, for the whole budget, and measure it on dev.

    Args:
        config: the cell's own.
        corpus_dir: its corpus, saved.

    Raises:
        ValueError: there is no such student, or it cannot be trained; one that diverges is no error.
    """
    began = time.monotonic()
    assert config.threads is not None  # resolved
    os.environ["OMP_NUM_THREADS"] = str(config.threads)  # before torch is loaded, which reads it once
    worker = WorkerSpec(student=cell.student, seed=cell.seed, threads=config.threads, cache_dir=cache_dir).build()
    identity = worker.describe()
    config = resolve_student(config, identity)
    assert config.max_tokens is not None  # resolved
    counts = worker.open(corpus_dir, max_tokens=config.max_tokens)
    config = resolve_corpus(config, counts)
    assert config.step_tokens and config.precision and config.total_flops  # resolved
    corpus, column = worker.corpus, worker.corpus.supervisions.index(cell.supervision)
    tokens_N = counts.target_tokens_NS[:, column].astype(np.int64)
    dev_Q = evaluation_rows(corpus, "dev", config.eval_examples)
    target_Q = dev_Q[tokens_N[dev_Q] >= 0]
    steps, correct, loss_Q = 0, 0, np.full(len(target_Q), np.nan)
    with tempfile.TemporaryDirectory(prefix="rates-") as folder:
        worker.begin(worker_settings(config, Path(folder)))
        job = _whole_budget(config, corpus, column, tokens_N)
        try:
            steps = worker.trainer.train(job).steps
        except NotFiniteError:
            pass  # the rate is too high, which is what the line says
        else:
            if not steps:
                raise ValueError(f"total_flops={config.total_flops:g} buys {cell.student} no step; raise it")
            loss_Q, _, _ = worker.force(job.checkpoint, target_Q, np.full(len(target_Q), column), "evaluate")
            for batch in prompt_batches(counts.prompt_tokens_N[dev_Q], batch_rows=config.batch_answers):
                answers, _ = worker.answer(job.checkpoint, dev_Q[batch].tolist(), "free", "evaluate")
                correct += int(answers.correct_Q.sum())
    in_domain_Q = np.array(corpus.examples["domain"].take(target_Q).to_pylist()) == "in_domain"
    return Line(
        cell=cell,
        parameters=identity.shape.parameters,
        corpus_fingerprint=corpus.fingerprint,
        total_flops=config.total_flops,
        step_tokens=config.step_tokens,
        precision=config.precision,
        device=identity.device,
        steps=steps,
        loss=_per_token(loss_Q, tokens_N[target_Q]),
        in_domain_loss=_per_token(loss_Q[in_domain_Q], tokens_N[target_Q[in_domain_Q]]),
        targets=len(target_Q),
        correct=correct,
        questions=len(dev_Q),
        seconds=time.monotonic() - began,
    )


def _whole_budget(config: RunConfig, corpus: Corpus, column: int, tokens_N: NDArray[np.int64]) -> StageJob:
    """The one stage that `Fixed` plans: every training example that offers the supervision, in equal shares."""
    assert config.learning_rates and config.total_flops  # resolved
    train_N = corpus.rows("train").astype(np.int64)
    example_R = train_N[tokens_N[train_N] >= 0]
    supervision_R = np.full(len(example_R), column, dtype=np.int64)
    return StageJob(
        example_R=example_R,
        supervision_R=supervision_R,
        share_R=np.ones(len(example_R)),
        loss_weight_R=None,
        rate_R=row_rates(corpus.supervisions, config.learning_rates, supervision_R),
        ceiling_flops=int(config.total_flops),
        spent_flops=0,
        total_flops=int(config.total_flops),
        seed=config.seed,
        start=None,
        start_digest=None,
        checkpoint="trained",
    )


def _per_token(loss_Q: NDArray[np.float64], tokens_Q: NDArray[np.int64]) -> float | None:
    """Mean over all tokens of losses that are means over each row's; None where it is no number."""
    if not len(loss_Q):
        return None
    mean = float(np.average(loss_Q, weights=tokens_Q))
    return mean if math.isfinite(mean) else None
