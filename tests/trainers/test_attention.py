"""Rows packed one after another compute what each computes alone, in every architecture that is priced."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from trainers.attention import PACKED, PACKED_EAGER, packed_attention
from trainers.batches import GROUP_OVERHEAD_PAIRS, pack
from trainers.collate import Batch, collate_tokens, supervised_logits, token_losses
from trainers.pricing.flop_residuals import INSTANCES, VOCABULARY, WINDOW, small_config

LENGTHS = (5, 61, 9, 230, 3, 60)  # some within the window of the instances that have one, some beyond it
PROMPTS = (2, 30, 8, 100, 1, 59)


def _model(name: str, attention: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(small_config(name), attn_implementation=attention, dtype=torch.float32)


def _batch(lengths: tuple[int, ...] = LENGTHS, prompts: tuple[int, ...] = PROMPTS) -> tuple[list[np.ndarray], Batch]:
    """Rows in the order in which they are packed, and the tensors."""
    rng = np.random.default_rng(1)
    length_R, prompt_R = np.array(lengths), np.array(prompts)
    [batch] = pack(np.arange(len(lengths)), length_R, length_R - prompt_R, micro_batch_tokens=10**6)
    rows = [rng.integers(1, VOCABULARY, length_R[row]) for row in batch.row_B]
    parts = [np.split(row, [prompt_R[place]]) for row, place in zip(rows, batch.row_B, strict=True)]
    prompts_B, targets_B = [part[0] for part in parts], [part[1] for part in parts]
    return rows, collate_tokens(prompts_B, targets_B, batch, pad_id=0, device=torch.device("cpu"))


@pytest.mark.parametrize("name", INSTANCES)
def test_a_packed_row_computes_what_it_computes_alone(name: str) -> None:
    assert min(LENGTHS) < WINDOW < max(LENGTHS)
    assert max(LENGTHS) ** 2 > GROUP_OVERHEAD_PAIRS  # so that there is more than one group
    softcapped = name == "Gemma 2"  # which torch's fused attention does not know
    model = _model(name, "eager" if softcapped else "sdpa").eval()
    rows, batch = _batch()
    assert len(batch.packing.groups) > 1
    with torch.no_grad():
        packed = supervised_logits(model, batch)
        done = 0
        for place, row in enumerate(rows):
            alone = model(input_ids=torch.from_numpy(row)[None], use_cache=False).logits[0]
            start = int(batch.packing.starts[place])
            at = batch.position_H[batch.row_H == place]
            at = at[at >= start] - start
            assert torch.allclose(packed[done : done + len(at)], alone[at], atol=1e-4, rtol=1e-4)
            done += len(at)


def test_fused_and_written_out_attention_agree_and_so_do_their_gradients() -> None:
    _, batch = _batch()
    losses, gradients = [], []
    for attention in ("sdpa", "eager"):
        model = _model("Qwen3 (wide heads)", attention)
        loss = token_losses(supervised_logits(model, batch), batch.label_H).sum()
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-3, rtol=1e-3)


def test_recomputed_activations_attend_within_rows_too() -> None:
    _, batch = _batch()
    gradients = []
    for recompute in (False, True):
        model = _model("Llama", "sdpa").train()
        if recompute:
            model.activation_checkpointing_enable()
        with packed_attention(model):
            token_losses(supervised_logits(model, batch), batch.label_H).sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    assert torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize(("own", "packed"), [("sdpa", PACKED), ("eager", PACKED_EAGER)])
def test_a_model_goes_back_to_its_own_attention(own: str, packed: str) -> None:
    model = _model("Llama", own)
    with pytest.raises(KeyError), packed_attention(model):
        with packed_attention(model):
            pass
        assert model.config._attn_implementation == packed
        raise KeyError
    assert model.config._attn_implementation == own
