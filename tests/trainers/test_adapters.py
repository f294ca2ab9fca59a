"""LoRA: seeded, everything else frozen, in use wherever the student computes, and gone after an export."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedModel

from tests.trainers.stages import LORA, RATES, TUNINGS, small_store, stage_job, stage_trainer
from trainers.adapters import add_adapters, merged_weights
from trainers.checkpoint import frozen_digest, load_state
from trainers.collate import Rows
from trainers.generation import Generator
from trainers.measuring import force_flops
from trainers.pricing.shape import model_shape
from trainers.student import load_student
from trainers.tokens import TokenStore

WHOLE = 4 * 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


def _model(kind: str, folder: Path) -> PreTrainedModel:
    if kind == "llama":
        return load_student("tiny-0.2m", seed=0, cache_dir=folder).model.eval()
    sizes = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    return AutoModelForCausalLM.from_config(
        GPT2Config.from_dict({**sizes, "bos_token_id": 0, "eos_token_id": 1})
    ).eval()


def _stir(model: PreTrainedModel) -> None:
    """Give every adapter a say; untrained, B is zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0.0, 0.1)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_stand_on_all_linear_layers_of_the_blocks_and_change_nothing_yet(kind: str, tmp_path: Path) -> None:
    model = _model(kind, tmp_path)
    tokens_BT = torch.arange(5, 29).reshape(2, 12)
    with torch.no_grad():
        before = model(tokens_BT).logits
        randomness = torch.get_rng_state()
        shape = model_shape(model)
        add_adapters(model, rank=4, alpha=32.0, seed=1)
        assert torch.equal(torch.get_rng_state(), randomness)
        assert torch.equal(model(tokens_BT).logits, before)
    trained = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)
    assert sum(trained.values()) == shape.layers * sum(4 * (layer.inputs + layer.outputs) for layer in shape.block)


def test_adapters_are_drawn_from_the_seed_alone(tmp_path: Path) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.rand(seed)
        model = _model("llama", tmp_path)
        add_adapters(model, rank=4, alpha=32.0, seed=seed)
        drawn.append(next(p for name, p in model.named_parameters() if ".lora_A." in name))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_merged_export_computes_what_the_adapted_student_does(kind: str, tmp_path: Path) -> None:
    model = _model(kind, tmp_path)
    add_adapters(model, rank=4, alpha=32.0, seed=1)
    _stir(model)
    model.save_pretrained(tmp_path / "student", state_dict=merged_weights(model))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "student").eval()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    tokens_BT = torch.arange(5, 29).reshape(2, 12)
    with torch.no_grad():
        assert torch.allclose(merged(tokens_BT).logits, model(tokens_BT).logits, rtol=1e-4, atol=1e-4)


def test_training_moves_the_adapters_and_a_checkpoint_holds_no_more(store: TokenStore, tmp_path: Path) -> None:
    trainer = stage_trainer(store, tmp_path, tuning=LORA)
    base = frozen_digest(trainer.student.model)
    trainer.train(stage_job(store, ceiling_flops=WHOLE, rate=RATES["lora"]))
    assert frozen_digest(trainer.student.model) == base == load_state(tmp_path / "first").frozen
    weights = [name for name in load_state(tmp_path / "first").tensors if name.startswith("weight.")]
    assert weights and all(".lora_" in name for name in weights)
    full = stage_trainer(store, tmp_path / "full")
    full.train(stage_job(store, ceiling_flops=WHOLE))
    assert load_state(tmp_path / "full" / "first").frozen == ""


def test_adapters_of_another_base_or_of_none_are_refused(store: TokenStore, tmp_path: Path) -> None:
    stage_trainer(store, tmp_path, tuning=LORA).train(stage_job(store, ceiling_flops=WHOLE))
    with pytest.raises(ValueError, match="its frozen weights are not these"):
        stage_trainer(store, tmp_path, tuning=LORA, student_seed=99).hold("first")
    with pytest.raises(ValueError, match="of another model"):
        stage_trainer(store, tmp_path).hold("first")


def test_answers_and_forced_losses_are_the_adapted_students(store: TokenStore, tmp_path: Path) -> None:
    student = load_student("tiny-0.2m", seed=1, cache_dir=tmp_path)
    shape = model_shape(student.model)
    add_adapters(student.model, rank=4, alpha=32.0, seed=1)
    _stir(student.model)
    generator = Generator(
        student=student,
        store=store,
        shape=shape,
        max_output_tokens=12,
        micro_batch_tokens=800,
        adapters=LORA.adapters,
    )
    student.model.save_pretrained(tmp_path / "merged", state_dict=merged_weights(student.model))
    student.tokenizer.save_pretrained(tmp_path / "merged")
    merged = Generator(
        student=load_student(str(tmp_path / "merged"), seed=0, cache_dir=tmp_path),
        store=store,
        shape=shape,
        max_output_tokens=12,
        micro_batch_tokens=800,
    )
    offered = np.argwhere(store.target_tokens_NS >= 0)[:20]
    rows = Rows(store=store, example_R=offered[:, 0], supervision_R=offered[:, 1])
    ours, theirs = generator.force(rows, purpose="features"), merged.force(rows, purpose="features")
    assert ours.loss_Q == pytest.approx(theirs.loss_Q, rel=1e-4)
    adapted = force_flops(
        shape, rows.prompt_tokens_R, rows.target_tokens_R, micro_batch_tokens=800, adapters=LORA.adapters
    )
    assert ours.charge.flops == adapted > theirs.charge.flops
    answers = generator.generate_batch(range(8), mode="free", purpose="probe")
    assert answers.text_Q == merged.generate_batch(range(8), mode="free", purpose="probe").text_Q


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", TUNINGS)
def test_a_stage_costs_what_torch_counts(name: str, recompute: bool, store: TokenStore, tmp_path: Path) -> None:
    tuning = dataclasses.replace(TUNINGS[name], recompute=recompute, marked_input=False)
    trainer = stage_trainer(store, tmp_path, tuning=tuning)
    trainer.student.model.set_attn_implementation("eager")  # the counter sees no attention in a CPU's own kernel
    with FlopCounterMode(display=False) as counter:
        outcome = trainer.train(stage_job(store, ceiling_flops=WHOLE))
    assert outcome.steps >= 2
    assert outcome.flops == pytest.approx(counter.get_total_flops(), rel=0.01)
