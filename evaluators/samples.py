"""What several samples of a question come to: pass@k and the majority's answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curricula.types import AnswerKind
from evaluators.accuracy import Mean, mean_of
from evaluators.answers import choice_index, extract_answer, same_answer


@dataclass(frozen=True, kw_only=True)
class Vote:
    """The answer that most samples of one question give.

    Example: of five samples three gave an answer, two of them 7.
        Vote(answer="7", votes=2, voters=3)
    """

    answer: str | None  # as the first of its voters wrote it, or a choice's letter; None where no sample gave one
    votes: int
    voters: int  # samples that gave an answer


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that at least one of k samples is right, estimated without bias from more: 1 - C(n-c, k) / C(n, k).

    Chen et al. (2021), Evaluating large language models trained on code, arXiv 2107.03374, equation 1.

    Args:
        samples: n, those graded; of samples that were not graded, leave out both.
        correct: c, those that are right.

    Raises:
        ValueError: not 1 <= k <= samples, or not 0 <= correct <= samples.

    Example:
        >>> pass_at_k(4, 1, 2)
        0.5
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {max(k, 1)} samples and a k of 1 or more, got {samples} samples")
    if not 0 <= correct <= samples:
        raise ValueError(f"correct samples must lie in [0, {samples}], got {correct}")
    every = math.comb(samples, k)
    return (every - math.comb(samples - correct, k)) / every


def mean_pass_at_k(samples_N: Sequence[int], correct_N: Sequence[int], k: int) -> Mean:
    """pass@k over N questions, with its interval over questions.

    Raises:
        ValueError: there are no questions, one has fewer than k samples, or a count is impossible.
    """
    return mean_of([pass_at_k(n, c, k) for n, c in zip(samples_N, correct_N, strict=True)])


def majority(
    text_K: Sequence[str],
    kind: AnswerKind,
    choices: tuple[str, ...] = (),
    *,
    same: Callable[[str, str], bool] = same_answer,
) -> Vote:
    """The answer that most of K samples of one question give.

    Answers that mean the same vote together: a class is what `same` calls equal to its first member. A sample without
    an answer, or with none of the choices, casts no vote. Of classes with as many votes, that of the earliest sample
    wins. Grade the answer as any output.

    Wang et al. (2022), Self-consistency improves chain of thought reasoning, arXiv 2203.11171.

    Example:
        >>> majority(["#### 7", "8", "The answer is 7.0"], "open")
        Vote(answer='7', votes=2, voters=3)
    """
    votes: dict[str, int] = {}
    for text in text_K:
        given = extract_answer(text, kind)
        if given is not None and kind == "choice":
            index = choice_index(given, choices)
            given = None if index is None else chr(ord("A") + index)
        if given is not None:
            first = next((answer for answer in votes if answer == given or same(given, answer)), given)
            votes[first] = votes.get(first, 0) + 1
    answer = max(votes, key=lambda answer: votes[answer], default=None)  # the first of those with most votes
    return Vote(answer=answer, votes=0 if answer is None else votes[answer], voters=sum(votes.values()))
