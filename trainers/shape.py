"""The shape of a loaded model, read off its modules, for the FLOP formula."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainers.flops import ModelShape

_EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")


def model_shape(model: PreTrainedModel) -> ModelShape:
    """Count the linear weights of the blocks and of the head.

    Raises:
        ValueError: the architecture does not compute every weight at every position (mixtures of experts), or has
            parts the formula does not know.
    """
    config = model.config.get_text_config().to_dict()
    experts = [key for key in _EXPERT_KEYS if config.get(key)]
    if experts:
        raise ValueError(
            f"{type(model).__name__} is a mixture of experts ({experts[0]}={config[experts[0]]}): "
            "the FLOP formula prices dense decoders only"
        )
    if any(isinstance(module, nn.Conv1d | nn.Conv2d | nn.LSTM) for module in model.modules()):
        raise ValueError(f"{type(model).__name__} has convolutions: the FLOP formula prices dense decoders only")
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ValueError(f"{type(model).__name__} has no linear output head: only causal language models are priced")
    weights = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    )
    heads = int(config.get("num_attention_heads") or config["n_head"])
    hidden = int(config.get("hidden_size") or config["n_embd"])
    return ModelShape(
        layers=int(config.get("num_hidden_layers") or config["n_layer"]),
        block_weights=weights,
        attention_width=heads * int(config.get("head_dim") or hidden // heads),
        head_weights=head.weight.numel(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
