"""Answers that are spans of text, compared word by word: token F1 as SQuAD defines it.

Rajpurkar et al. (2016), SQuAD: 100,000+ questions for machine comprehension of text, arXiv 1606.05250, section 6.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from evaluators.accuracy import Mean, mean_of

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def span_words(text: str) -> list[str]:
    """A span's words as they are compared: lower case, without ASCII punctuation and articles.

    Example:
        >>> span_words("The U.S. Army, in a hurry")
        ['us', 'army', 'in', 'hurry']
    """
    return _ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def token_f1(given: str, references: Sequence[str]) -> float:
    """F1 of the words of a span, in [0, 1]: the best over the references.

    Two spans without words are equal, and one without words has nothing in common with another.

    Raises:
        ValueError: there are no references.

    Example:
        >>> token_f1("the Norman duke", ["Norman"])
        0.6666666666666666
    """
    if not references:
        raise ValueError("a span needs at least one reference")
    return max(_f1(span_words(given), span_words(reference)) for reference in references)


def mean_token_f1(given_N: Sequence[str], references_N: Sequence[Sequence[str]]) -> Mean:
    """Token F1 over N questions, with its interval over questions.

    Raises:
        ValueError: there are no questions, or one has no references.
    """
    return mean_of([token_f1(given, references) for given, references in zip(given_N, references_N, strict=True)])


def _f1(given: list[str], reference: list[str]) -> float:
    if not given or not reference:
        return float(given == reference)
    common = (Counter(given) & Counter(reference)).total()
    return 2 * common / (len(given) + len(reference))
