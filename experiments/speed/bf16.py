"""Greedy answers with weights in bf16: ours beside plain `generate`'s, and what the precision itself leaves open.

A logit in bf16 has 8 bits, so two tokens are often equally likely, or so nearly that the order of a sum decides: the
padding of a batch is enough for plain `generate` to write other answers than to the same prompts one by one. So ours
are held against both, and plain `generate` against itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from curricula.corpus import Corpus
from evaluators.grading import Grader
from evaluators.paired import GradedRuns, difference
from trainers.yardsticks.generating import Answers

SEED = 0
"""Of the bootstrap."""


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Shares of right answers to the same questions."""

    ours: float
    plain: float
    difference: float  # ours less plain's
    ci95: tuple[float, float] | None  # of the difference, paired by question; None where none was graded otherwise
    n: int


@dataclass(frozen=True, kw_only=True)
class InBf16:
    """What becomes of one student's answers."""

    identical: float  # share of our answers that plain generate writes to the prompt alone, of those it was asked so
    identical_to_batches: float  # share of our answers that plain generate writes in its batches
    plain_itself: float  # share of plain generate's answers alone that it also writes in its batches
    accuracy: Accuracies


def in_bf16(said: Mapping[str, object], corpus: Corpus, *, mathematics: bool) -> InBf16:
    """Compare and grade what `trainers.yardsticks.generating --side bf16` said of the corpus's first test prompts.

    Args:
        mathematics: whether answers are compared as mathematics too, as in a run on this corpus.
    """
    ours, plain, alone = (_answers(said[name]) for name in ("ours", "plain", "alone"))
    with Grader(mathematics=mathematics) as grader:
        graded = [_graded(grader, corpus, answers) for answers in (ours, plain)]
    paired = difference(*graded, seed=SEED)
    between = paired.given_seeds
    return InBf16(
        identical=_same(alone, ours[: len(alone)]),
        identical_to_batches=_same(ours, plain),
        plain_itself=_same(alone, plain[: len(alone)]),
        accuracy=Accuracies(
            ours=float(graded[0].correct_KQ.mean()),
            plain=float(graded[1].correct_KQ.mean()),
            difference=paired.value,
            ci95=None if between is None else (between.low, between.high),
            n=len(plain),
        ),
    )


def _answers(said: object) -> Answers:
    assert isinstance(said, list)
    return [(str(text), int(tokens)) for text, tokens in said]


def _same(answers: Answers, others: Answers) -> float:
    return float(np.mean([one == other for one, other in zip(answers, others, strict=True)]))


def _graded(grader: Grader, corpus: Corpus, answers: Answers) -> GradedRuns:
    """One run; what could not be graded is not right."""
    examples = corpus.rows("test")[: len(answers)].tolist()
    grades = grader(corpus, examples, [text for text, _ in answers])
    return GradedRuns(
        questions_Q=tuple(str(example) for example in examples),
        seeds_K=(SEED,),
        correct_KQ=grades.correct_Q[None],
        output_tokens_KQ=np.array([[tokens for _, tokens in answers]], dtype=np.int32),
    )


def bf16_table(found: Mapping[str, InBf16]) -> Table:
    """The figures, a student a row."""
    table = Table(title="greedy answers with weights in bf16", title_justify="left")
    table.add_column("student", no_wrap=True)
    same = ("as plain\nalone", "as plain\nin batches", "plain alone\nas in batches")
    for heading in (*same, "ours\nright", "plain\nright", "difference, 95%"):
        table.add_column(heading, justify="right")
    for name, one in found.items():
        right = one.accuracy
        between = "" if right.ci95 is None else f" [{right.ci95[0]:+.1%}, {right.ci95[1]:+.1%}]"
        table.add_row(
            *(name, f"{one.identical:.1%}", f"{one.identical_to_batches:.1%}", f"{one.plain_itself:.1%}"),
            *(f"{right.ours:.1%}", f"{right.plain:.1%}", f"{right.difference:+.1%}{between}"),
        )
    return table
