"""A student's worker, without Ray: adapters from its beginning to its export, and rows that went wrong by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from controller.tables import Settings
from controller.worker import StudentWorker
from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.recipe import Recipe
from tests.trainers.stages import LORA, SEED, SIZES, stage_job
from trainers.jobs import StageError
from trainers.pricing.tuning import EVERYTHING, Tuning
from trainers.schedule import Schedule
from trainers.student import load_student, student_identity

WHOLE = 2 * 10**9


def _worker(folder: Path, *, tuning: Tuning, teacher: str | None = None) -> StudentWorker:
    corpus_dir = folder / "corpus"
    if not corpus_dir.exists():
        Corpus.build(generate(examples=200, seed=2), name="small").save(corpus_dir)
    worker = StudentWorker(
        student="tiny-0.2m", white_box_teacher=teacher, seed=SEED, threads=1, cache_dir=folder / "cache"
    )
    worker.open(corpus_dir, max_tokens=512)
    worker.begin(
        Settings(
            sizes=SIZES,
            schedule=Schedule(),
            max_output_tokens=20,
            checkpoints=folder / "checkpoints",
            seed=SEED,
            tuning=tuning,
            lora_alpha=None if tuning.adapters is None else 32.0,
            precision="fp32",
        )
    )
    return worker


@pytest.mark.parametrize("tuning", [EVERYTHING, LORA], ids=["full", "lora"])
def test_an_exported_student_answers_as_the_one_that_was_trained(tuning: Tuning, tmp_path: Path) -> None:
    worker = _worker(tmp_path, tuning=tuning)
    worker.train(stage_job(worker.store, ceiling_flops=WHOLE, rate=1e-2))
    worker.export("first", tmp_path / "student", "card")
    exported = load_student(str(tmp_path / "student"), seed=0, cache_dir=tmp_path)
    shape = worker.describe().shape
    assert sum(parameter.numel() for parameter in exported.model.parameters()) == shape.parameters
    tokens_BT = torch.arange(5, 29).reshape(2, 12)
    with torch.no_grad():
        ours, theirs = worker.student.model.eval()(tokens_BT).logits, exported.model.eval()(tokens_BT).logits
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tuning", [EVERYTHING, LORA], ids=["full", "lora"])
def test_a_fork_from_the_very_beginning_is_what_the_first_stage_was(tuning: Tuning, tmp_path: Path) -> None:
    worker = _worker(tmp_path, tuning=tuning)
    job = stage_job(worker.store, ceiling_flops=WHOLE)
    first = worker.train(job)
    worker.train(stage_job(worker.store, ceiling_flops=WHOLE, start=first))
    assert worker.train(dataclasses.replace(job, checkpoint="fork")).state_digest == first.state_digest


def test_rows_of_a_step_that_is_not_finite_are_named_as_the_corpus_names_them(tmp_path: Path) -> None:
    worker = _worker(tmp_path, tuning=EVERYTHING)
    job = stage_job(worker.store, ceiling_flops=WHOLE)
    steps, _ = worker.trainer.plan(job, 0)
    with torch.no_grad():
        next(iter(worker.student.model.parameters())).fill_(float("nan"))
    with pytest.raises(StageError, match="the training loss is not finite at") as caught:
        worker.train(job)
    told = str(caught.value)
    assert "\n" not in told
    row = int(steps[0].row_B[0])
    identifier = worker.corpus.examples["id"][int(job.example_R[row])].as_py()
    assert f"{identifier} ({worker.corpus.supervisions[int(job.supervision_R[row])]})" in told


def test_an_exported_student_teaches_the_next_one_and_a_fork_from_the_beginning_has_the_same_teacher(
    tmp_path: Path,
) -> None:
    first = _worker(tmp_path / "a", tuning=EVERYTHING)
    first.train(stage_job(first.store, ceiling_flops=WHOLE))
    first.export("first", tmp_path / "student", "card")
    assert first.describe().teacher is None and first.describe().teacher_digest is None
    worker = _worker(tmp_path / "b", tuning=EVERYTHING, teacher=str(tmp_path / "student"))
    identity = worker.describe()
    assert identity.teacher == identity.shape
    assert identity.teacher_digest == student_identity(str(tmp_path / "student"), 0, tmp_path)
    job = stage_job(worker.store, ceiling_flops=WHOLE, recipe=Recipe(text=0.0, logits=1.0))
    taught = worker.train(job)
    assert taught.steps >= 1
    assert worker.train(dataclasses.replace(job, checkpoint="fork")).state_digest == taught.state_digest


def test_a_teacher_that_reads_fewer_positions_than_the_corpus_has_is_refused(tmp_path: Path) -> None:
    short = load_student("tiny-3m", seed=0, cache_dir=tmp_path)
    short.model.config.max_position_embeddings = 40
    short.model.save_pretrained(tmp_path / "short")
    short.tokenizer.save_pretrained(tmp_path / "short")
    with pytest.raises(ValueError, match=r"white_box_teacher .*short' reads at most 40 tokens, .* --max_tokens 40"):
        _worker(tmp_path, tuning=EVERYTHING, teacher=str(tmp_path / "short"))
