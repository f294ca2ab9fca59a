"""Multiple choice by likelihood: which of its choices a student would sooner write as its bare answer.

prompt + each choice --teacher forced--> nats of each --least--> the choice --> right or wrong

A choice is forced as the corpus writes its answers, as a letter or as the choice's text, right after the prompt and
without thinking, its end token included: the nats are those of writing this answer and no other. They are summed, not
divided by length: the sum is what the student's probability of the whole answer comes to. That is the likelihood which
Brown et al. (2020), Language models are few-shot learners, section 2.4, compare, and `acc` of lm-evaluation-harness
but for the end token, which keeps a choice from winning as the beginning of another. Forbidding the think tag, as
generation without thinking does, would add the same to all choices of a question, so it changes no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curricula.rendering import CHOICE_LETTERS
from evaluators.accuracy import mean_of, wilson
from evaluators.answers import choice_index, same_text


@dataclass(frozen=True, kw_only=True)
class ChoiceTargets:
    """What a student would write for each choice of one question.

    Example:
        ChoiceTargets(texts=("A", "B"), right=1)
    """

    texts: tuple[str, ...]  # in the order of the choices
    right: int


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One question's choices by likelihood.

    Example:
        Chosen(nats=(2.1, 0.3), choice="B", correct=True)
    """

    nats: tuple[float, ...]  # of each choice as a whole answer, its end token included
    choice: str  # letter of the least; the first of equals
    correct: bool


@dataclass(frozen=True, kw_only=True)
class ChoiceLikelihood:
    """Accuracy over a split's choice questions where the likeliest choice is taken for the answer.

    Example:
        ChoiceLikelihood(accuracy=0.8, ci95=(0.49, 0.94), n=10, unknown=2)
    """

    accuracy: float  # 0 where no question could be scored, with an interval from 0 to 1
    ci95: tuple[float, float]  # Wilson
    n: int
    unknown: int  # choice questions beside n of which the corpus has no choices, or none that is the answer


def choice_targets(answer: str, choices: Sequence[str]) -> ChoiceTargets | None:
    """The texts to force: the choices' own where the answer is the text of one of them, their letters where it is one.

    Returns:
        None where the answer is none of the choices, or there are none.

    Example:
        >>> choice_targets("B", ("apple", "pear")), choice_targets("pear", ("apple", "pear"))
        (ChoiceTargets(texts=('A', 'B'), right=1), ChoiceTargets(texts=('apple', 'pear'), right=1))
    """
    right = choice_index(answer, tuple(choices))
    if right is None:
        return None
    texts = tuple(choices) if same_text(answer, choices[right]) else tuple(CHOICE_LETTERS[: len(choices)])
    return ChoiceTargets(texts=texts, right=right)


def chosen(targets: ChoiceTargets, nats: Sequence[float]) -> Chosen:
    """The choice with the least nats.

    Raises:
        ValueError: there are not as many nats as choices, or one is not a number.
    """
    if len(nats) != len(targets.texts) or np.isnan(nats).any():
        raise ValueError(f"{len(targets.texts)} choices need as many numbers of nats, got {list(nats)}")
    least = int(np.argmin(nats))
    return Chosen(nats=tuple(nats), choice=CHOICE_LETTERS[least], correct=least == targets.right)


def score_choices(scored: Sequence[Chosen], *, unknown: int) -> ChoiceLikelihood | None:
    """Accuracy of the choice questions that could be scored; None where there are neither these nor others."""
    if not scored:
        return ChoiceLikelihood(accuracy=0.0, ci95=wilson(0, 0), n=0, unknown=unknown) if unknown else None
    mean = mean_of([float(one.correct) for one in scored])
    return ChoiceLikelihood(accuracy=mean.value, ci95=mean.ci95, n=mean.n, unknown=unknown)
