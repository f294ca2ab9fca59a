"""pass@k and majorities against counting every draw, token F1 against its definition."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.answers import same_answer
from evaluators.samples import Vote, majority, mean_pass_at_k, pass_at_k
from evaluators.spans import mean_token_f1, span_words, token_f1


@pytest.mark.parametrize("samples", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_draws_with_a_right_sample(samples: int) -> None:
    for correct in range(samples + 1):
        right = [number < correct for number in range(samples)]
        for k in range(1, samples + 1):
            draws = [any(draw) for draw in itertools.combinations(right, k)]
            assert pass_at_k(samples, correct, k) == float(Fraction(sum(draws), len(draws)))


def test_pass_at_k_of_many_samples_agrees_with_the_product_of_the_paper() -> None:
    for samples, correct, k in ((200, 13, 100), (200, 1, 10), (10_000, 3, 1000)):
        product = 1.0 - np.prod(1.0 - k / np.arange(samples - correct + 1, samples + 1))
        assert pass_at_k(samples, correct, k) == pytest.approx(product, rel=1e-9)


def test_mean_pass_at_k_is_the_mean_over_questions() -> None:
    mean = mean_pass_at_k([4, 4, 3], [0, 1, 3], 2)
    assert mean.value == pytest.approx((0.0 + 0.5 + 1.0) / 3)
    assert mean.n == 3
    assert 0.0 < mean.ci95[0] < mean.value < mean.ci95[1] < 1.0


@pytest.mark.parametrize(("samples", "correct", "k"), [(3, 1, 4), (3, 1, 0), (0, 0, 1), (3, 4, 1), (3, -1, 1)])
def test_impossible_samples_are_refused(samples: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="samples"):
        pass_at_k(samples, correct, k)


@pytest.mark.parametrize(
    ("texts", "vote"),
    [
        (["#### 7", "8", "The answer is 7.0"], Vote(answer="7", votes=2, voters=3)),
        (["8", "7", "7", "8"], Vote(answer="8", votes=2, voters=4)),
        (["<think>7", "", "8", "<think>7", "<think>7"], Vote(answer="8", votes=1, voters=1)),
        (["1,234", "1234", "Paris", "paris.", " PARIS"], Vote(answer="Paris", votes=3, voters=5)),
        ([], Vote(answer=None, votes=0, voters=0)),
        (["<think>"], Vote(answer=None, votes=0, voters=0)),
    ],
)
def test_answers_that_mean_the_same_vote_together(texts: list[str], vote: Vote) -> None:
    assert majority(texts, "open") == vote


def test_a_letter_and_the_text_of_a_choice_vote_together() -> None:
    texts = ["A", "The answer is Paris", "(b)", "Rome", "z"]
    assert majority(texts, "choice", ("London", "Paris")) == Vote(answer="B", votes=2, voters=3)


@given(st.lists(st.integers(0, 3), max_size=8))
def test_no_answer_has_more_votes_than_the_majority(values: list[int]) -> None:
    vote = majority([f"#### {value}.0" for value in values], "open")
    most = max((values.count(value) for value in values), default=0)
    assert (vote.votes, vote.voters) == (most, len(values))
    leaders = [value for value in values if values.count(value) == most]
    assert vote.answer is None if not values else same_answer(vote.answer or "", str(leaders[0]))


@pytest.mark.parametrize(
    ("given_span", "reference", "expected"),
    [
        ("the Norman duke", "Norman", Fraction(2, 3)),
        ("The Eiffel Tower!", "eiffel tower", Fraction(1)),
        ("in 1856", "1856 in an April", Fraction(4, 5)),
        ("word word", "word", Fraction(2, 3)),
        ("London", "Paris", Fraction(0)),
        ("", "Paris", Fraction(0)),
        ("the", "a", Fraction(1)),
    ],
)
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(
    given_span: str, reference: str, expected: Fraction
) -> None:
    assert token_f1(given_span, [reference]) == pytest.approx(float(expected))
    assert token_f1(reference, [given_span]) == pytest.approx(float(expected))
    assert token_f1(given_span, ["something else", reference]) >= float(expected)


def test_token_f1_over_questions_has_an_interval() -> None:
    mean = mean_token_f1(["Norman duke", "London"], [["Norman"], ["Paris", "London"]])
    assert mean.value == pytest.approx((2 / 3 + 1) / 2)
    assert mean.ci95[0] < mean.value < mean.ci95[1]
    with pytest.raises(ValueError, match="at least one reference"):
        token_f1("London", [])


@given(st.text(max_size=40))
def test_a_span_keeps_no_article_and_no_capital(text: str) -> None:
    words = span_words(text)
    assert not {"a", "an", "the"} & set(words)
    assert span_words(" ".join(words)) == words
