"""The formula against torch's own counter, around the real loss, the real head and real generation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MixtralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from tests.trainers.stores import random_store
from trainers.batches import pack
from trainers.collate import Rows, collate, packed_pass, supervised_logits, token_losses
from trainers.pricing.flops import ModelShape, forward_flops, generate_flops, train_flops
from trainers.pricing.shape import model_shape
from trainers.pricing.step_price import StepPrice

VOCABULARY = 300
CONFIGS = {
    "llama": LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=176, num_hidden_layers=3, num_attention_heads=4
    ),
    "llama with grouped queries, tied": LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=200,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "qwen3 with wide heads": Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
    ),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=256, attn_pdrop=0.0),
}


def _model(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)


@pytest.mark.parametrize("name", CONFIGS)
def test_training_step_costs_what_torch_counts(name: str) -> None:
    model = _model(CONFIGS[name])
    store = random_store(vocabulary=VOCABULARY, prompt_tokens=[30, 26], target_tokens=[20, 22])
    rows = Rows(store=store, example_R=np.arange(2), supervision_R=np.zeros(2, dtype=np.int64))
    batch = pack(np.arange(2), np.array([50, 48]), np.array([20, 22]), micro_batch_tokens=100)[0]
    tensors = collate(rows, batch, pad_id=0, device=torch.device("cpu"))
    with FlopCounterMode(display=False) as counter, packed_pass(model, tensors):
        token_losses(supervised_logits(model, tensors), tensors.label_H).sum().backward()
    ours = StepPrice(shape=model_shape(model)).flops(batch)
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("name", CONFIGS)
def test_generation_costs_what_torch_counts(name: str) -> None:
    model = _model(CONFIGS[name]).eval()
    prompt = torch.randint(1, VOCABULARY, (3, 40))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.generate(  # pyright: ignore[reportCallIssue]
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=12,
            max_new_tokens=12,
            pad_token_id=0,
        )
    ours = generate_flops(model_shape(model), rows=3, prompt_length=40, new_tokens=12)
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_backward_costs_twice_the_forward() -> None:
    shape = ModelShape(layers=2, block_weights=1000, attention_width=8, head_weights=300, parameters=1300)
    forward = forward_flops(shape, rows=4, length=16, head_positions=10)
    assert train_flops(shape, rows=4, length=16, head_positions=10) == 3 * forward
    assert forward == 2 * 4 * 16 * 1000 + 4 * 4 * 16 * 16 * 2 * 8 + 2 * 10 * 300


def test_generation_is_prefill_plus_decode_steps() -> None:
    shape = ModelShape(layers=2, block_weights=1000, attention_width=8, head_weights=300, parameters=1300)
    slow = forward_flops(shape, rows=3, length=10, head_positions=3)
    for attended in range(11, 16):  # five steps after the prefill, each attending to one position more
        slow += 3 * (2 * (1000 + 300) + 4 * attended * 2 * 8)
    assert generate_flops(shape, rows=3, prompt_length=10, new_tokens=6) == slow


def test_mixture_of_experts_is_refused() -> None:
    config = MixtralConfig(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    with pytest.raises(ValueError, match="mixture of experts"):
        model_shape(_model(config))


def test_shape_of_a_tiny_student_is_counted_by_hand(tmp_path: Path) -> None:
    shape = model_shape(_model(CONFIGS["llama"]))
    assert shape.block_weights == 3 * (4 * 64 * 64 + 3 * 64 * 176)
    assert shape.head_weights == VOCABULARY * 64
    assert shape.attention_width == 64
