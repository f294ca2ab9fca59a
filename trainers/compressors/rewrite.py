"""An instruct model writes a trace shorter, from question, trace and answer: one generic prompt, as in
Compress-Distill (arXiv 2606.05988), in words of our own.

A rewrite is taken if it ended by itself, is shorter and holds the answer; else another sample is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from curricula.rendering import THINK_CLOSE, THINK_OPEN, holds_answer
from curricula.types import Cost, Floats, SupervisionKind
from trainers.compressors.interface import Outcome, Shortened, Trace, Unshortened
from trainers.compressors.measure import Measure
from trainers.teachers.teacher import Completion, Refusal, Request, Teacher

HEADING = "Shorter reasoning:"
PROMPT = """\
Below are a question, a long reasoning that answers it, and the final answer. Write the reasoning again in about \
{percent}% of its length. Keep every step, number and insight that leads to the answer, in order; leave out \
repetitions, checks, detours and remarks. Add nothing new, and end with the final answer. Write the shorter reasoning \
only.

Question:
{prompt}

Reasoning:
{trace}

Final answer: {answer}

Shorter reasoning:"""


@dataclass(kw_only=True)
class _Wanted:
    """One rewrite that is asked for, and how it went."""

    trace: Trace
    request: str
    source_tokens: int
    cost: Cost = field(default_factory=Cost)
    found: Shortened | None = None
    fault: str = ""


class Rewrite:
    """`compressed:rewrite`."""

    kind: SupervisionKind = "compressed"
    name: str | None = "rewrite"

    def __init__(self, teacher: Teacher, measure: Measure, *, attempts: int = 3) -> None:
        """Ask a teacher, for each rewrite at most `attempts` times.

        Raises:
            ValueError: fewer than one attempt.
        """
        if attempts < 1:
            raise ValueError(f"attempts must be 1 or more, got {attempts}")
        self._teacher, self._measure, self._attempts = teacher, measure, attempts

    def compress(self, traces: Sequence[Trace], keep_NK: Floats) -> list[tuple[Outcome, ...]]:
        """Ask for every rewrite at once, then again for those that cannot be used; every completion is charged.

        Raises:
            TeacherError: the teacher is out of reach.
        """
        counts = self._measure.count([trace.trace for trace in traces])
        wanted_NK = [
            [_Wanted(trace=trace, request=rewrite_prompt(trace, float(keep)), source_tokens=count) for keep in keep_K]
            for trace, count, keep_K in zip(traces, counts, keep_NK, strict=True)
        ]
        waiting = [wanted for wanted_K in wanted_NK for wanted in wanted_K]
        for attempt in range(self._attempts):
            requests = [Request(prompt=wanted.request, thinking=False, sample=attempt) for wanted in waiting]
            for place, completion in self._teacher.complete(requests):
                self._judge(waiting[place], completion)
            waiting = [wanted for wanted in waiting if wanted.found is None]
        return [tuple(_outcome(wanted) for wanted in wanted_K) for wanted_K in wanted_NK]

    def _judge(self, wanted: _Wanted, completion: Completion | Refusal) -> None:
        """Take a completion, or note what is wrong with it; charge it in any case."""
        wanted.cost += completion.cost
        if isinstance(completion, Refusal):
            wanted.fault = completion.reason
            return
        text = _bare(completion.text)
        count = self._measure.count([text])[0]
        if not text:
            wanted.fault = "empty rewrite"
        elif not completion.finished:
            wanted.fault = "rewrite cut off by the limit of tokens"
        elif THINK_OPEN in text or THINK_CLOSE in text:
            wanted.fault = "rewrite with think tags inside"
        elif not any(holds_answer(text, answer) for answer in wanted.trace.answers):
            wanted.fault = "rewrite lost the answer"
        elif count >= wanted.source_tokens:
            wanted.fault = "rewrite not shorter"
        else:
            wanted.found = Shortened(trace=text, kept_tokens=count, source_tokens=wanted.source_tokens)


def rewrite_prompt(trace: Trace, keep: float) -> str:
    """What is asked for one rewrite."""
    return PROMPT.format(percent=max(1, round(100 * keep)), prompt=trace.prompt, trace=trace.trace, answer=trace.answer)


def _bare(text: str) -> str:
    """A rewrite without the think tags or the heading that a model may put around it."""
    return text.strip().removeprefix(THINK_OPEN).removesuffix(THINK_CLOSE).strip().removeprefix(HEADING).strip()


def _outcome(wanted: _Wanted) -> Outcome:
    if wanted.found is None:
        return Unshortened(reason=wanted.fault or "no completion", cost=wanted.cost)
    return replace(wanted.found, cost=wanted.cost)
