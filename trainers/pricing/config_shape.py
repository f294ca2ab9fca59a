"""The shape of a model from its config alone: what a config.json says, no weights, no torch.

So a dry run can price a student, or a teacher that would never fit here, before anything is downloaded. A config leaves
out what its architecture's class fills in; those values stand in trainers/pricing/architectures.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from trainers.pricing.architectures import ARCHITECTURES, Architecture, Dimensions, linear_layers
from trainers.pricing.linear_layers import LinearLayer, ModelShape

EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")


def text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    """The part of a config that describes the language model: of one that also sees, `text_config`."""
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return config
    return {"model_type": f"{config.get('model_type')}_text", **inner}


def refuse_experts(config: Mapping[str, object], name: str) -> None:
    """Raise a ValueError if not every weight is computed at every position."""
    for key in EXPERT_KEYS:
        if config.get(key):
            raise ValueError(
                f"{name} is a mixture of experts ({key}={config[key]}): the FLOP formula prices dense decoders only"
            )


def refuse_layers(config: Mapping[str, object], name: str) -> None:
    """Raise a ValueError if a layer is anything but full or windowed attention (convolutions, state spaces)."""
    kinds = config.get("layer_types")
    if isinstance(kinds, list | tuple):
        strange = sorted({str(kind) for kind in kinds} - {"full_attention", "sliding_attention"})
        if strange:
            raise ValueError(f"{name} has layers of type {strange[0]!r}: only full and sliding attention are priced")


def is_known(config: Mapping[str, object]) -> bool:
    """Whether a config's architecture is one that can be priced without being measured."""
    return text_config(config).get("model_type") in ARCHITECTURES


def dimensions(config: Mapping[str, object]) -> Dimensions:
    """The sizes that a config states or leaves to its architecture's defaults.

    Raises:
        ValueError: the architecture is not known, or a size is missing.
    """
    _, full = _filled(config)
    if full["model_type"] == "gpt2":
        hidden, heads = _whole(full, "n_embd"), _whole(full, "n_head")
        return Dimensions(
            vocabulary=_whole(full, "vocab_size"),
            hidden=hidden,
            mlp_width=_whole(full, "n_inner") if full.get("n_inner") else 4 * hidden,
            layers=_whole(full, "n_layer"),
            heads=heads,
            key_value_heads=heads,
            head_width=hidden // heads,
        )
    hidden, heads = _whole(full, "hidden_size"), _whole(full, "num_attention_heads")
    return Dimensions(
        vocabulary=_whole(full, "vocab_size"),
        hidden=hidden,
        mlp_width=_whole(full, "intermediate_size"),
        layers=_whole(full, "num_hidden_layers"),
        heads=heads,
        key_value_heads=_whole(full, "num_key_value_heads") if full.get("num_key_value_heads") else heads,
        head_width=_whole(full, "head_dim") if full.get("head_dim") else hidden // heads,
    )


def config_shape(config: Mapping[str, object]) -> ModelShape:
    """Everything the FLOP formula needs to know, from what a config.json holds.

    Raises:
        ValueError: the architecture is not known or is a mixture of experts, or a size is missing.
    """
    architecture, full = _filled(config)
    size = dimensions(config)
    block = linear_layers(architecture, size)
    tied = bool(full["tie_word_embeddings"])
    block_weights = size.layers * sum(layer.weights for layer in block)
    windowed = _windowed_layers(full, size.layers)
    return ModelShape(
        layers=size.layers,
        block_weights=block_weights,
        attention_width=size.heads * size.head_width,
        head_weights=size.vocabulary * size.hidden,
        parameters=block_weights + _other_parameters(architecture, full, size, block, tied=tied),
        block=block,
        tied=tied,
        parallel_mlp=architecture.layout == "phi",
        norm_before=architecture.norm_before,
        norm_after=architecture.norm_after,
        norm_before_head=architecture.final_norms > 0,
        window=_whole(full, "sliding_window") if windowed else 0,
        windowed_layers=windowed,
    )


def folder_shape(folder: Path) -> ModelShape:
    """The shape of the model whose config.json stands in a folder.

    Raises:
        ValueError: there is none, it is not a config, or its architecture is not known.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no config: a JSON object was expected")
    return config_shape(config)


def _filled(config: Mapping[str, object]) -> tuple[Architecture, Mapping[str, object]]:
    """A config's architecture, and its text part with what it leaves out filled in."""
    text = text_config(config)
    kind = text.get("model_type")
    refuse_experts(text, f"a model of type {kind!r}")
    refuse_layers(text, f"a model of type {kind!r}")
    if kind not in ARCHITECTURES:
        raise ValueError(
            f"the architecture {kind!r} cannot be priced from its config alone; known are {', '.join(ARCHITECTURES)}"
        )
    architecture = ARCHITECTURES[str(kind)]
    return architecture, {**architecture.defaults, **text}


def _whole(config: Mapping[str, object], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"a config of type {config['model_type']!r} needs a whole {key} above 0, got {value!r}")
    return value


def _windowed_layers(config: Mapping[str, object], layers: int) -> int:
    """How many layers keep no more than `sliding_window` positions in their cache."""
    kinds = config.get("layer_types")
    if isinstance(kinds, list | tuple):
        return sum(kind == "sliding_attention" for kind in kinds)
    if not config.get("sliding_window"):
        return 0
    match config["model_type"]:
        case "mistral" | "phi3":
            return layers
        case "qwen2" | "qwen3" if config.get("use_sliding_window"):
            return max(0, layers - _whole(config, "max_window_layers"))
        case "gemma2":
            return (layers + 1) // 2
        case "gemma3_text":
            every = config.get("sliding_window_pattern", 6)
            assert isinstance(every, int), every
            return layers - layers // every
        case "olmo3":
            return layers - layers // 4
    return 0


def _other_parameters(
    architecture: Architecture,
    config: Mapping[str, object],
    size: Dimensions,
    block: tuple[LinearLayer, ...],
    *,
    tied: bool,
) -> int:
    """Embeddings, head, norms and biases: whatever is no weight of a linear layer in a block."""
    wide, narrow = size.heads * size.head_width, size.key_value_heads * size.head_width
    embeddings = size.vocabulary * size.hidden * (1 if tied else 2)
    if architecture.layout == "gpt2":
        embeddings += _whole(config, "n_positions") * size.hidden
    norms = architecture.norms * size.hidden
    if architecture.query_norms == "head":
        norms += 2 * size.head_width
    elif architecture.query_norms == "width":
        norms += wide + narrow
    if config.get("qk_layernorm"):
        norms += 4 * size.head_width
    biased = {"query", "key", "value"} if architecture.biases == "queries" else set()
    if architecture.biases == "all":
        biased = {layer.role for layer in block}
    if architecture.biases == "config" and config.get("attention_bias"):
        biased = {"query", "key", "value", "attended"}
    if architecture.biases == "config" and config.get("mlp_bias"):
        biased = biased | {"mlp_in", "mlp_out"}
    biases = sum(layer.outputs for layer in block if layer.role in biased)
    head_bias = size.vocabulary if architecture.layout == "phi" else 0
    return embeddings + size.layers * (norms + biases) + architecture.final_norms * size.hidden + head_bias
