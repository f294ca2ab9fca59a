"""Words left out that depend least on the answer.

The importance of a token is how much less surprising it becomes once the answer is known: its surprisal after the
question less its surprisal after question and answer, as in conditional token selection (CTS, arXiv 2505.17827); the
top share is kept in its order, as in TokenSkip (arXiv 2502.12067). Other than there, words are kept or left out whole,
so that no tokenizer leaves half a word; the numbers and operators of the steps that carry the result always stay; and
words of checks and repetitions go first: they name the answer, so knowing it makes them plain, and they add nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curricula.traces.steps import read_steps
from curricula.types import Floats, SupervisionKind
from trainers.batches import Integers
from trainers.compressors.interface import Outcome, Shortened, Trace, Unshortened
from trainers.compressors.scorer import Passage, Scorer, Scores

_WORD = re.compile(r"\S+")
_CALCULATES = re.compile(r"\d|^[^\w\s]*[=+*/<>^\u00d7\u00f7\u2212\u2248-][^\w\s]*$")
"""A word with a digit, or of signs alone with an operator among them."""


class Tokens:
    """`compressed:tokens`."""

    kind: SupervisionKind = "compressed"
    name: str | None = "tokens"

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def compress(self, traces: Sequence[Trace], keep_NK: Floats) -> list[tuple[Outcome, ...]]:
        """Each trace is read twice, without and with the answer before it, and cut K times."""
        blind = [Passage(context=f"{trace.prompt}\n", text=trace.trace) for trace in traces]
        told = [
            Passage(context=f"{trace.prompt}\nThe answer is {trace.answer}.\n", text=trace.trace) for trace in traces
        ]
        scores = self._scorer.score([*blind, *told])
        return [
            self._cut(trace, without, with_answer, [float(keep) for keep in keep_K])
            for trace, without, with_answer, keep_K in zip(
                traces, scores[: len(traces)], scores[len(traces) :], keep_NK, strict=True
            )
        ]

    def _cut(self, trace: Trace, without: Scores, with_answer: Scores, keeps: Sequence[float]) -> tuple[Outcome, ...]:
        text = trace.trace
        words = [match.span() for match in _WORD.finditer(text)]
        cost = without.cost + with_answer.cost
        if not words:
            return tuple(Unshortened(reason="empty trace", cost=cost) for _ in keeps)
        word_T = _word_of_unit(without.start_T, words, text)
        tokens_W = np.bincount(word_T, weights=without.tokens_T, minlength=len(words)).astype(np.int64)
        gain_W = np.bincount(word_T, weights=without.surprisal_T - with_answer.surprisal_T, minlength=len(words))
        importance_W = gain_W / np.maximum(tokens_W, 1)
        steps = read_steps(text, prompt=trace.prompt, answers=trace.answers)
        step_W = np.searchsorted([step.end for step in steps], [start for start, _ in words], side="right")
        calculates_W = np.array([bool(_CALCULATES.search(text[start:end])) for start, end in words])
        protected_W = np.array([step.carries for step in steps])[step_W] & calculates_W
        again_W = np.array([step.verifies or step.repeats for step in steps])[step_W] & ~protected_W
        order_W = np.lexsort((np.arange(len(words)), -importance_W, again_W, ~protected_W))
        kept = [_kept_words(order_W, tokens_W, protected_W, keep * without.tokens) for keep in keeps]
        texts = [_joined(text, words, chosen_W) for chosen_W in kept]
        counts = self._scorer.measure.count(texts)
        return tuple(
            Unshortened(reason="every word carries the result" if chosen_W.all() else "nothing is left", cost=cost)
            if chosen_W.all() or not chosen_W.any()
            else Shortened(trace=shorter, kept_tokens=count, source_tokens=without.tokens, cost=cost)
            for chosen_W, shorter, count in zip(kept, texts, counts, strict=True)
        )


def _word_of_unit(start_T: NDArray[np.int64], words: Sequence[tuple[int, int]], text: str) -> NDArray[np.int64]:
    """The word each unit belongs to: that of its first character which is no space, or else the last."""
    ends_W = np.array([end for _, end in words])
    return np.minimum(np.searchsorted(ends_W, start_T, side="right"), len(words) - 1).astype(np.int64)


def _kept_words(
    order_W: NDArray[np.intp], tokens_W: Integers, protected_W: NDArray[np.bool_], budget_tokens: float
) -> NDArray[np.bool_]:
    """The protected words, and of the others the most important, until the budget is used up."""
    kept_W = protected_W.copy()
    ordered = np.where(protected_W[order_W], 0, tokens_W[order_W])
    fits = tokens_W[protected_W].sum() + np.cumsum(ordered) <= budget_tokens
    kept_W[order_W[fits]] = True
    return kept_W


def _joined(text: str, words: Sequence[tuple[int, int]], kept_W: NDArray[np.bool_]) -> str:
    """The kept words; neighbours keep what stood between them, others get a line break if there was one, or a space."""
    pieces: list[str] = []
    last = -1
    for place in np.flatnonzero(kept_W).tolist():
        start, end = words[place]
        if pieces:
            gap = text[words[last][1] : start]
            pieces.append(gap if place == last + 1 else "\n" if "\n" in gap else " ")
        pieces.append(text[start:end])
        last = place
    return "".join(pieces)
