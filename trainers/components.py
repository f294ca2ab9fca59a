"""The parts of a loaded student, as recipes name them, and a student in which only some of them are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from curricula.recipe import COMPONENTS, Component, Recipe
from trainers.jobs import StageError
from trainers.pricing.recipes import lower_blocks


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The blocks of a model, from the bottom: what a loss on hidden states aligns are their outputs.

    Raises:
        StageError: the model does not keep them as one list.
    """
    lists = [
        list(child.children())
        for child in model.get_decoder().children()
        if isinstance(child, nn.ModuleList) and all(isinstance(one, GradientCheckpointingLayer) for one in child)
    ]
    if len(lists) != 1 or not lists[0]:
        raise StageError(f"{type(model).__name__} does not keep its blocks as one list, so none can be told apart")
    return lists[0]


def component_parameters(model: PreTrainedModel) -> dict[Component, list[nn.Parameter]]:
    """Every parameter of a model, under the component that it belongs to.

    What the blocks hold, norms and adapters too, is theirs. Of what stands outside them, tables that are looked up
    (of tokens, and of positions where they are learnt) are the embeddings; the last norm and the head's weights are
    the head. Weights that are both stand under `embeddings`.

    Raises:
        StageError: the model's blocks cannot be told apart.
    """
    parts: dict[Component, list[nn.Parameter]] = {name: [] for name in COMPONENTS}
    blocks = decoder_blocks(model)
    half = lower_blocks(len(blocks))
    for number, block in enumerate(blocks):
        parts["lower" if number < half else "upper"].extend(block.parameters())
    placed = {parameter for name in ("lower", "upper") for parameter in parts[name]}
    tables = {table for module in model.modules() if isinstance(module, nn.Embedding) for table in module.parameters()}
    for parameter in model.parameters():  # each once, also where it is tied
        if parameter not in placed:
            parts["embeddings" if parameter in tables else "head"].append(parameter)
    return parts


@contextmanager
def trained_by(model: PreTrainedModel, recipe: Recipe) -> Iterator[None]:
    """A model in which only what a recipe names is trained, its lower blocks cut off if it says so; then as before.

    Frozen parts keep no gradient, so that an optimizer passes over their weights and moments. A block whose input is
    detached sends no gradient below itself, from whatever stands above; losses on the outputs of the blocks below
    still reach them.

    Raises:
        StageError: the model's blocks cannot be told apart.
    """
    frozen: list[nn.Parameter] = []
    if set(recipe.components) != set(COMPONENTS):
        unnamed = (part for name, part in component_parameters(model).items() if name not in recipe.components)
        frozen = [parameter for part in unnamed for parameter in part if parameter.requires_grad]
    cut = None
    if recipe.detached:
        blocks = decoder_blocks(model)
        cut = blocks[lower_blocks(len(blocks))].register_forward_pre_hook(_detached)
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        if cut is not None:
            cut.remove()


def _detached(block: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A block's arguments with the hidden states, which come first, cut off from what computed them."""
    return (inputs[0].detach(), *inputs[1:])
