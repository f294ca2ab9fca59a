"""Rollouts that end at once or never, that cannot be, or that give no numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from curricula.recipe import Rollouts
from tests.trainers.rollouts import (
    MAX_TOKENS,
    REVERSE,
    Written,
    divergence_of,
    one_step,
    random_stage,
    random_teacher,
    record_rollouts,
)
from trainers.jobs import NotFiniteError, StageError
from trainers.pricing.flop_residuals import small_config, small_model
from trainers.rollouts.on_policy import StageDistillationTrainer
from trainers.rollouts.steps import RolloutStep


def test_padding_is_no_text_for_learnt_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = record_rollouts(monkeypatch)
    teacher = random_teacher("GPT-2")
    trainer, job = random_stage("GPT-2", tmp_path, teacher=teacher)
    twin = small_model(small_config("GPT-2")).eval()
    outcome = trainer.train(one_step(trainer, job))
    row_B, rollouts = recorded[0]
    assert len({len(trainer.store.prompt(int(job.example_R[row]))) for row in row_B.tolist()}) > 1
    for place, row in enumerate(row_B.tolist()):
        prompt = trainer.store.prompt(int(job.example_R[row])).tolist()
        said = rollouts["completion_ids"][place][rollouts["completion_mask"][place].bool()].tolist()
        ids = torch.tensor([prompt + said])
        with torch.no_grad():
            ours, theirs = (model(input_ids=ids).logits[0, len(prompt) - 1 : -1] for model in (twin, teacher.model))
        expected = divergence_of(ours, theirs, "reverse", 1.0).mean().item()
        assert outcome.loss_R[row] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("eager_to_end", [False, True])
def test_rollouts_that_end_at_once_and_those_that_never_do_are_trained_on(eager_to_end: bool, tmp_path: Path) -> None:
    trainer, job = random_stage("Llama", tmp_path)
    if eager_to_end:  # at half of all states for certain, at the others never
        with torch.no_grad():
            trainer.student.model.get_parameter("lm_head.weight")[trainer.student.end_id] *= 1e3
    outcome = trainer.train(one_step(trainer, job))
    drawn_R = outcome.seen_R > 0
    assert (1 if eager_to_end else MAX_TOKENS) in (outcome.tokens_R[drawn_R] / outcome.seen_R[drawn_R]).tolist()
    assert np.isfinite(outcome.loss_R[drawn_R]).all()


@pytest.mark.parametrize("temperature", [1.0, 1e-3])
def test_rollouts_are_sampled_at_their_own_temperature(
    temperature: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = record_rollouts(monkeypatch)
    recipe = dataclasses.replace(REVERSE, rollouts=Rollouts(max_tokens=MAX_TOKENS, temperature=temperature))
    trainer, job = random_stage("Llama", tmp_path, recipe=recipe)
    trainer.train(one_step(trainer, job))
    rollouts = recorded[0][1]
    twin = small_model(small_config("Llama")).eval()
    ids, mask = (torch.cat([rollouts[f"prompt_{part}"], rollouts[f"completion_{part}"]], 1) for part in ("ids", "mask"))
    with torch.no_grad():
        logits = twin(input_ids=ids, attention_mask=mask).logits[:, rollouts["prompt_ids"].shape[1] - 1 : -1]
    greedy = (logits.argmax(-1) == rollouts["completion_ids"])[rollouts["completion_mask"].bool()].float().mean()
    assert greedy > 0.9 if temperature < 1 else greedy < 0.5


def test_no_token_beyond_the_shared_vocabulary_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either model's embedding may have rows for no token, and not as many as the other's."""
    recorded = record_rollouts(monkeypatch)
    recipe = dataclasses.replace(REVERSE, rollouts=Rollouts(max_tokens=MAX_TOKENS, temperature=20.0))
    teacher = random_teacher("Qwen2", vocabulary=100)
    teacher.model.resize_token_embeddings(120, mean_resizing=False)
    trainer, job = random_stage("Llama", tmp_path, recipe=recipe, teacher=teacher)
    trainer.store.ids[:] %= 100
    assert trainer.train(job).steps > 1
    assert max(int(rollouts["completion_ids"].max()) for _, rollouts in recorded) < 100


def test_a_divergence_that_is_not_finite_stops_the_stage_and_names_its_rows(tmp_path: Path) -> None:
    trainer, job = random_stage("Llama", tmp_path)
    assert trainer.teacher is not None
    embedded = trainer.teacher.model.get_parameter("model.embed_tokens.weight")
    bad = 4
    store = trainer.store
    word = int(store.prompt(bad)[0])
    with torch.no_grad():
        embedded[word] = float("nan")
    with pytest.raises(NotFiniteError) as caught:
        trainer.train(job)
    assert caught.value.what == "loss"
    reads = [row for row in range(20) if word in store.prompt(row)]
    assert set(caught.value.bad_rows) & set(reads)
    assert not set(caught.value.other_rows) & set(reads)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "first").exists()


@pytest.mark.parametrize("steps_taken", [3, 1])  # seen before the next rollouts; seen at the end of the stage
def test_a_gradient_that_is_not_finite_is_blamed_on_its_own_step(
    steps_taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = record_rollouts(monkeypatch)
    trainer, job = random_stage("Llama", tmp_path)
    job = job if steps_taken > 1 else one_step(trainer, job)
    weight = next(iter(trainer.student.model.parameters()))
    weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NotFiniteError) as caught:
        trainer.train(job)
    assert caught.value.what == "gradient"
    assert len(recorded) == 1
    assert caught.value.bad_rows == tuple(recorded[0][0].tolist())
    assert not (tmp_path / "first").exists()


def test_memory_that_runs_out_ends_the_stage_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: StageDistillationTrainer, model: PreTrainedModel, step: RolloutStep) -> Written:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(StageDistillationTrainer, "write", full)
    trainer, job = random_stage("Llama", tmp_path)
    with pytest.raises(StageError, match="there is no memory for 8 rollouts of up to 10 tokens; lower --step_tokens"):
        trainer.train(job)
