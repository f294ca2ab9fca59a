"""The formula against torch's own counter: every architecture, every pass, whatever is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import GenerationConfig, PreTrainedModel

from tests.trainers.stores import random_store
from trainers.batches import BatchSizes
from trainers.jobs import StageJob
from trainers.pricing.flop_residuals import (
    INSTANCES,
    ROWS,
    VOCABULARY,
    WINDOW,
    counted_training_flops,
    random_rows,
    residuals,
    small_config,
    small_model,
)
from trainers.pricing.flops import generate_flops
from trainers.pricing.shape import model_shape
from trainers.pricing.step_price import StepPrice
from trainers.pricing.tuning import Adapters, Tuning
from trainers.schedule import Schedule
from trainers.stage import StageTrainer
from trainers.student import Student, load_student

PARTS = {
    "upper blocks and head": Tuning(embeddings=False, blocks=(1, 2)),
    "a middle block": Tuning(embeddings=False, blocks=(1,), head=False),
    "all blocks": Tuning(embeddings=False, head=False),
    "head": Tuning(embeddings=False, blocks=()),
    "embeddings": Tuning(blocks=(), head=False),
    "embeddings and lower block": Tuning(blocks=(0,), head=False),
    "upper adapters": Tuning(adapters=Adapters(rank=4), embeddings=False, head=False, blocks=(2,)),
}
SOME_LAYERS = {
    "Llama": ("q_proj", "v_proj"),
    "Qwen2": ("k_proj", "up_proj"),
    "Gemma 2": ("v_proj",),
    "GPT-2": ("c_proj",),
    "Phi": ("q_proj",),
    "Phi-3": ("gate_up_proj",),
    "OLMo 2": ("down_proj",),
}


@pytest.mark.parametrize("name", INSTANCES)
def test_every_pass_costs_what_torch_counts(name: str) -> None:
    for residual in residuals(name):
        assert abs(residual.relative) < 0.001, residual


def _train(model: PreTrainedModel, tuning: Tuning) -> None:
    """Set what is trained, part by part."""
    for path, parameter in model.named_parameters():
        embeds = any(name in ("embed_tokens", "wte", "wpe") for name in path.split("."))
        parameter.requires_grad_(tuning.embeddings if embeds else tuning.head)
    blocks = model.get_decoder().get_submodule("h" if model.config.model_type == "gpt2" else "layers")
    for number, block in enumerate(blocks.children()):
        for path, parameter in block.named_parameters():
            parameter.requires_grad_(tuning.trains_block(number) and (tuning.adapters is None or "lora_" in path))


def _partial(name: str, tuning: Tuning) -> tuple[int, int]:
    """Priced and counted FLOPs of a training pass of an instance."""
    model = small_model(small_config(name), tuning.adapters)
    _train(model, tuning)
    if tuning.recompute:
        model.activation_checkpointing_enable()
        if not tuning.marked_input:
            model.disable_input_require_grads()
        model.train()
    rows, batch = random_rows()
    priced = StepPrice(shape=model_shape(model), tuning=tuning).flops(rows)
    return priced, counted_training_flops(model, batch)


def _fits(name: str, tuning: Tuning) -> bool:
    return not model_shape(small_model(small_config(name))).tied or tuning.embeddings == tuning.head


@pytest.mark.parametrize("name", ["Llama", "Phi", "OLMo", "OLMo 2", "GPT-2"])
def test_frozen_parts_save_what_torch_leaves_out(name: str) -> None:
    for part, tuning in PARTS.items():
        for recompute, marked in ((False, True), (True, True), (True, False)):
            if not _fits(name, tuning):
                continue
            tuned = Tuning(
                embeddings=tuning.embeddings,
                blocks=tuning.blocks,
                head=tuning.head,
                adapters=tuning.adapters,
                recompute=recompute,
                marked_input=marked,
            )
            priced, counted = _partial(name, tuned)
            assert priced == pytest.approx(counted, rel=0.01), (part, recompute, marked)


@pytest.mark.parametrize("name", SOME_LAYERS)
def test_adapters_on_some_layers_cost_what_torch_counts(name: str) -> None:
    for recompute in (False, True):
        tuning = Tuning(
            adapters=Adapters(rank=4, layers=SOME_LAYERS[name]),
            embeddings=False,
            head=False,
            recompute=recompute,
            marked_input=False,
        )
        priced, counted = _partial(name, tuning)
        assert priced == pytest.approx(counted, rel=0.01), recompute


@pytest.mark.parametrize("prompt", [WINDOW - 20, WINDOW + 8])
@pytest.mark.parametrize("name", ["Gemma 2", "Gemma 3 (text)", "Mistral", "Phi-3", "GPT-2"])
def test_generation_past_a_window_costs_what_torch_counts(name: str, prompt: int) -> None:
    model = small_model(small_config(name)).eval()
    config = GenerationConfig(do_sample=False, max_new_tokens=30, pad_token_id=0, eos_token_id=VOCABULARY + 1)
    ids = torch.randint(1, VOCABULARY, (ROWS, prompt))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)  # pyright: ignore[reportCallIssue]
    priced = generate_flops(model_shape(model), rows=ROWS, prompt_length=prompt, new_tokens=30)
    assert priced == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_adapters_are_no_part_of_a_models_shape() -> None:
    plain = small_model(small_config("Llama"))
    assert model_shape(small_model(small_config("Llama"), Adapters(rank=4))) == model_shape(plain)


def test_a_model_that_is_not_what_its_config_says_is_refused() -> None:
    model = small_model(small_config("Llama"))
    model.get_decoder().get_submodule("layers.0.mlp").add_module("extra", nn.Linear(8, 8))
    with pytest.raises(ValueError, match="not the architecture that it names"):
        model_shape(model)


def test_a_whole_stage_is_charged_what_torch_counts(tmp_path: Path) -> None:
    tokenizer = load_student("tiny-0.2m", seed=0, cache_dir=tmp_path).tokenizer
    student = Student(name="small", model=small_model(small_config("Llama")), tokenizer=tokenizer)
    rng = np.random.default_rng(0)
    store = random_store(
        vocabulary=VOCABULARY,
        prompt_tokens=rng.integers(5, 40, 20).tolist(),
        target_tokens=rng.integers(2, 40, 20).tolist(),
    )
    trainer = StageTrainer(
        student=student,
        store=store,
        shape=model_shape(student.model),
        sizes=BatchSizes(step_tokens=300, micro_batch_tokens=400),
        schedule=Schedule(),
        checkpoints=tmp_path,
        seed=0,
    )
    job = StageJob(
        example_R=np.arange(20),
        supervision_R=np.zeros(20, dtype=np.int64),
        share_R=np.ones(20),
        loss_weight_R=None,
        rate_R=np.full(20, 1e-3),
        ceiling_flops=2 * 10**9,
        spent_flops=0,
        total_flops=2 * 10**9,
        seed=0,
        start=None,
        start_digest=None,
        checkpoint="stage",
    )
    with FlopCounterMode(display=False) as counter:
        outcome = trainer.train(job)
    assert outcome.steps > 1
    assert outcome.flops == pytest.approx(counter.get_total_flops(), rel=0.01)
