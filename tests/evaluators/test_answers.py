"""Extraction and comparison of answers, case by case and by property."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.answers import extract_answer, is_correct, same_answer

calm = settings(deadline=None, derandomize=True)
CHOICES = ("London", "Paris", "A long way off", "Rome")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("7", "7"),
        ("  seven \n\n", "seven"),
        ("<think>3+4=7</think>7", "7"),
        ("<think>the answer is 9\n#### 9\n\\boxed{9}</think>\nThe answer is 7.", "7"),
        ("no opening, the prompt had it</think>7", "7"),
        ("3+4=7\n7*2=14\n#### 14", "14"),
        ("So \\boxed{\\frac{1}{2}} it is", "1/2"),
        ("\\boxed{a_{1} + b_{2}}", "a_{1} + b_{2}"),
        ("\\boxed{3} or rather \\boxed{4}", "4"),
        ("\\boxed{3}, so the answer is 5", "5"),
        ("The answer is 5, no, the answer is 6.", "6"),
        ("The answer is 5. I am sure.", "5"),
        ("The answer is 7.5 meters. I am sure.", "7.5 meters"),
        ("**Answer:** 12", "12"),
        ("**Final answer**: **12**", "12"),
        ("Answer:\n12", "12"),
        ("\\boxed{3} and then \\boxed{4", "3"),
        ("\\boxed{3} and \\boxed{}. The answer is ! or . \n", "3"),
        ("3+4=7\n7*2=14\n\n14", "14"),
    ],
)
def test_open_answers_are_found_where_they_are_marked(text: str, answer: str) -> None:
    assert extract_answer(text, "open") == answer


@pytest.mark.parametrize(
    "text", ["", " \n ", "<think>7", "<think>3+4=7</think>", "<think>a</think>7<think>8", "7<think>a</think>"]
)
def test_blank_text_and_unclosed_thinking_give_no_answer(text: str) -> None:
    assert extract_answer(text, "open") is None
    assert extract_answer(text, "choice") is None
    assert not is_correct(text, "7", "open")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("b.", "B"),
        ("**B**", "B"),
        ("B) Paris", "B"),
        ("(b) Paris", "B"),
        ("Answer: B", "B"),
        ("The correct option is (B).", "B"),
        ("The answer is B. The others are not in France.", "B"),
        ("\\boxed{\\text{B}}", "B"),
        ("A) London\nB) Paris\nThe answer is A", "A"),
        ("Answer: B\nA) is in England\nD) is in Italy", "B"),
        ("B\nC", "C"),
        ("<think>A</think>B", "B"),
        ("Paris", "Paris"),
        ("A long way off", "A long way off"),
    ],
)
def test_choice_letters_are_found(text: str, answer: str) -> None:
    assert extract_answer(text, "choice") == answer


@pytest.mark.parametrize("text", ["B", "(b)", "B) Paris", "Paris", " paris. ", "Answer: Paris", "<think>C</think>\nB"])
@pytest.mark.parametrize("answer", ["B", "Paris"])
def test_a_choice_is_right_by_letter_or_by_text(text: str, answer: str) -> None:
    assert is_correct(text, answer, "choice", CHOICES)


@pytest.mark.parametrize("text", ["A", "C) Paris", "Rome", "Parisian", "E", "", "A long way off", "<think>B"])
def test_another_choice_or_none_is_wrong(text: str) -> None:
    assert not is_correct(text, "B", "choice", CHOICES)


def test_a_choice_whose_text_looks_like_a_letter_mark_is_known_by_its_text() -> None:
    assert is_correct("B. Smith", "A", "choice", ("B. Smith", "C. Jones"))
    assert not is_correct("B. Smith", "B", "choice", ("B. Smith", "C. Jones"))


def test_a_reference_outside_the_choices_is_refused() -> None:
    with pytest.raises(ValueError, match="neither the letter nor the text"):
        is_correct("B", "E", "choice", CHOICES)


@pytest.mark.parametrize(
    "text",
    [
        "1234",
        "1,234",
        "1234.0",
        "$1,234",
        "$1,234.00",
        "1234 dollars",
        "1,234.",
        "+1234",
        "12.34e2",
        "2468/2",
        "\\$1{,}234",
        "x = 1234",
        "$1234$",
        "1234 km per hour",
        "The answer is **1,234**.",
    ],
)
def test_numbers_are_compared_as_numbers(text: str) -> None:
    assert is_correct(text, "1234", "open")
    assert is_correct(text, "1,234.0", "open")


@pytest.mark.parametrize(
    "text",
    [
        "12345",
        "-1234",
        "1234.5",
        "12,34",
        "1 234",
        "1234 thousand",
        "1234 and a half",
        "1234x",
        "1234k",
        "1234 5",
        "1234%5",
        "1234e999",
        "1234/0",
        "1" * 10_000,
        "one",
    ],
)
def test_other_numbers_are_wrong(text: str) -> None:
    assert not is_correct(text, "1234", "open")


def test_units_must_agree_where_both_carry_one() -> None:
    assert same_answer("5 apples", "5 apple")
    assert same_answer("50%", "50 percent")
    assert same_answer("50 %", "50")
    assert not same_answer("5 miles", "5 km")
    assert not same_answer("50%", "50 km")


def test_minus_signs_count_once_wherever_they_stand() -> None:
    for text in ("-5", "\N{MINUS SIGN}5", "-$5", "$-5", "- 5"):
        assert is_correct(text, "-5", "open")
        assert not is_correct(text, "5", "open")


def test_a_reference_with_a_leading_zero_is_a_code() -> None:
    assert is_correct("021", "021", "open")
    assert not is_correct("21", "021", "open")
    assert is_correct("07", "7", "open")
    assert is_correct(".5", "0.5", "open")


def test_text_is_compared_without_case_and_blanks() -> None:
    assert is_correct("New  york\tcity.", "New York City", "open")
    assert not is_correct("New York", "New York City", "open")
    assert is_correct("*", "*", "open")


@calm
@given(
    st.integers(-(10**12), 10**12), st.sampled_from(["{}", "#### {}", "\\boxed{{{}}}", "The answer is {}.", "$ {} $"])
)
def test_any_written_integer_is_right_and_its_neighbour_is_wrong(value: int, form: str) -> None:
    for written in (f"{value}", f"{value:,}", f"{value}.0"):
        assert is_correct(form.format(written), str(value), "open")
        assert not is_correct(form.format(written), str(value + 1), "open")


@calm
@given(st.fractions(max_denominator=10**6))
def test_fractions_agree_with_exact_arithmetic(value: Fraction) -> None:
    assert same_answer(f"{3 * value.numerator}/{3 * value.denominator}", f"{value.numerator}/{value.denominator}")
    assert same_answer(f"\\frac{{{value.numerator}}}{{{value.denominator}}}", str(value))


@calm
@given(st.text(alphabet="AB()[]{}\\boxed#answeri.:*$<think/> \n07,-%", max_size=80))
def test_any_text_is_graded_without_an_error(text: str) -> None:
    assert is_correct(text, "7", "open") in (True, False)
    assert is_correct(text, "A", "choice", ("7", "0")) in (True, False)
    found = extract_answer(text, "open")
    assert found is None or found.strip()


@calm
@given(st.text(min_size=1, max_size=20))
def test_a_reference_answers_itself(answer: str) -> None:
    assert same_answer(answer, answer)
