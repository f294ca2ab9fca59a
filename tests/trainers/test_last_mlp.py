"""The last block's MLP at supervised positions alone: the same losses and gradients, in fewer products."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from trainers.attention import packed_attention
from trainers.batches import pack
from trainers.collate import Batch, collate_tokens, packed_pass, supervised_logits, token_losses
from trainers.pricing.flop_residuals import INSTANCES, VOCABULARY, small_config, small_model
from trainers.pricing.tuning import Adapters


def _batch() -> Batch:
    """Rows of 2 and 190 tokens; the head's positions are rounded up by naming position 0, which is supervised too."""
    rng = np.random.default_rng(0)
    prompts = [rng.integers(1, VOCABULARY, 1), rng.integers(1, VOCABULARY, 60)]
    targets = [rng.integers(1, VOCABULARY, 1), rng.integers(1, VOCABULARY, 256)]
    sizes = np.array([2, 316]), np.array([1, 256])
    batch = collate_tokens(
        prompts, targets, pack(np.arange(2), *sizes, micro_batch_tokens=400)[0], pad_id=0, device=torch.device("cpu")
    )
    assert batch.position_H[0] == 0 and len(batch.position_H) > batch.supervised_tokens == 257
    return batch


def _losses_and_gradients(
    model: PreTrainedModel, batch: Batch, inside: contextlib.AbstractContextManager[None]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    with inside:
        loss_H = token_losses(supervised_logits(model, batch), batch.label_H)
        gradients = torch.autograd.grad(loss_H.mean(), [each for each in model.parameters() if each.requires_grad])
    return loss_H.detach(), list(gradients)


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("rank", [None, 4], ids=["full", "LoRA"])
@pytest.mark.parametrize("name", INSTANCES)
def test_losses_and_gradients_are_those_of_all_positions(name: str, rank: int | None, recompute: bool) -> None:
    config = small_config(name)
    config.update({"max_position_embeddings": 512, "n_positions": 512})
    model = small_model(config, None if rank is None else Adapters(rank=rank))
    if recompute:
        model.activation_checkpointing_enable()
        model.train()
    batch = _batch()
    narrowed, gradients = _losses_and_gradients(model, batch, packed_pass(model, batch))
    whole, expected = _losses_and_gradients(model, batch, packed_attention(model))
    torch.testing.assert_close(narrowed, whole, rtol=1e-5, atol=1e-5)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)


def test_afterwards_the_model_computes_every_position_again() -> None:
    model = small_model(small_config("Llama")).eval()
    ids = torch.arange(1, 9)[None]
    before = model(input_ids=ids).logits
    batch = _batch()
    with pytest.raises(KeyError), packed_pass(model, batch):
        raise KeyError("in the middle of a pass")
    assert torch.equal(model(input_ids=ids).logits, before)
