"""What is written: rows, who chooses their tokens, and how large a part of them is computed at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch

from trainers.pricing.flops import ModelShape
from trainers.pricing.tuning import Adapters

Choose = Callable[[torch.Tensor, Sequence["Row"]], torch.Tensor]
"""Scores (B, V) of the next token in fp32, which it may change, and the B rows they are for -> token ids (B,)."""


@dataclass(kw_only=True, eq=False)
class Row:
    """One answer that is being written.

    Example:
        Row(index=3, prompt=[5, 17, 4], most_tokens=64)
    """

    index: int  # in the request
    prompt: list[int]
    most_tokens: int  # it may write
    written: list[int] = field(default_factory=list)  # end token included
    flops: int = 0  # of reading and writing it so far
    positions: int = 0  # computed for it, padding counted

    @property
    def length(self) -> int:
        """Tokens of its prompt and of what is written."""
        return len(self.prompt) + len(self.written)

    def ended(self, end_ids: Collection[int]) -> bool:
        """Whether its last token ends it."""
        return bool(self.written) and self.written[-1] in end_ids

    def goes_on(self, end_ids: Collection[int]) -> bool:
        """Whether it has not ended and may write more."""
        return len(self.written) < self.most_tokens and not self.ended(end_ids)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On which terms a request's rows are written.

    Example:
        Terms(shape=model_shape(model), end_ids=frozenset({2}), pad_id=0, choose=greedy, reading_tokens=1024)
    """

    shape: ModelShape
    end_ids: frozenset[int]
    pad_id: int
    choose: Choose
    reading_tokens: int  # of prompts, padding counted, that are read at once, at most (or one row)
    adapters: Adapters | None = None  # that the model carries, for the price


def greedy(scores_BV: torch.Tensor, _: Sequence[Row]) -> torch.Tensor:
    """The likeliest token of every row."""
    return scores_BV.argmax(-1)
