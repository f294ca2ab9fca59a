"""Wording: think blocks come apart as they were put together; an answer is recognised only where it stands whole."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curricula.rendering import (
    THINK_CLOSE,
    THINK_OPEN,
    ends_in_answer,
    holds_answer,
    messages,
    prompt_text,
    split_thinking,
    think,
)

PLAIN = st.text(alphabet=st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=60)
WORDS = st.text(alphabet=string.ascii_letters + string.digits, min_size=1, max_size=8)


@given(trace=PLAIN, answer=PLAIN)
def test_a_think_block_comes_apart_as_it_was_put_together(trace: str, answer: str) -> None:
    assert split_thinking(think(trace, answer)) == (trace, answer)


@given(text=PLAIN)
def test_a_text_without_tags_does_not_think(text: str) -> None:
    assert split_thinking(text) == (None, text)


@given(trace=PLAIN)
def test_an_open_block_says_nothing(trace: str) -> None:
    assert split_thinking(THINK_OPEN + trace) == (trace, None)


def test_a_closing_tag_alone_ends_a_trace_that_the_prompt_opened() -> None:
    assert split_thinking("3+4=7</think>7") == ("3+4=7", "7")


def test_text_before_the_block_belongs_to_the_rest() -> None:
    assert split_thinking("Well. <think>3+4=7</think>7") == ("3+4=7", "Well. 7")


def test_a_trace_with_a_closing_tag_is_refused() -> None:
    with pytest.raises(ValueError, match="between the tags"):
        think(f"3+4=7{THINK_CLOSE}", "7")


def test_choices_are_lettered_one_per_line() -> None:
    assert prompt_text("Which is a fruit?", "choice", ("apple", "chair")) == "Which is a fruit?\nA) apple\nB) chair"


@pytest.mark.parametrize(
    "prompt",
    ["Fruit?\nA) apple\nB) chair", "Fruit? (A) apple (B) chair", "Fruit? A. apple B. chair", "Fruit? A apple B chair"],
)
def test_choices_that_the_prompt_holds_are_not_repeated(prompt: str) -> None:
    assert prompt_text(prompt, "choice", ("apple", "chair")) == prompt


def test_choices_that_are_named_without_letters_or_in_part_are_appended() -> None:
    assert prompt_text("An apple or a chair?", "choice", ("apple", "chair")).endswith("\nA) apple\nB) chair")
    assert prompt_text("A) apple B) chairman", "choice", ("apple", "chair")).endswith("\nA) apple\nB) chair")


@given(prompt=WORDS, choices=st.lists(WORDS, min_size=2, max_size=6))
def test_a_prompt_is_rendered_once(prompt: str, choices: list[str]) -> None:
    once = prompt_text(prompt, "choice", choices)
    assert prompt_text(once, "choice", choices) == once


def test_an_open_question_is_put_as_it_is() -> None:
    assert prompt_text("3+4=? ", "open") == "3+4=? "
    assert messages("3+4=?") == [{"role": "user", "content": "3+4=?"}]


def test_more_choices_than_letters_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 26 choices, got 27"):
        prompt_text("Which?", "choice", tuple(str(number) for number in range(27)))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("17", "17"),
        ("<think>8+9=17</think>17", "17"),
        ("<think>8+9</think>\n\nThe answer is 17.", "17"),
        ("8+9=17\n#### 17", "17"),
        (r"so $\boxed{17}$.", "17"),
        (r"\(17\)", "17"),
        ("it costs $17", "17"),
        ("**17**", "17"),
        ("<answer>17</answer>", "17"),
        ("17 !\n", "17"),
        ("#### 1,234,567", "1234567"),
        ("1234567", "1,234,567"),
        (r"\boxed{1{,}234}", "1234"),
        ("= -17", "-17"),
        ("= \u221217", "-17"),
        ("3.17", "3.17"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("The answer is (B).", "B"),
        ("it is  the\nEiffel  Tower", "Eiffel tower"),
        ("Paris", "Paris."),
        ("\u7b54\u6848\u662f17\u3002", "17"),
        ("\u7b54\u6848\u662f\u5317\u4eac", "\u5317\u4eac"),
        ("say \u201cPARIS\u201d", "paris"),
        ("(()())", "(()())"),
    ],
)
def test_ends_in_its_answer(text: str, answer: str) -> None:
    assert ends_in_answer(text, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "17"),
        ("17", ""),
        ("117", "17"),
        ("x17", "17"),
        ("x_17", "17"),
        ("-17", "17"),
        ("\u221217", "17"),
        ("10-17", "-17"),
        ("3.17", "17"),
        (".17", "17"),
        ("3/17", "17"),
        ("4,017", "017"),
        ("9,17", "17"),
        ("17 apples", "17"),
        ("17%", "17"),
        ("17.0", "17"),
        ("171", "17"),
        ("unhappy", "happy"),
        ("<think>8+9=17", "17"),
        ("<think>8+9=17</think>", "17"),
        ("<think>8+9=17</think>18", "17"),
    ],
)
def test_does_not_end_in_its_answer(text: str, answer: str) -> None:
    assert not ends_in_answer(text, answer)


@given(trace=PLAIN, answer=WORDS, closing=st.text(alphabet=" \n.!)}$*", max_size=5))
def test_an_answer_behind_a_block_is_recognised(trace: str, answer: str, closing: str) -> None:
    assert ends_in_answer(think(trace, answer + closing), answer)
    assert ends_in_answer(think(trace, f"#### {answer}{closing}"), answer)


@given(number=st.integers(), other=st.integers())
def test_numbers_are_told_apart(number: int, other: int) -> None:
    for text in (f"{other}", f"{other:,}", f"The answer is {other}.", rf"\boxed{{{other}}}"):
        assert ends_in_answer(text, str(number)) == (number == other)


@given(number=st.integers(min_value=0), digits=st.integers(min_value=0))
def test_a_number_does_not_end_a_longer_one(number: int, digits: int) -> None:
    assert not ends_in_answer(f"{digits}{number}", str(number))


def test_an_answer_is_found_inside_a_text_as_a_whole_word_only() -> None:
    assert holds_answer("so 1,234 apples.", "1234")
    assert holds_answer("first 117, then 17, then more", "17")
    assert not holds_answer("117 and 171 and 1.17 and 17.5 and 17% and -17 and 17/3", "17")
    assert holds_answer("so A is it", "A")
    assert not holds_answer("so a is it", "A")
    assert not holds_answer("anything", " ")
