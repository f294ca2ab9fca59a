"""An unknown architecture, measured once by torch's own counter and fitted: linear and quadratic in the length.

The model is built again on the meta device, which knows sizes and computes nothing: any size takes well under a second.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, PreTrainedModel

from trainers.pricing.flops import ModelShape, decode_flops, forward_flops, train_flops

FIT_LENGTHS = (8, 64)
CHECK_LENGTHS = (16, 32, 128)
TOLERANCE = 0.01


def measured_shape(model: PreTrainedModel) -> ModelShape:
    """The sums of a model's matrix products, fitted at two lengths and checked at three, in training and decoding.

    Without its linear layers by name, such a shape prices whole models only: no frozen parts, adapters, recomputation.
    A cache that keeps a window, if the architecture has one, is billed as one that keeps everything.

    Raises:
        ValueError: what is computed is not linear plus quadratic in the length, backward is not twice forward, or a
            decode step costs something else than one position against all before it.
    """
    name = type(model).__name__
    try:
        return _fitted(name, model, _twin(model))
    except RuntimeError as error:
        raise ValueError(
            f"{name} is no architecture that is known, and it cannot be measured: {str(error).splitlines()[0]}"
        ) from error


def _fitted(name: str, model: PreTrainedModel, twin: PreTrainedModel) -> ModelShape:
    head = model.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear), type(head)
    short, long = FIT_LENGTHS
    forward = {length: _forward_flops(twin, length) for length in FIT_LENGTHS}
    per_pair = (forward[long] / long - forward[short] / short) / (long - short)
    per_position = forward[short] / short - per_pair * short
    layers = int(model.config.get_text_config().num_hidden_layers)
    shape = ModelShape(
        layers=layers,
        block_weights=round(per_position / 2),
        attention_width=round(per_pair / (4 * layers)),
        head_weights=head.weight.numel(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    if shape.attention_width < 1:
        raise ValueError(f"{name} has no attention that grows with the square of the length: it is not priced")
    for length in CHECK_LENGTHS:
        ours = forward_flops(shape, rows=1, length=length, head_positions=0)
        _compare(name, f"a forward pass over {length} positions", ours, _forward_flops(twin, length))
    length = CHECK_LENGTHS[-1]
    ours = train_flops(shape, rows=1, length=length, head_positions=0)
    _compare(name, "a training pass", ours, _train_flops(twin, length))
    ours = decode_flops(shape, rows=1, attended=length + 1) - 2 * shape.head_weights
    _compare(name, "a decode step", ours, _decode_flops(twin, length))
    return shape


def _twin(model: PreTrainedModel) -> PreTrainedModel:
    """The same model without weights, with eager attention: the counter sees no other on every device."""
    config = type(model.config).from_dict(model.config.to_dict())
    config._attn_implementation = "eager"
    with torch.device("meta"):
        return type(model)(config).eval()


def _hidden(model: PreTrainedModel, length: int, *, cached: int = 0, cache: DynamicCache | None = None) -> torch.Tensor:
    """What the blocks make of `length` positions after `cached` ones, of a size and without values."""
    output = model.base_model(
        input_ids=torch.zeros((1, length), dtype=torch.int64, device="meta"),
        attention_mask=torch.ones((1, cached + length), dtype=torch.int64, device="meta"),
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return output.last_hidden_state


@torch.no_grad()
def _forward_flops(model: PreTrainedModel, length: int) -> int:
    with FlopCounterMode(display=False) as counter:
        _hidden(model, length)
    return counter.get_total_flops()


def _train_flops(model: PreTrainedModel, length: int) -> int:
    with FlopCounterMode(display=False) as counter:
        _hidden(model, length).sum().backward()
    return counter.get_total_flops()


@torch.no_grad()
def _decode_flops(model: PreTrainedModel, cached: int) -> int:
    cache = DynamicCache(config=model.config)
    _hidden(model, cached, cache=cache)
    with FlopCounterMode(display=False) as counter:
        _hidden(model, 1, cached=cached, cache=cache)
    return counter.get_total_flops()


def _compare(name: str, what: str, ours: int, counted: int) -> None:
    if abs(ours - counted) > TOLERANCE * counted:
        raise ValueError(
            f"{name} is no architecture that is known, and it cannot be fitted: {what} computes {counted} FLOPs where "
            f"a dense decoder would {ours}"
        )
