"""Memory of serving against real models: their weights, and the cache that a forward pass leaves."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
)
from transformers.cache_utils import CacheLayerMixin

from trainers.pricing.serving import serving_bytes
from trainers.pricing.shape import model_shape

TOKENS = 24


def _sized(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same architecture, small, with two heads to each key."""
    changes = {
        **{"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3},
        **{"num_attention_heads": 4, "num_key_value_heads": 2},
    }
    return type(config).from_dict({**config.to_dict(), "layer_types": None, "head_dim": 8, **changes})


CONFIGS: dict[str, PreTrainedConfig] = {
    "heads share keys": _sized(LlamaConfig()),
    "keys and values in one layer": _sized(Phi3Config(pad_token_id=0)),
    "every head has its own": GPT2Config(vocab_size=90, n_embd=32, n_layer=2, n_head=4),
    "windows": _sized(Gemma2Config(head_dim=8, sliding_window=10)),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_weights_and_cache_are_those_of_the_model(config: PreTrainedConfig) -> None:
    model = AutoModelForCausalLM.from_config(config).eval()
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(input_ids=torch.ones((1, TOKENS), dtype=torch.int64), past_key_values=cache, use_cache=True)
        # A window is cut when the next token comes.
        model(input_ids=torch.ones((1, 1), dtype=torch.int64), past_key_values=cache, use_cache=True)
    cached = 0
    for layer in cache.layers:
        assert isinstance(layer, CacheLayerMixin) and layer.keys is not None and layer.values is not None
        cached += layer.keys.nbytes + layer.values.nbytes
    weights = sum(parameter.nbytes for parameter in model.parameters())
    shape = model_shape(model)
    ours = serving_bytes(shape, tokens=TOKENS + 1)
    assert ours is not None
    # transformers keeps one position less than a window: the running token is the last of it.
    slack = shape.windowed_layers * 2 * 16 * 4
    assert weights + cached <= ours <= weights + cached + slack
    assert serving_bytes(shape, tokens=TOKENS + 1, number_bytes=2) == ours // 2


def test_a_shape_of_which_only_sums_are_known_has_no_cache_to_tell() -> None:
    shape = model_shape(AutoModelForCausalLM.from_config(CONFIGS["heads share keys"]))
    assert serving_bytes(dataclasses.replace(shape, block=()), tokens=10) is None
    with pytest.raises(ValueError, match="0 or more, got -1"):
        serving_bytes(shape, tokens=-1)
