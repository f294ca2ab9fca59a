"""Whole steps left out: checks first, then repetitions, then the least informative; never what carries the result.

How much a step tells is the sum of its tokens' entropies in a small model that reads the question and the trace, as in
step entropy (arXiv 2508.03346), or of their surprisals. That checks go first follows Prune-on-Logic (arXiv 2505.14582),
by which a small student loses little without them and much without the core.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curricula.traces.steps import Step, join_steps, read_steps
from curricula.types import Floats, SupervisionKind
from trainers.compressors.interface import Outcome, Shortened, Trace, Unshortened
from trainers.compressors.scorer import Passage, Scorer, Scores
from trainers.compressors.spec import Signal


class Steps:
    """`compressed:steps`."""

    kind: SupervisionKind = "compressed"
    name: str | None = "steps"

    def __init__(self, scorer: Scorer, *, signal: Signal = "entropy") -> None:
        self._scorer, self._signal = scorer, signal

    def compress(self, traces: Sequence[Trace], keep_NK: Floats) -> list[tuple[Outcome, ...]]:
        """Each trace is read once and cut K times: as long as whole steps allow, but no longer than its share.

        What carries the result may be longer than the share; then that alone is kept.
        """
        scores = self._scorer.score([Passage(context=f"{trace.prompt}\n", text=trace.trace) for trace in traces])
        return [
            self._cut(trace, score, [float(keep) for keep in keep_K])
            for trace, score, keep_K in zip(traces, scores, keep_NK, strict=True)
        ]

    def _cut(self, trace: Trace, scores: Scores, keeps: Sequence[float]) -> tuple[Outcome, ...]:
        steps = read_steps(trace.trace, prompt=trace.prompt, answers=trace.answers)
        # A unit belongs to the step in which it begins.
        edges = np.searchsorted(scores.start_T, [step.start for step in steps] + [len(trace.trace)])
        token_ends = np.concatenate([[0], np.cumsum(scores.tokens_T)])[edges]
        value_T = scores.surprisal_T if self._signal == "surprisal" else scores.entropy_T
        value_ends = np.concatenate([[0.0], np.cumsum(value_T)])[edges]
        tokens, values = np.diff(token_ends).tolist(), np.diff(value_ends).tolist()
        kept = [kept_steps(steps, tokens, values, budget_tokens=keep * scores.tokens) for keep in keeps]
        texts = [join_steps(trace.trace, steps, chosen) for chosen in kept]
        counts = self._scorer.measure.count(texts)
        return tuple(
            Unshortened(reason="every step carries the result", cost=scores.cost)
            if all(chosen)
            else Shortened(trace=text, kept_tokens=count, source_tokens=scores.tokens, cost=scores.cost)
            for chosen, text, count in zip(kept, texts, counts, strict=True)
        )


def kept_steps(
    steps: Sequence[Step], tokens: Sequence[int], values: Sequence[float], *, budget_tokens: float
) -> list[bool]:
    """Which steps to keep: those that carry, and of the others the best that fit into what is left of the budget.

    Plain steps come first, then repetitions, then checks, and no worse kind is used to fill up what a better one left.
    Inside a kind the order is by value; a step too long for what is left is passed over for shorter ones.
    """
    kept = [step.carries for step in steps]
    left = budget_tokens - sum(count for count, keep in zip(tokens, kept, strict=True) if keep)
    kind = [(step.verifies, step.repeats) for step in steps]
    others = [place for place, step in enumerate(steps) if not step.carries]
    for best in sorted({kind[place] for place in others}):
        alike = [place for place in others if kind[place] == best]
        for place in sorted(alike, key=lambda place: (-values[place], place)):
            if tokens[place] <= left:
                kept[place] = True
                left -= tokens[place]
        if not all(kept[place] for place in alike):
            break
    return kept
