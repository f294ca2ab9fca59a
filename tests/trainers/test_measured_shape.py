"""Architectures that are not known are measured, or refused in one line."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from trainers.pricing.flop_residuals import LENGTH, ROWS, counted_training_flops, random_rows
from trainers.pricing.flops import forward_flops, train_flops
from trainers.pricing.shape import model_shape
from trainers.pricing.step_price import StepPrice
from trainers.pricing.tuning import adapter_tuning

SIZES = {
    **{"vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}


def _model(kind: str, **sizes: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **sizes)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)


@pytest.mark.parametrize("kind", ["granite", "gpt_neox", "cohere", "starcoder2"])
def test_an_unknown_dense_decoder_is_measured(kind: str) -> None:
    model = _model(kind, **SIZES)
    shape = model_shape(model)
    rows, batch = random_rows()
    priced = StepPrice(shape=shape).flops(rows)
    assert priced == pytest.approx(counted_training_flops(model, batch), rel=0.01)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.ones((ROWS, LENGTH), dtype=torch.int64), use_cache=False, logits_to_keep=1)
    priced = forward_flops(shape, rows=ROWS, length=LENGTH, head_positions=ROWS)
    assert priced == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = _model("granite", **SIZES).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model_shape(model)
    assert model.training and model.device.type == "cpu"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_of_a_measured_model_only_the_whole_is_priced() -> None:
    shape = model_shape(_model("granite", **SIZES))
    with pytest.raises(ValueError, match="only the sums are known"):
        train_flops(shape, rows=1, length=8, head_positions=8, tuning=adapter_tuning(rank=4))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("mixtral", {"num_local_experts": 2}, "mixture of experts"),
        ("qwen3_moe", {"num_experts": 4, "moe_intermediate_size": 16}, "mixture of experts"),
        ("mamba", {"state_size": 4}, "convolutions or recurrence"),
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, "layers of type 'conv'"),
        ("rwkv", {"attention_hidden_size": 64}, "no attention that grows with the square"),
        ("modernbert-decoder", {}, "cannot be fitted: a decode step"),
    ],
)
def test_what_is_not_dense_is_refused(kind: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        model_shape(_model(kind, **{**SIZES, **changes}))
    assert "\n" not in str(refusal.value)
