"""Training a stage: equivalent ways of doing it give the same bits; what differs is told apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from curricula.corpus import Corpus
from curricula.procedural import generate
from trainers.batches import BatchSizes
from trainers.jobs import StageError, StageJob, StageOutcome, row_rates
from trainers.pricing.shape import model_shape
from trainers.process import set_up_process
from trainers.schedule import Schedule
from trainers.stage import ADAM_BETAS, GRADIENT_NORM, StageTrainer
from trainers.student import load_student
from trainers.tokens import TokenStore, open_tokens

SIZES = BatchSizes(step_tokens=400, micro_batch_tokens=600)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    set_up_process(threads=1)
    corpus = Corpus.build(generate(examples=500, seed=2), name="small")
    folder = tmp_path_factory.mktemp("cache")
    tokenizer = load_student("tiny-0.2m", seed=0, cache_dir=folder).tokenizer
    return open_tokens(corpus, tokenizer, max_tokens=512, cache_dir=folder)


def _trainer(store: TokenStore, folder: Path, *, sizes: BatchSizes = SIZES) -> StageTrainer:
    student = load_student("tiny-0.2m", seed=3, cache_dir=folder)
    return StageTrainer(
        student=student,
        store=store,
        shape=model_shape(student.model),
        sizes=sizes,
        schedule=Schedule(),
        checkpoints=folder,
        seed=3,
    )


def _job(store: TokenStore, *, ceiling_flops: int, start: StageOutcome | None = None, **changes: object) -> StageJob:
    offered = np.argwhere(store.target_tokens_NS >= 0)
    job = StageJob(
        example_R=offered[:, 0],
        supervision_R=offered[:, 1],
        share_R=np.ones(len(offered)),
        loss_weight_R=None,
        rate_R=np.full(len(offered), 3e-3),
        ceiling_flops=ceiling_flops,
        spent_flops=0 if start is None else start.flops,
        total_flops=10**11,
        seed=3,
        start=None if start is None else "first",
        start_digest=None if start is None else start.state_digest,
        checkpoint="first" if start is None else "second",
    )
    return dataclasses.replace(job, **changes)


WHOLE = 8 * 10**9


def test_two_halves_equal_one_whole_warm_or_cold_and_killed_or_not(store: TokenStore, tmp_path: Path) -> None:
    whole = _trainer(store, tmp_path / "whole").train(_job(store, ceiling_flops=WHOLE))
    warm = _trainer(store, tmp_path / "halves")
    first = warm.train(_job(store, ceiling_flops=WHOLE // 2))
    rest = _job(store, ceiling_flops=WHOLE - first.flops, start=first)
    second = warm.train(rest)
    assert 1 < first.steps < whole.steps == first.steps + second.steps
    assert second.state_digest == whole.state_digest
    cold = _trainer(store, tmp_path / "halves").train(rest)
    assert cold.state_digest == whole.state_digest
    assert np.array_equal(first.seen_R + second.seen_R, whole.seen_R)
    assert first.flops + second.flops == whole.flops <= WHOLE


def test_a_restart_that_lost_the_moments_does_not_pass_for_a_true_one(store: TokenStore, tmp_path: Path) -> None:
    trainer = _trainer(store, tmp_path)
    first = trainer.train(_job(store, ceiling_flops=WHOLE // 2))
    rest = _job(store, ceiling_flops=WHOLE // 2, start=first)
    true = trainer.train(rest)
    forgetful = _trainer(store, tmp_path)
    forgetful.hold("first")
    forgetful.optimizer.state.clear()
    assert forgetful.train(rest).state_digest != true.state_digest


def test_a_checkpoint_that_was_tampered_with_is_refused(store: TokenStore, tmp_path: Path) -> None:
    first = _trainer(store, tmp_path).train(_job(store, ceiling_flops=WHOLE // 4))
    (tmp_path / "first" / "cursor.json").write_text("{}")
    with pytest.raises(StageError, match="not the state that was recorded"):
        _trainer(store, tmp_path).train(_job(store, ceiling_flops=WHOLE // 4, start=first))


def test_a_stage_equals_a_plain_loop(store: TokenStore, tmp_path: Path) -> None:
    """The slow obvious twin: row by row, the head everywhere, AdamW unfused."""
    trainer = _trainer(store, tmp_path)
    job = _job(store, ceiling_flops=WHOLE // 2)
    steps, _ = trainer.plan(job, 0)
    twin = load_student("tiny-0.2m", seed=3, cache_dir=tmp_path).model
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1.0, betas=ADAM_BETAS, weight_decay=0.0)
    spent = 0
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * Schedule().factor(spent / job.total_flops)
        tokens = sum(batch.supervised_tokens for batch in step.micro_batches)
        for row in np.concatenate([batch.row_B for batch in step.micro_batches]).tolist():
            prompt = store.prompt(int(job.example_R[row])).tolist()
            target = store.target(int(job.example_R[row]), int(job.supervision_R[row])).tolist()
            logits = twin(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
            (F.cross_entropy(logits, torch.tensor(target), reduction="sum") / tokens).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        spent += step.flops
    trainer.train(job)
    assert len(steps) >= 3
    for ours, theirs in zip(trainer.student.model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-4)


def test_micro_batch_size_does_not_change_what_is_learnt(store: TokenStore, tmp_path: Path) -> None:
    coarse = _trainer(store, tmp_path / "a")
    fine = _trainer(store, tmp_path / "b", sizes=BatchSizes(step_tokens=400, micro_batch_tokens=120))
    job = _job(store, ceiling_flops=WHOLE // 4)
    one, two = coarse.train(job), fine.train(job)
    assert one.steps == two.steps
    assert two.loss_sum_R.sum() == pytest.approx(one.loss_sum_R.sum(), rel=1e-4)


def test_loss_weights_and_zero_weights_count(store: TokenStore, tmp_path: Path) -> None:
    job = _job(store, ceiling_flops=WHOLE // 8)
    plain = _trainer(store, tmp_path / "a").train(job)
    ones = _trainer(store, tmp_path / "b").train(dataclasses.replace(job, loss_weight_R=np.ones(len(job.share_R))))
    some = _trainer(store, tmp_path / "c").train(
        dataclasses.replace(job, loss_weight_R=np.where(job.supervision_R == 0, 1.0, 0.0))
    )
    assert ones.state_digest == plain.state_digest != some.state_digest


def test_a_ceiling_below_one_step_trains_nothing_and_says_the_price(store: TokenStore, tmp_path: Path) -> None:
    trainer = _trainer(store, tmp_path)
    outcome = trainer.train(_job(store, ceiling_flops=1000))
    assert outcome.steps == outcome.flops == 0
    assert outcome.next_step_flops > 1000
    assert not (tmp_path / "first").exists()


def test_a_loss_that_is_not_finite_stops_the_stage_and_names_rows(store: TokenStore, tmp_path: Path) -> None:
    trainer = _trainer(store, tmp_path)
    with torch.no_grad():
        next(iter(trainer.student.model.parameters())).fill_(float("nan"))
    with pytest.raises(StageError, match="not finite at plan rows"):
        trainer.train(_job(store, ceiling_flops=WHOLE // 8))


def test_rates_follow_the_supervision_kind() -> None:
    rate_R = row_rates(["answer", "compressed:steps@0.3"], {"answer": 1e-3, "compressed": 2e-3}, np.array([1, 0, 1]))
    assert rate_R.tolist() == [2e-3, 1e-3, 2e-3]
    with pytest.raises(StageError, match="no base learning rate for compressed"):
        row_rates(["answer", "compressed"], {"answer": 1e-3}, np.array([0]))
