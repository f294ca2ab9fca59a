"""Answers to a request's prompts, written side by side by a loop of our own.

    prompts --the longest first, as there is room--> slots --a token a step in each--> rows that have ended leave
                                                       ^                                       |
                                                       '---------------- room ----------------'

A step costs a small model the overhead of its calls and a larger one the way of its weights through memory, both
hardly more for a hundred rows than for one. So as many rows as the cache has room for are written at once, and whoever
is done makes room. What is written depends on the request alone, apart from the rounding of sums not even on that. In
half precision rounding decides often, so there a prompt is read alone, a row attended to alone, and fewer rows are
written at once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from trainers.batches import round_up
from trainers.collate import head_logits
from trainers.decoding.plain import write_plainly
from trainers.decoding.rows import Row, Terms
from trainers.decoding.slots import KeysAndValues, Slots, decoding_attention
from trainers.measuring import PROMPT_MULTIPLE, Phase, generation_phases
from trainers.positions import most_positions
from trainers.pricing.architectures import ARCHITECTURES
from trainers.pricing.flops import decode_flops, forward_flops

CHANGING_ANGLES = {"dynamic", "longrope"}
REFILL_SHARE = 8
"""Rows join once an eighth of the slots is free: reading a few at once costs less than one by one. Of 32 slots, a
fourth, an eighth and one gave 1.53, 1.51 and 1.40 times the tokens a second of all (experiments/LOG.md)."""

HALF_PRECISION_ROWS = 32
"""Rows side by side in half precision. Up to here a linear layer gives each row the bits that it has alone; from 33 on
a CPU with AMX sums them up by another kernel (experiments/LOG.md)."""


def knows(model: PreTrainedModel) -> bool:
    """Whether our loop can write with a model: its attention hands on what it is handed, and it changes no logits.

    Rotary angles that change with the length of the longest row would make a row depend on those beside it.
    """
    rope = model.config.to_dict().get("rope_parameters") or {}
    kinds = {str(part.get("rope_type")) for part in (rope, *rope.values()) if isinstance(part, dict)}
    return model.config.model_type in ARCHITECTURES and not kinds & CHANGING_ANGLES


def write(model: PreTrainedModel, rows: Sequence[Row], terms: Terms) -> Iterator[Row]:
    """Write all rows, each until its end or the most it may write; hands out each as it is done.

    The model is in eval mode; its own generation settings count for nothing.
    """
    if not rows:
        return
    longest = max(len(row.prompt) for row in rows)
    cap = max(row.most_tokens for row in rows)
    known, left = knows(model), list(rows)
    for phase in generation_phases(terms.shape, rows=len(rows), longest=longest, max_output_tokens=cap):
        written = _Desk(model, left, phase, terms).write() if known else write_plainly(model, left, phase, terms)
        for row in written:
            if not row.goes_on(terms.end_ids):
                yield row
        left = [row for row in left if row.goes_on(terms.end_ids)]


class _Desk:
    """One phase of a request."""

    def __init__(self, model: PreTrainedModel, rows: Sequence[Row], phase: Phase, terms: Terms) -> None:
        self._model, self._phase, self._terms = model, phase, terms
        self._positions = most_positions(model.config)
        # Padding and company change the last bit of a sum, which in half precision decides often.
        self._alone = model.dtype != torch.float32
        self._rows = min(phase.rows, HALF_PRECISION_ROWS) if self._alone else phase.rows
        self._waiting = sorted(rows, key=lambda row: row.length)  # the longest is taken first
        self._slots, self._running = Slots(), list[Row]()
        self._decode_flops = functools.cache(
            lambda attended: decode_flops(terms.shape, rows=1, attended=attended, adapters=terms.adapters)
        )

    def write(self) -> Iterator[Row]:
        """Hand out each row when it has ended or this phase has."""
        while self._waiting or self._running:
            free = self._rows - len(self._running)
            if self._waiting and (not self._running or free * REFILL_SHARE >= self._rows):
                while self._waiting and len(self._running) < self._rows:
                    self._read()
            else:
                self._step()
            yield from self._leaving()

    @property
    def _most(self) -> int:
        """Rows that may be written side by side from now on."""
        return min(self._rows, len(self._running) + len(self._waiting))

    def _leaving(self) -> Iterator[Row]:
        for slot in reversed(range(len(self._running))):
            row = self._running[slot]
            if len(row.written) >= self._phase.end or not row.goes_on(self._terms.end_ids):
                self._slots.leave(slot)
                self._running[slot] = self._running[-1]
                self._running.pop()
                yield row

    @torch.inference_mode()
    def _read(self) -> None:
        """Let rows of one rounded length join, as many as are read at once and fit; write their first token."""
        length = self._length(self._waiting[-1])
        together = 1 if self._alone else max(1, self._terms.reading_tokens // length)
        most = min(self._rows - len(self._running), together)
        rows = list[Row]()
        while self._waiting and len(rows) < most and self._length(self._waiting[-1]) == length:
            rows.append(self._waiting.pop())
        texts = [row.prompt + row.written for row in rows]
        lengths = [row.length for row in rows]
        device = self._model.device
        ids = torch.tensor([text + [self._terms.pad_id] * (length - len(text)) for text in texts], device=device)
        cache = DynamicCache()  # of whole layers, windowed ones too
        # Padded on the right, no token sees padding: attention needs no mask but the causal one.
        hidden = self._model.base_model(
            input_ids=ids, position_ids=torch.arange(length, device=device)[None], past_key_values=cache, use_cache=True
        ).last_hidden_state
        last = torch.tensor(lengths, device=device) - 1
        self._running += rows
        self._slots.join([_read_by(layer) for layer in cache.layers], lengths, most=self._most)
        price = forward_flops(self._terms.shape, rows=1, length=length, head_positions=1, adapters=self._terms.adapters)
        self._append(rows, hidden[torch.arange(len(rows), device=device), last], price, length)

    @torch.inference_mode()
    def _step(self) -> None:
        """One more token for every row."""
        position_R1 = self._slots.advance(most=self._most)
        ids = torch.tensor([[row.written[-1]] for row in self._running], device=self._model.device)
        with decoding_attention(self._model):
            hidden = self._model.base_model(
                input_ids=ids, position_ids=position_R1, slots=self._slots, use_cache=False
            ).last_hidden_state
        self._append(self._running, hidden[:, 0], self._decode_flops(self._slots.width), 1)

    def _append(self, rows: Sequence[Row], hidden: torch.Tensor, flops: int, positions: int) -> None:
        scores = head_logits(self._model, hidden).float()
        for row, token in zip(rows, self._terms.choose(scores, rows).tolist(), strict=True):
            row.written.append(token)
            row.flops += flops
            row.positions += positions

    def _length(self, row: Row) -> int:
        """Positions at which it is read."""
        length = row.length if self._alone else round_up(row.length, PROMPT_MULTIPLE)
        return length if self._positions is None else min(length, self._positions)


def _read_by(layer: object) -> KeysAndValues:
    assert isinstance(layer, DynamicLayer), type(layer)
    assert layer.keys is not None and layer.values is not None
    return layer.keys, layer.values
