"""The dense decoders that are priced from their config alone, one entry for each `model_type`. No torch in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainers.pricing.linear_layers import LinearLayer


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """The sizes of a dense decoder.

    Example: SmolLM2-135M.
        Dimensions(vocabulary=49_152, hidden=576, mlp_width=1536, layers=30, heads=9, key_value_heads=3, head_width=64)
    """

    vocabulary: int
    hidden: int
    mlp_width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How a family of models is built; one for each `model_type` of a config.

    Example: GPT-2's fused queries, keys and values, two-matrix MLP and layer norms with a bias.
        Architecture(layout="gpt2", norms=4, final_norms=2, biases="all", defaults={"tie_word_embeddings": True})
    """

    layout: Literal["gated", "fused", "phi", "gpt2"] = "gated"
    norms: int = 2  # norm vectors of hidden size in a block: weights, and biases where a norm has them
    final_norms: int = 1  # such vectors before the head
    query_norms: Literal["none", "head", "width"] = "none"  # a norm of queries and keys, per head or over all heads
    biases: Literal["none", "queries", "config", "all"] = "config"  # of linear layers; config: if it says so
    norm_before: bool = True
    norm_after: bool = False
    defaults: Mapping[str, object]  # what the config may leave out


_UNTIED = {"tie_word_embeddings": False}
_TIED = {"tie_word_embeddings": True}
_GEMMA_SIZES = {
    **_TIED,
    **{"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8},
    **{"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
}
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(defaults=_UNTIED),
    "mistral": Architecture(biases="none", defaults={**_UNTIED, "num_key_value_heads": 8, "sliding_window": 4096}),
    "qwen2": Architecture(
        biases="queries",
        defaults={**_UNTIED, "num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28},
    ),
    "qwen3": Architecture(
        query_norms="head",
        defaults={
            **_UNTIED,
            **{"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096, "max_window_layers": 28},
        },
    ),
    "smollm3": Architecture(defaults={**_TIED, "num_key_value_heads": 4}),
    "gemma": Architecture(defaults={**_TIED, "num_key_value_heads": 16, "head_dim": 256}),
    "gemma2": Architecture(norms=4, norm_after=True, defaults={**_GEMMA_SIZES, "vocab_size": 256_000}),
    "gemma3_text": Architecture(
        norms=4, query_norms="head", norm_after=True, defaults={**_GEMMA_SIZES, "vocab_size": 262_208}
    ),
    "olmo": Architecture(norms=0, final_norms=0, norm_before=False, defaults=_UNTIED),
    "olmo2": Architecture(query_norms="width", norm_before=False, norm_after=True, defaults=_UNTIED),
    "olmo3": Architecture(
        query_norms="width", norm_before=False, norm_after=True, defaults={**_UNTIED, "sliding_window": 4096}
    ),
    "phi": Architecture(layout="phi", final_norms=2, biases="all", defaults=_UNTIED),
    "phi3": Architecture(layout="fused", biases="none", defaults=_UNTIED),
    "gpt2": Architecture(layout="gpt2", norms=4, final_norms=2, biases="all", defaults={**_TIED, "n_positions": 1024}),
}


def linear_layers(architecture: Architecture, size: Dimensions) -> tuple[LinearLayer, ...]:
    """The linear layers of one block, in the order in which they are computed."""
    hidden, mlp = size.hidden, size.mlp_width
    wide, narrow = size.heads * size.head_width, size.key_value_heads * size.head_width
    apart = (
        LinearLayer(name="q_proj", inputs=hidden, outputs=wide, role="query"),
        LinearLayer(name="k_proj", inputs=hidden, outputs=narrow, role="key"),
        LinearLayer(name="v_proj", inputs=hidden, outputs=narrow, role="value"),
    )
    match architecture.layout:
        case "gated":
            return (
                *apart,
                LinearLayer(name="o_proj", inputs=wide, outputs=hidden, role="attended"),
                LinearLayer(name="gate_proj", inputs=hidden, outputs=mlp, role="mlp_in"),
                LinearLayer(name="up_proj", inputs=hidden, outputs=mlp, role="mlp_in"),
                LinearLayer(name="down_proj", inputs=mlp, outputs=hidden, role="mlp_out"),
            )
        case "fused":
            return (
                LinearLayer(name="qkv_proj", inputs=hidden, outputs=wide + 2 * narrow, role="query_key_value"),
                LinearLayer(name="o_proj", inputs=wide, outputs=hidden, role="attended"),
                LinearLayer(name="gate_up_proj", inputs=hidden, outputs=2 * mlp, role="mlp_in"),
                LinearLayer(name="down_proj", inputs=mlp, outputs=hidden, role="mlp_out"),
            )
        case "phi":
            return (
                *apart,
                LinearLayer(name="dense", inputs=wide, outputs=hidden, role="attended"),
                LinearLayer(name="fc1", inputs=hidden, outputs=mlp, role="mlp_in"),
                LinearLayer(name="fc2", inputs=mlp, outputs=hidden, role="mlp_out"),
            )
        case "gpt2":  # both layers that write to the residual stream are called c_proj: an adapter names both
            return (
                LinearLayer(name="c_attn", inputs=hidden, outputs=3 * hidden, role="query_key_value"),
                LinearLayer(name="c_proj", inputs=hidden, outputs=hidden, role="attended"),
                LinearLayer(name="c_fc", inputs=hidden, outputs=mlp, role="mlp_in"),
                LinearLayer(name="c_proj", inputs=mlp, outputs=hidden, role="mlp_out"),
            )
