"""Training a stage: the same as a plain loop; what differs is told apart, and what cannot be trained is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.trainers.stages import small_store, stage_job, stage_trainer
from trainers.collate import token_losses
from trainers.jobs import NotFiniteError, StageError, row_rates
from trainers.objectives import objective
from trainers.schedule import Schedule
from trainers.sft import GRADIENT_NORM
from trainers.stage import ADAM_BETAS
from trainers.student import load_student
from trainers.tokens import TokenStore

WHOLE = 8 * 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


def test_a_restart_that_lost_the_moments_does_not_pass_for_a_true_one(store: TokenStore, tmp_path: Path) -> None:
    trainer = stage_trainer(store, tmp_path)
    first = trainer.train(stage_job(store, ceiling_flops=WHOLE // 2))
    rest = stage_job(store, ceiling_flops=WHOLE // 2, start=first)
    true = trainer.train(rest)
    forgetful = stage_trainer(store, tmp_path)
    forgetful.hold("first")
    forgetful.optimizer.state.clear()
    assert forgetful.train(rest).state_digest != true.state_digest


def test_a_checkpoint_that_was_tampered_with_is_refused(store: TokenStore, tmp_path: Path) -> None:
    first = stage_trainer(store, tmp_path).train(stage_job(store, ceiling_flops=WHOLE // 4))
    (tmp_path / "first" / "cursor.json").write_text('{"drawn": {}, "frozen": ""}')
    with pytest.raises(StageError, match="not the state that was recorded"):
        stage_trainer(store, tmp_path).train(stage_job(store, ceiling_flops=WHOLE // 4, start=first))


def test_a_stage_equals_a_plain_loop(store: TokenStore, tmp_path: Path) -> None:
    """The slow obvious twin: row by row, the head everywhere, AdamW unfused."""
    trainer = stage_trainer(store, tmp_path)
    job = stage_job(store, ceiling_flops=WHOLE // 2)
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


def test_loss_weights_and_zero_weights_count(store: TokenStore, tmp_path: Path) -> None:
    job = stage_job(store, ceiling_flops=WHOLE // 8)
    plain = stage_trainer(store, tmp_path / "a").train(job)
    ones = stage_trainer(store, tmp_path / "b").train(dataclasses.replace(job, loss_weight_R=np.ones(len(job.share_R))))
    some = stage_trainer(store, tmp_path / "c").train(
        dataclasses.replace(job, loss_weight_R=np.where(job.supervision_R == 0, 1.0, 0.0))
    )
    assert ones.state_digest == plain.state_digest != some.state_digest


def test_a_ceiling_below_one_step_trains_nothing_and_says_the_price(store: TokenStore, tmp_path: Path) -> None:
    trainer = stage_trainer(store, tmp_path)
    outcome = trainer.train(stage_job(store, ceiling_flops=1000))
    assert outcome.steps == outcome.flops == 0
    assert outcome.next_step_flops > 1000
    assert not (tmp_path / "first").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_stage_and_names_its_rows(
    bad: float, store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = stage_trainer(store, tmp_path)
    first = trainer.train(stage_job(store, ceiling_flops=WHOLE // 4))
    rest = stage_job(store, ceiling_flops=WHOLE // 2, start=first)
    steps, _ = trainer.plan(rest, int(first.seen_R.sum()))
    before = len(steps[0].micro_batches)
    calls: list[int] = []

    def spoilt(logits: torch.Tensor, label_H: torch.Tensor) -> torch.Tensor:
        loss_H = token_losses(logits, label_H)
        calls.append(len(calls))
        return loss_H * torch.where(torch.arange(len(loss_H)) == 0, bad, 1.0) if len(calls) == before + 1 else loss_H

    monkeypatch.setattr(objective, "token_losses", spoilt)
    with pytest.raises(NotFiniteError) as caught:
        trainer.train(rest)
    assert caught.value.what == "loss"
    assert caught.value.bad_rows == (steps[1].row_B[0],)
    assert sorted(caught.value.other_rows) == sorted(steps[1].row_B[1:].tolist())
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["first"]
    again = stage_trainer(store, tmp_path).train(rest)  # the last good checkpoint is as good as ever
    assert trainer.train(rest).state_digest == again.state_digest


def test_a_gradient_that_is_not_finite_is_blamed_on_its_own_step(store: TokenStore, tmp_path: Path) -> None:
    for steps_taken in (3, 1):  # seen at the next step's loss; seen at the end of the stage
        trainer = stage_trainer(store, tmp_path)
        job = stage_job(store, ceiling_flops=WHOLE)
        steps, _ = trainer.plan(job, 0)
        job = dataclasses.replace(job, ceiling_flops=sum(step.flops for step in steps[:steps_taken]))
        weight = next(iter(trainer.student.model.parameters()))
        handle = weight.register_hook(lambda gradient: gradient * float("inf"))
        with pytest.raises(NotFiniteError) as caught:
            trainer.train(job)
        handle.remove()
        assert caught.value.what == "gradient"
        assert set(caught.value.bad_rows) == set(steps[0].row_B.tolist())
        assert not (tmp_path / "first").exists()


def test_rates_follow_the_supervision_kind() -> None:
    rate_R = row_rates(["answer", "compressed:steps@0.3"], {"answer": 1e-3, "compressed": 2e-3}, np.array([1, 0, 1]))
    assert rate_R.tolist() == [2e-3, 1e-3, 2e-3]
    with pytest.raises(StageError, match="no base learning rate for compressed"):
        row_rates(["answer", "compressed"], {"answer": 1e-3}, np.array([0]))
