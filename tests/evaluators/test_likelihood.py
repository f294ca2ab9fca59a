"""Choices by likelihood: what is forced, what is chosen, what is counted."""

from __future__ import annotations

import math

import pytest

from evaluators.accuracy import wilson
from evaluators.likelihood import ChoiceTargets, Chosen, choice_targets, chosen, score_choices

FRUITS = ("an apple", "a pear", "a plum")


@pytest.mark.parametrize("answer", ["B", "b", "(B)", "B) a pear"])
def test_letters_are_forced_where_the_corpus_answers_in_letters(answer: str) -> None:
    assert choice_targets(answer, FRUITS) == ChoiceTargets(texts=("A", "B", "C"), right=1)


@pytest.mark.parametrize("answer", ["a pear", "A Pear"])
def test_the_choices_own_texts_are_forced_where_the_answer_is_one_of_them(answer: str) -> None:
    assert choice_targets(answer, FRUITS) == ChoiceTargets(texts=FRUITS, right=1)


def test_choices_that_are_letters_themselves_are_told_from_the_letters_before_them() -> None:
    assert choice_targets("B", ("B", "A")) == ChoiceTargets(texts=("A", "B"), right=1)


@pytest.mark.parametrize(("answer", "choices"), [("B", ()), ("D", FRUITS), ("a grape", FRUITS)])
def test_a_question_without_its_right_choice_cannot_be_scored(answer: str, choices: tuple[str, ...]) -> None:
    assert choice_targets(answer, choices) is None


def test_the_least_nats_win_and_of_equals_the_first() -> None:
    targets = ChoiceTargets(texts=("A", "B", "C"), right=2)
    assert chosen(targets, [3.0, 2.0, 1.0]) == Chosen(nats=(3.0, 2.0, 1.0), choice="C", correct=True)
    assert chosen(targets, [2.0, 1.0, 1.0]).choice == "B"
    for nats in ([1.0, 2.0], [1.0, 2.0, math.nan]):
        with pytest.raises(ValueError, match="3 choices need as many numbers"):
            chosen(targets, nats)


def test_questions_that_cannot_be_scored_are_counted_beside_the_accuracy() -> None:
    right, wrong = (Chosen(nats=(1.0, 2.0), choice="A", correct=correct) for correct in (True, False))
    got = score_choices([right, wrong, right, right], unknown=3)
    assert got is not None
    assert (got.accuracy, got.ci95, got.n, got.unknown) == (0.75, wilson(3, 4), 4, 3)
    nothing = score_choices([], unknown=2)
    assert nothing is not None and (nothing.n, nothing.ci95, nothing.unknown) == (0, (0.0, 1.0), 2)
    assert score_choices([], unknown=0) is None
