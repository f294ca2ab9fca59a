"""LoRA: low-rank adapters beside every linear layer of the blocks, in place: the student stays the model it was.

With adapters in place a layer computes base(x) + alpha / rank * B(A(x)), in training, generation and teacher forcing
alike; everything but A and B is frozen. They are merged into the layers only where a student is exported.
"""

from __future__ import annotations

import warnings

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as AdaptedLinear
from transformers import PreTrainedModel

_NAME = "default"


def add_adapters(model: PreTrainedModel, *, rank: int, alpha: float, seed: int) -> None:
    """Put adapters beside all linear layers but the output head, and freeze everything else.

    A is drawn from the seed alone and B is zero, so that the student computes what it did; the global random state
    stays as it was.

    Raises:
        ValueError: the model has no linear layer to put one beside.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear")  # pyright: ignore[reportArgumentType] alpha need not be whole
    # Adapters are made on the CPU, wherever the model is; torch.manual_seed would also reset accelerators' generators.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")  # GPT-2's layers; peft sets it
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=_NAME)


@torch.no_grad()
def merged_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The weights of a model without adapters that computes what this one does, by that model's names.

    Only the adapted layers are copies. Without adapters these are the model's own weights.
    """
    weights = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in model.state_dict().items()
        if ".lora_A." not in name and ".lora_B." not in name
    }
    for path, module in model.named_modules():
        if isinstance(module, AdaptedLinear):
            weight = module.get_base_layer().weight
            assert isinstance(weight, torch.Tensor), path
            weights[f"{path}.weight"] = weight + module.get_delta_weight(_NAME)
    return weights
