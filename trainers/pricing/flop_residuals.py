"""The FLOP formula beside torch's own counter, on a small random instance of every architecture.

    python -m trainers.pricing.flop_residuals          prints the table of docs/flops.md; takes seconds on one core

Counted is what our training step computes: its loss, with the head at supervised positions only, and its backward pass;
a prefill with the head at one position a row; and decode steps with a cache. Attention is eager: torch's counter sees
none in the CPU's fused attention.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedConfig, PreTrainedModel

from trainers.batches import MicroBatch, pack
from trainers.collate import Batch, collate_tokens, packed_pass, supervised_logits, token_losses
from trainers.pricing.flops import decode_flops, forward_flops
from trainers.pricing.shape import model_shape
from trainers.pricing.step_price import StepPrice
from trainers.pricing.tuning import EVERYTHING, Adapters, Tuning, adapter_tuning

VOCABULARY = 300
_TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LENGTHS, SUPERVISED = (50, 56), 21  # tokens of each row; of its target
ROWS, LENGTH = 2, 56
DECODE_STEPS = 3
WINDOW = 48  # below LENGTH, so that windowed caches are full when decoding starts
RANK = 4
_SIZES = {
    **_TOKENS,
    "hidden_size": 64,
    "intermediate_size": 144,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_WIDE = {**_GROUPED, "head_dim": 24}
INSTANCES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "Llama": ("llama", _SIZES),
    "SmolLM2 (grouped queries, tied)": ("llama", {**_GROUPED, "tie_word_embeddings": True}),
    "SmolLM3": ("smollm3", _GROUPED),
    "Mistral": ("mistral", {**_GROUPED, "sliding_window": WINDOW}),
    "Qwen2": ("qwen2", {**_GROUPED, "tie_word_embeddings": True}),
    "Qwen3 (wide heads)": ("qwen3", _WIDE),
    "Gemma": ("gemma", _WIDE),
    "Gemma 2": ("gemma2", {**_WIDE, "sliding_window": WINDOW}),
    "Gemma 3 (text)": ("gemma3_text", {**_WIDE, "sliding_window": WINDOW}),
    "GPT-2": (
        "gpt2",
        {
            **_TOKENS,
            **{"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256},
            **{"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
        },
    ),
    "Phi": ("phi", _SIZES),
    "Phi-3": ("phi3", {**_GROUPED, "sliding_window": WINDOW}),
    "OLMo": ("olmo", _SIZES),
    "OLMo 2": ("olmo2", _GROUPED),
    "OLMo 3": ("olmo3", {**_GROUPED, "sliding_window": WINDOW}),
}
"""Small random models, one or more of every architecture that is priced from its config."""


@dataclass(frozen=True, kw_only=True)
class Residual:
    """What one pass was priced at and what was counted, in FLOPs."""

    model: str
    computed: Literal["train", "prefill", "decode"]
    tuned: Literal["full", "LoRA"]
    recompute: bool
    priced_flops: int
    counted_flops: int

    @property
    def relative(self) -> float:
        """By which share the price is above the count."""
        return self.priced_flops / self.counted_flops - 1


def small_config(name: str) -> PreTrainedConfig:
    """The config of an instance."""
    kind, sizes = INSTANCES[name]
    return AutoConfig.for_model(kind, **sizes)


def small_model(config: PreTrainedConfig, adapters: Adapters | None = None) -> PreTrainedModel:
    """A random model with eager attention and, if asked for, adapters in place beside its linear layers."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    if adapters is None:
        return model
    lora = LoraConfig(
        r=adapters.rank,
        target_modules="all-linear" if adapters.layers is None else list(adapters.layers),
        fan_in_fan_out=config.model_type == "gpt2",
    )
    inject_adapter_in_model(lora, model)  # in place
    return model


def random_rows() -> tuple[MicroBatch, Batch]:
    """Rows of LENGTHS tokens, the last SUPERVISED of each supervised: as they are priced, and as they are computed."""
    length_B, target_B = np.array(LENGTHS), np.full(len(LENGTHS), SUPERVISED)
    batch = pack(np.arange(len(LENGTHS)), length_B, target_B, micro_batch_tokens=sum(LENGTHS))[0]
    rng = np.random.default_rng(0)
    prompts = [rng.integers(1, VOCABULARY, length - SUPERVISED) for length in LENGTHS]
    targets = [rng.integers(1, VOCABULARY, SUPERVISED) for _ in LENGTHS]
    return batch, collate_tokens(prompts, targets, batch, pad_id=0, device=torch.device("cpu"))


