"""What of a loaded model rollouts need: its head, its cache, and that it reads so far."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from trainers.jobs import StageError
from trainers.positions import stated_positions


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """An output head, as far as its vocabulary goes."""

    weight: torch.Tensor  # (V, d)
    bias: torch.Tensor | None
    softcap: float | None  # of its logits


def refuse_length(name: str, model: PreTrainedModel, tokens: int) -> None:
    """Refuse a model that cannot read rows of so many tokens.

    Raises:
        StageError: it cannot.
    """
    positions = stated_positions(model.config)
    if positions is not None and tokens > positions:
        raise StageError(
            f"a prompt and its rollout can come to {tokens} tokens, and {name} reads {positions}; lower the recipe's "
            "max_tokens"
        )


def head_of(model: PreTrainedModel, vocabulary: int) -> Head:
    """The head of a model over the first `vocabulary` tokens."""
    layer = model.get_output_embeddings()
    assert isinstance(layer, torch.nn.Linear), type(layer)  # others have no shape that could be priced
    softcap = vars(model.config.get_text_config()).get("final_logit_softcapping")
    bias = None if layer.bias is None else layer.bias[:vocabulary]
    return Head(weight=layer.weight[:vocabulary], bias=bias, softcap=softcap)


@contextmanager
def cached(model: PreTrainedModel) -> Iterator[None]:
    """Sampling with its cache: blocks that recompute their activations have none, so they are told not to.

    The parent would switch that off and on too, and mark the embeddings' output as needing a gradient each time.
    """
    recomputing = [module for module in model.modules() if vars(module).get("gradient_checkpointing")]
    for module in recomputing:
        vars(module)["gradient_checkpointing"] = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deprecated and will be removed in v6", category=FutureWarning)
            yield
    finally:
        for module in recomputing:
            vars(module)["gradient_checkpointing"] = True
