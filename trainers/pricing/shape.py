"""The shape of a loaded model, for the FLOP formula: by its config where the architecture is known, else measured."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainers.pricing.config_shape import config_shape, is_known, refuse_experts, refuse_layers
from trainers.pricing.flops import ModelShape
from trainers.pricing.measured_shape import measured_shape

_ADAPTER_PARTS = (".lora_A.", ".lora_B.")
_NOT_PRICED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase)


def model_shape(model: PreTrainedModel) -> ModelShape:
    """What of a model decides its FLOPs; adapters that it carries are left out, for a tuning names them.

    A known architecture's shape is that of its config, and its linear layers are counted to see that they agree. An
    unknown one is measured once, without computing anything (trainers/pricing/measured_shape.py).

    Raises:
        ValueError: the architecture does not compute every weight at every position (mixtures of experts), has parts
            the formula does not know, or is not what its config says.
    """
    name = type(model).__name__
    config = model.config.get_text_config().to_dict()
    refuse_experts(config, name)
    refuse_layers(config, name)
    decoder = model.get_decoder()
    strange = [module for module in decoder.modules() if isinstance(module, _NOT_PRICED)]
    if strange:
        kind = type(strange[0]).__name__
        raise ValueError(f"{name} has convolutions or recurrence ({kind}): the FLOP formula prices dense decoders only")
    if not isinstance(model.get_output_embeddings(), nn.Linear):
        raise ValueError(f"{name} has no linear output head: only causal language models are priced")
    if not is_known(config):
        return measured_shape(model)
    shape = config_shape(config)
    found = sum(
        module.weight.numel()
        for path, module in decoder.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not any(part in f".{path}." for part in _ADAPTER_PARTS)
    )
    if found != shape.block_weights:
        raise ValueError(
            f"{name} has {found} weights in the linear layers of its blocks, but a {config['model_type']} of its "
            f"config has {shape.block_weights}: it is not the architecture that it names"
        )
    return shape
