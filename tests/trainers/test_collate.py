"""A student whose logits are not what its head gives is told before it is trained wrongly."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    StableLmConfig,
    StableLmForCausalLM,
)

from tests.trainers.stores import random_store
from trainers.collate import check_logits

STORE = random_store(vocabulary=60, prompt_tokens=[9, 5, 7], target_tokens=[4, -1, 3])
"""The shortest example offers nothing."""
SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


def _model(architecture: str) -> PreTrainedModel:
    torch.manual_seed(0)
    match architecture:
        case "granite":
            return GraniteForCausalLM(GraniteConfig.from_dict({**SIZES, "logits_scaling": 8.0}))
        case "cohere":
            return CohereForCausalLM(CohereConfig.from_dict({**SIZES, "logit_scale": 0.0625}))
        case "gemma":
            return Gemma2ForCausalLM(Gemma2Config.from_dict({**SIZES, "head_dim": 8, "final_logit_softcapping": 0.1}))
        case "stablelm":
            return StableLmForCausalLM(StableLmConfig.from_dict(SIZES))
        case _:
            return LlamaForCausalLM(LlamaConfig.from_dict(SIZES))


@pytest.mark.parametrize("architecture", ["granite", "cohere"])
def test_a_student_that_scales_its_logits_is_refused(architecture: str) -> None:
    with pytest.raises(ValueError, match=r"student 'x': \w+ForCausalLM changes its logits") as caught:
        check_logits(_model(architecture), STORE, name="x", pad_id=0)
    assert "\n" not in str(caught.value)


def test_a_student_that_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"student 'x': StableLmAttention is not told where packed rows") as caught:
        check_logits(_model("stablelm"), STORE, name="x", pad_id=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["llama", "gemma"])
@pytest.mark.parametrize("training", [True, False])
def test_the_check_passes_others_and_changes_nothing(architecture: str, training: bool) -> None:
    model = _model(architecture).train(training)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    randomness = torch.get_rng_state()
    check_logits(model, STORE, name="x", pad_id=0)
    assert model.training == training
    assert torch.equal(torch.get_rng_state(), randomness)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
