"""Stages on rollouts: equal to a plain loop, to their parent, and to themselves in parts; never overspent."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel
from trl.trainer.distillation_trainer import DistillationTrainer

from curricula.recipe import DIVERGENCES, Divergence, Recipe, Rollouts
from tests.trainers.rollouts import (
    MAX_TOKENS,
    REVERSE,
    Written,
    divergence_of,
    record_rollouts,
)
from tests.trainers.stages import RATES, SEED, TUNINGS, small_store, stage_job, stage_trainer
from trainers.batches import BatchSizes
from trainers.jobs import StageError
from trainers.objectives.teacher import WhiteBoxTeacher, load_white_box_teacher
from trainers.pricing.tuning import EVERYTHING
from trainers.rollouts.on_policy import Learnt, StageDistillationTrainer
from trainers.rollouts.price import RolloutPrice, RolloutSize
from trainers.rollouts.steps import RolloutStep
from trainers.schedule import Schedule
from trainers.sft import GRADIENT_NORM
from trainers.stage import ADAM_BETAS, StageTrainer
from trainers.student import load_student
from trainers.tokens import TokenStore

WHOLE = 6 * 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> WhiteBoxTeacher:
    folder = tmp_path_factory.mktemp("teacher")
    student = load_student("tiny-0.2m", seed=0, cache_dir=folder)
    return load_white_box_teacher("tiny-0.2m", student=student, seed=7, cache_dir=folder, device=torch.device("cpu"))


def _trainer(store: TokenStore, folder: Path, teacher: WhiteBoxTeacher | None, *, name: str = "full") -> StageTrainer:
    trainer = stage_trainer(store, folder, tuning=TUNINGS[name])
    trainer.teacher = teacher
    return trainer


@pytest.mark.parametrize("name", TUNINGS)
def test_two_halves_equal_one_whole_warm_or_cold_and_killed_or_not(
    name: str, store: TokenStore, teacher: WhiteBoxTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = RATES[name]
    whole_job = stage_job(store, ceiling_flops=WHOLE, rate=rate, recipe=REVERSE)
    whole = _trainer(store, tmp_path / "whole", teacher, name=name).train(whole_job)
    warm = _trainer(store, tmp_path / "halves", teacher, name=name)
    first = warm.train(stage_job(store, ceiling_flops=WHOLE // 2, rate=rate, recipe=REVERSE))
    rest = stage_job(store, ceiling_flops=WHOLE - first.flops, start=first, rate=rate, recipe=REVERSE)
    torch.manual_seed(99)  # of no consequence
    second = warm.train(rest)
    assert 1 < first.steps < whole.steps == first.steps + second.steps
    assert second.state_digest == whole.state_digest
    assert np.array_equal(first.seen_R + second.seen_R, whole.seen_R)
    assert first.flops + second.flops == whole.flops

    killed = _trainer(store, tmp_path / "halves", teacher, name=name)
    write, calls = StageDistillationTrainer.write, itertools.count()

    def die(self: StageDistillationTrainer, model: PreTrainedModel, step: RolloutStep) -> Written:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return write(self, model, step)

    monkeypatch.setattr(StageDistillationTrainer, "write", die)
    with pytest.raises(KeyboardInterrupt):
        killed.train(rest)
    assert killed.train(rest).state_digest == whole.state_digest
    cold = _trainer(store, tmp_path / "halves", teacher, name=name).train(rest)
    assert cold.state_digest == whole.state_digest
    assert np.array_equal(cold.loss_sum_R, second.loss_sum_R)


def test_moments_carry_on_between_text_and_rollouts(
    store: TokenStore, teacher: WhiteBoxTeacher, tmp_path: Path
) -> None:
    warm = _trainer(store, tmp_path, teacher)
    text = warm.train(stage_job(store, ceiling_flops=WHOLE // 2))
    rollouts_job = stage_job(store, ceiling_flops=WHOLE // 2, start=text, recipe=REVERSE)
    rollouts = warm.train(rollouts_job)
    assert _trainer(store, tmp_path, teacher).train(rollouts_job).state_digest == rollouts.state_digest
    forgetful = _trainer(store, tmp_path, teacher)
    forgetful.hold("first")
    forgetful.optimizer.state.clear()
    assert forgetful.train(rollouts_job).state_digest != rollouts.state_digest
    text_job = dataclasses.replace(
        stage_job(store, ceiling_flops=WHOLE // 4, start=text),
        start="second",
        start_digest=rollouts.state_digest,
        checkpoint="third",
    )
    warm.train(rollouts_job)
    third = warm.train(text_job)
    assert _trainer(store, tmp_path, teacher).train(text_job).state_digest == third.state_digest


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_stage_equals_a_plain_loop(
    divergence: Divergence,
    store: TokenStore,
    teacher: WhiteBoxTeacher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The slow obvious twin: the same rollouts row by row, unpadded, whole logits, AdamW unfused."""
    recipe = dataclasses.replace(REVERSE, divergence=divergence, logits=2.0, temperature=1.5)
    recorded = record_rollouts(monkeypatch)
    trainer = _trainer(store, tmp_path, teacher)
    trainer.sizes = BatchSizes(step_tokens=400, micro_batch_tokens=100)  # several micro-batches a step
    weight_R = np.linspace(0.5, 1.5, len(stage_job(store, ceiling_flops=1).share_R))
    job = stage_job(store, ceiling_flops=WHOLE, recipe=recipe, loss_weight_R=weight_R)
    outcome = trainer.train(job)
    assert outcome.steps == len(recorded) >= 3
    twin = load_student("tiny-0.2m", seed=SEED, cache_dir=tmp_path).model
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1.0, betas=ADAM_BETAS, weight_decay=0.0)
    price = RolloutPrice(student=trainer.shape, teacher=teacher.shape, tuning=EVERYTHING, divergence=divergence)
    nats_R, tokens_R, spent = np.zeros(len(weight_R)), np.zeros(len(weight_R), dtype=np.int64), 0
    for row_B, rollouts in recorded:
        for group in optimizer.param_groups:
            group["lr"] = RATES["full"] * Schedule().factor(spent / job.total_flops)
        mask = rollouts["completion_mask"].bool()
        for place, row in enumerate(row_B.tolist()):
            prompt = store.prompt(int(job.example_R[row])).tolist()
            said = rollouts["completion_ids"][place][mask[place]].tolist()
            ids = torch.tensor([prompt + said])
            where = slice(len(prompt) - 1, -1)
            with torch.no_grad():
                target = teacher.model(input_ids=ids).logits[0, where]
            loss_W = divergence_of(twin(input_ids=ids).logits[0, where], target, divergence, 1.5)
            loss = loss_W.sum() * (2.0 * 1.5**2 * float(weight_R[row]) / int(mask.sum()))
            loss.backward()
            nats_R[row] += loss_W.sum().item()
            tokens_R[row] += len(said)
        torch.nn.utils.clip_grad_norm_(twin.parameters(), GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        spent += price.flops(
            RolloutSize(
                rows=len(row_B),
                prompt_length=rollouts["prompt_ids"].shape[1],
                written_length=mask.shape[1],
                written_tokens=int(mask.sum()),
            )
        )
    assert spent == outcome.flops
    assert np.array_equal(outcome.tokens_R, tokens_R)
    assert outcome.loss_sum_R == pytest.approx(nats_R, rel=1e-3, abs=1e-3)
    for ours, theirs in zip(trainer.student.model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_steps_loss_is_the_parents(
    divergence: Divergence,
    store: TokenStore,
    teacher: WhiteBoxTeacher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses: list[tuple[float, float]] = []
    learn = StageDistillationTrainer.learn

    def compare(self: StageDistillationTrainer, model: PreTrainedModel, step: RolloutStep, rollouts: Written) -> Learnt:
        self.teacher_model = self.teacher.model
        with monkeypatch.context() as whole_parent:
            states = DistillationTrainer._get_last_hidden_state.__get__(self)
            whole_parent.setattr(self, "_get_last_hidden_state", states)
            theirs, _, _ = DistillationTrainer._compute_loss(self, model, rollouts, rollouts["completion_mask"].sum())
        learnt = learn(self, model, step, rollouts)
        losses.append((learnt.loss.item(), theirs.item()))
        return learnt

    monkeypatch.setattr(StageDistillationTrainer, "learn", compare)
    recipe = dataclasses.replace(REVERSE, divergence=divergence)
    _trainer(store, tmp_path, teacher).train(stage_job(store, ceiling_flops=WHOLE, recipe=recipe))
    assert len(losses) >= 3
    assert [ours for ours, _ in losses] == pytest.approx([theirs for _, theirs in losses], rel=1e-4)


def test_no_stage_is_overspent_and_the_rest_of_a_reservation_returns(
    store: TokenStore, teacher: WhiteBoxTeacher, tmp_path: Path
) -> None:
    trainer = _trainer(store, tmp_path, teacher)
    none = trainer.train(stage_job(store, ceiling_flops=1000, recipe=REVERSE))
    assert none.steps == none.flops == none.tokens == 0
    assert none.next_step_flops > 1000
    assert not (tmp_path / "first").exists()
    for ceiling in (none.next_step_flops, WHOLE // 3, WHOLE // 2):
        trainer = _trainer(store, tmp_path, teacher)
        job = stage_job(store, ceiling_flops=ceiling, recipe=REVERSE)
        outcome = trainer.train(job)
        assert outcome.steps >= 1
        assert outcome.flops <= ceiling < outcome.flops + outcome.next_step_flops
        assert trainer.progress.flops == outcome.flops
        rows = int(outcome.seen_R.sum())
        assert 0 < outcome.tokens_R.sum() <= rows * MAX_TOKENS
        prompts = int((store.prompt_tokens_N[job.example_R] * outcome.seen_R).sum())
        assert outcome.tokens == trainer.progress.tokens == prompts + outcome.tokens_R.sum()
        assert outcome.positions == outcome.positions_R.sum() > 3 * outcome.tokens - rows - 1


def test_a_student_comes_nearer_to_its_teacher(
    store: TokenStore, teacher: WhiteBoxTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    learn = StageDistillationTrainer.learn

    def listen(self: StageDistillationTrainer, model: PreTrainedModel, step: RolloutStep, rollouts: Written) -> Learnt:
        learnt = learn(self, model, step, rollouts)
        losses.append(learnt.loss.item())
        return learnt

    monkeypatch.setattr(StageDistillationTrainer, "learn", listen)
    _trainer(store, tmp_path, teacher).train(stage_job(store, ceiling_flops=2 * 10**10, recipe=REVERSE, rate=3e-3))
    assert len(losses) >= 12
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_rollouts_that_cannot_be_are_refused(store: TokenStore, teacher: WhiteBoxTeacher, tmp_path: Path) -> None:
    job = stage_job(store, ceiling_flops=WHOLE, recipe=REVERSE)
    with pytest.raises(StageError, match="rollouts need a white-box teacher, and the run has none"):
        _trainer(store, tmp_path, None).train(job)
    long = dataclasses.replace(REVERSE, rollouts=Rollouts(max_tokens=1020))
    with pytest.raises(StageError, match=r"a prompt and its rollout can come to .* tokens, and tiny-0\.2m reads 1024"):
        _trainer(store, tmp_path, teacher).train(dataclasses.replace(job, recipe=long))
    with pytest.raises(ValueError, match="rollouts have no target text"):
        Recipe(text=0.0, logits=1.0, detached=True, rollouts=Rollouts(max_tokens=8))
