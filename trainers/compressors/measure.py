"""Lengths in tokens of one tokenizer, and where its tokens begin; no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from trainers.lengths import open_counter


class Measure:
    """Counts tokens.

    A text is never put together from tokens again: a tokenizer may lose case, spaces or accents on the way there and
    back. What is kept of a text is cut out of it at characters, where tokens begin.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
        """Count with a tokenizer.

        Raises:
            ValueError: it cannot say where its tokens stand in a text.
        """
        if not tokenizer.is_fast:
            raise ValueError(
                f"the tokenizer of {name!r} cannot say where its tokens stand in a text; name a model with a fast "
                "tokenizer (a tokenizer.json), or `tiny` to count characters"
            )
        self.tokenizer = tokenizer
        self.name = name

    def encode(self, texts: Sequence[str]) -> list[tuple[list[int], NDArray[np.int64]]]:
        """Ids of each text, and the character at which each of them begins (ascending; a character may have several).

        Nothing is added, nothing is cut.
        """
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        starts = [np.array([start for start, _ in offsets], dtype=np.int64) for offsets in encoded["offset_mapping"]]
        return [
            (list(ids), np.maximum.accumulate(start_T) if len(start_T) else start_T)
            for ids, start_T in zip(encoded["input_ids"], starts, strict=True)
        ]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids, _ in self.encode(texts)]


def load_measure(name: str) -> Measure:
    """The measure of a tokenizer: a student's, or that of a folder, a hub id or a .gguf file.

    Raises:
        ValueError: there is no such tokenizer, or it cannot be used.
    """
    return Measure(open_counter(name).tokenizer, name=name)
