"""A shape from a config alone: what its class leaves out of config.json, every parameter, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trainers.pricing.architectures import ARCHITECTURES
from trainers.pricing.config_shape import config_shape, dimensions, folder_shape
from trainers.pricing.flop_residuals import INSTANCES, small_config

SMOLLM2_135M = {
    **{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30},
    **{"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True},
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_what_a_config_leaves_out_is_what_its_class_fills_in(kind: str) -> None:
    config = AutoConfig.for_model(kind)
    sparse = config_shape({"model_type": kind, **_sizes(config.to_dict()), **config.to_diff_dict()})
    assert sparse == config_shape(config.to_dict())


def _sizes(full: dict[str, object]) -> dict[str, object]:
    """What every published config states."""
    stated = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {key: full[key] for key in (*stated, "n_embd", "n_layer", "n_head") if key in full}


def test_a_config_that_states_no_size_has_those_of_its_class() -> None:
    full = AutoConfig.for_model("gemma3_text").to_dict()
    assert config_shape({"model_type": "gemma3_text"}) == config_shape(full)


@pytest.mark.parametrize("name", INSTANCES)
def test_every_parameter_is_counted(name: str) -> None:
    config = small_config(name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert config_shape(config.to_dict()).parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", sorted(set(ARCHITECTURES) - {"gpt2", "gemma3_text", "gemma2"}))
def test_optional_biases_and_norms_are_counted(kind: str) -> None:
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "pad_token_id": 0}
    optional = {"attention_bias": True, "mlp_bias": True} if kind in ("llama", "smollm3") else {"attention_bias": True}
    config = AutoConfig.for_model(kind, **sizes, num_attention_heads=4, num_key_value_heads=2, **optional)
    if kind == "phi":
        config.qk_layernorm = True
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert config_shape(config.to_dict()).parameters == sum(parameter.numel() for parameter in model.parameters())


def test_a_published_model_has_its_published_parameters(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2_135M), encoding="utf-8")
    shape = folder_shape(tmp_path)
    assert shape.parameters == 134_515_008
    assert shape.block_weights == 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    assert (shape.layers, shape.attention_width, shape.head_weights) == (30, 576, 49152 * 576)


def test_the_text_part_of_a_config_that_also_sees_is_priced() -> None:
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    shape = config_shape({"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 1152}})
    assert shape == config_shape({"model_type": "gemma3_text", **text})
    assert (shape.window, shape.windowed_layers) == (1024, 34 - 5)
    assert shape.tied


@pytest.mark.parametrize(
    ("changes", "windowed"),
    [
        ({"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 131072}, 0),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 128, "max_window_layers": 21}, 9),
        ({"model_type": "mistral", "sliding_window": None}, 0),
        ({"model_type": "mistral", "sliding_window": 4096}, 30),
        ({"model_type": "phi3"}, 0),
        ({"model_type": "gemma2"}, 15),
        ({"model_type": "olmo3"}, 23),
    ],
)
def test_windowed_layers_are_those_of_the_class(changes: dict[str, object], windowed: int) -> None:
    config = {**SMOLLM2_135M, **changes}
    assert config_shape(config).windowed_layers == windowed
    assert config_shape(AutoConfig.for_model(**config).to_dict()).windowed_layers == windowed


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mixtral", "num_local_experts": 8}, "mixture of experts"),
        ({"model_type": "mamba"}, "'mamba' cannot be priced from its config alone; known are llama"),
        ({"model_type": "llama", "vocab_size": 10}, "needs a whole hidden_size above 0, got None"),
        ({**SMOLLM2_135M, "layer_types": ["full_attention", "linear_attention"]}, "layers of type 'linear_attention'"),
    ],
)
def test_what_cannot_be_priced_is_refused_in_one_line(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        config_shape(config)
    assert "\n" not in str(refusal.value)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json"):
        folder_shape(tmp_path)


def test_dimensions_of_gpt2_are_found_under_its_own_names() -> None:
    size = dimensions({"model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12})
    assert (size.mlp_width, size.key_value_heads, size.head_width) == (3072, 12, 64)
