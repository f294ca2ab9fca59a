"""Weights of target tokens by span: those of the think block, its closing tag counted, and those after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.recipe import Recipe
from trainers.collate import Rows
from trainers.jobs import StageError


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanWeights:
    """What each target token weighs in a step's loss, which is the weighted mean over the step's target tokens.

    The mean is over weights, so that only the ratio of both counts: a step of answers alone has the loss that it
    would have without them. A row's own weight multiplies beside this and is no part of the mean.
    """

    rows: Rows
    reasoning: float
    answer: float

    def total(self, row_B: NDArray[np.int64]) -> float:
        """What the tokens of some rows weigh together."""
        return float((self._tokens(row_B) * self._weights).sum())

    def of_tokens(self, row_B: NDArray[np.int64], *, size: int) -> NDArray[np.float64]:
        """The weight of every target token, row after row as `collate` puts them, then 0 up to `size`: (H,)."""
        weight_H = np.zeros(size)
        tokens_B2 = self._tokens(row_B)
        weight_H[: tokens_B2.sum()] = np.repeat(np.tile(self._weights, len(row_B)), tokens_B2.ravel())
        return weight_H

    def _tokens(self, row_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each row (B, 2): thought, and said."""
        thought_B = self.rows.thinking_tokens_R[row_B].astype(np.int64)
        return np.stack([thought_B, self.rows.target_tokens_R[row_B] - thought_B], axis=1)

    @property
    def _weights(self) -> NDArray[np.float64]:
        return np.array([self.reasoning, self.answer])


def span_weights(rows: Rows, recipe: Recipe) -> SpanWeights | None:
    """The weights that a recipe gives; None where all tokens weigh the same.

    Raises:
        StageError: a row's target would have no weight at all.
    """
    if recipe.reasoning_weight == recipe.answer_weight:
        return None
    if recipe.answer_weight == 0 and not rows.thinking_tokens_R.all():
        first = int(np.argmin(rows.thinking_tokens_R))
        raise StageError(
            f"answer_weight is 0, and row {first} of the stage has no think block: nothing of it would be trained on"
        )
    return SpanWeights(rows=rows, reasoning=recipe.reasoning_weight, answer=recipe.answer_weight)
