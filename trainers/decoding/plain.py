"""The same by transformers' own `generate`, for architectures that our loop does not know: finished rows stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from trainers.decoding.rows import Row, Terms
from trainers.measuring import Phase
from trainers.pricing.flops import generate_flops


@contextmanager
def no_habits(model: PreTrainedModel) -> Iterator[None]:
    """Without the model's own generation settings, which would fill whatever a request leaves open.

    A repetition penalty or beams of a pretrained student would make its answers other than greedy, and forcing a
    target would no longer say what it writes. They are put back, so that an export keeps them.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def write_plainly(model: PreTrainedModel, rows: Sequence[Row], phase: Phase, terms: Terms) -> Iterator[Row]:
    """Write one phase of a request, as many rows at once as there is room for; hands out each."""
    waiting = sorted(rows, key=lambda row: -row.length)
    for start in range(0, len(waiting), phase.rows):
        batch = waiting[start : start + phase.rows]
        _write_batch(model, batch, phase, terms)
        yield from batch


@torch.inference_mode()
def _write_batch(model: PreTrainedModel, rows: Sequence[Row], phase: Phase, terms: Terms) -> None:
    """Padded on the left to one length."""
    length = rows[0].length
    ids = [[terms.pad_id] * (length - row.length) + row.prompt + row.written for row in rows]
    mask = [[0] * (length - row.length) + [1] * row.length for row in rows]
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=min(phase.end, max(row.most_tokens for row in rows)) - phase.start,
        eos_token_id=sorted(terms.end_ids),
        pad_token_id=terms.pad_id,
        use_cache=True,
    )
    with no_habits(model):
        output = model.generate(  # pyright: ignore[reportCallIssue] the mixin's signature is not typed
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([_Chosen(rows, terms)]),
        )
    steps = output.shape[1] - length
    price = generate_flops(terms.shape, rows=1, prompt_length=length, new_tokens=steps, adapters=terms.adapters)
    for row in rows:
        row.flops += price
        row.positions += length + steps - 1


class _Chosen(LogitsProcessor):
    """Makes the token that was chosen the likeliest, and notes it down."""

    def __init__(self, rows: Sequence[Row], terms: Terms) -> None:
        self._rows, self._terms = rows, terms

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, V) of which all but one are -inf."""
        chosen_B = self._terms.choose(scores.clone(), self._rows)
        for row, token in zip(self._rows, chosen_B.tolist(), strict=True):
            if row.goes_on(self._terms.end_ids):
                row.written.append(token)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen_B[:, None], 0.0)