def counted_training_flops(model: PreTrainedModel, batch: Batch) -> int:
    """FLOPs that torch counts in one forward and backward pass of our loss; changes no weight."""
    with FlopCounterMode(display=False) as counter, packed_pass(model, batch):
        token_losses(supervised_logits(model, batch), batch.label_H).sum().backward()
    model.zero_grad()
    return counter.get_total_flops()


def training_residual(name: str, *, tuning: Tuning) -> Residual:
    """One training pass of an instance; recomputation by gradient checkpointing, as transformers switches it on."""
    model = small_model(small_config(name), tuning.adapters)
    if tuning.recompute:
        model.activation_checkpointing_enable()
        model.train()  # transformers recomputes in this mode alone; no instance has dropout
    rows, batch = random_rows()
    return Residual(
        model=name,
        computed="train",
        tuned="full" if tuning.adapters is None else "LoRA",
        recompute=tuning.recompute,
        priced_flops=StepPrice(shape=model_shape(model), tuning=tuning).flops(rows),
        counted_flops=counted_training_flops(model, batch),
    )


@torch.no_grad()
def generation_residuals(name: str, *, adapters: Adapters | None) -> tuple[Residual, Residual]:
    """The prefill of an instance, and the decode steps after it."""
    model = small_model(small_config(name), adapters).eval()
    shape = model_shape(model)
    cache = DynamicCache(config=model.config)
    token = torch.ones((ROWS, 1), dtype=torch.int64)
    with FlopCounterMode(display=False) as prefill:
        model(
            input_ids=torch.randint(1, VOCABULARY, (ROWS, LENGTH)),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    with FlopCounterMode(display=False) as decode:
        for _ in range(DECODE_STEPS):
            model(input_ids=token, past_key_values=cache, use_cache=True)
    attended = range(LENGTH + 1, LENGTH + 1 + DECODE_STEPS)
    tuned = "full" if adapters is None else "LoRA"
    return (
        Residual(
            model=name,
            computed="prefill",
            tuned=tuned,
            recompute=False,
            priced_flops=forward_flops(shape, rows=ROWS, length=LENGTH, head_positions=ROWS, adapters=adapters),
            counted_flops=prefill.get_total_flops(),
        ),
        Residual(
            model=name,
            computed="decode",
            tuned=tuned,
            recompute=False,
            priced_flops=sum(decode_flops(shape, rows=ROWS, attended=n, adapters=adapters) for n in attended),
            counted_flops=decode.get_total_flops(),
        ),
    )


def residuals(name: str) -> Iterator[Residual]:
    """Every pass of an instance, in full and with adapters on all linear layers."""
    for recompute in (False, True):
        everything = Tuning(recompute=True) if recompute else EVERYTHING
        yield training_residual(name, tuning=everything)
        yield training_residual(name, tuning=adapter_tuning(rank=RANK, recompute=recompute))
    yield from itertools.chain(
        generation_residuals(name, adapters=None), generation_residuals(name, adapters=Adapters(rank=RANK))
    )


def residual_table() -> str:
    """All passes as a Markdown table: MFLOPs counted, and in per cent by how much the price is above that."""
    columns: dict[tuple[str, bool, str], str] = {
        ("train", False, "full"): "train",
        ("train", True, "full"): "train, recomputing",
        ("prefill", False, "full"): "prefill",
        ("decode", False, "full"): "decode",
        ("train", False, "LoRA"): "LoRA: train",
        ("train", True, "LoRA"): "train, recomputing",
        ("prefill", False, "LoRA"): "prefill",
        ("decode", False, "LoRA"): "decode",
    }
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---|" + "---:|" * len(columns)]
    for name in INSTANCES:
        found = {(each.computed, each.recompute, each.tuned): each for each in residuals(name)}
        cells = (f"{found[key].counted_flops / 1e6:.2f} {100 * found[key].relative:+.2f}%" for key in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(residual_table())
