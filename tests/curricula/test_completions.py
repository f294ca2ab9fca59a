"""Completions: think tags of every spelling are taken apart, and final answers are those that the evaluators see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.layouts import layout_named
from curricula.layouts.completion import BLOCKS, bare_trace, final_answer, reference_answer, split_completion
from curricula.stream.intake import UnusableError
from evaluators.answers import extract_answer, same_answer
from tests.curricula.samples import reason


@pytest.mark.parametrize(("opening", "closing"), BLOCKS)
@given(trace=st.text(alphabet="ab <>/=7\n", min_size=1), response=st.text(alphabet="ab <>=7\n", min_size=1))
@settings(max_examples=25, deadline=None)
def test_think_tags_of_every_spelling_are_taken_apart(opening: str, closing: str, trace: str, response: str) -> None:
    if not response.strip():
        return
    expected = (trace.strip() or None, response.strip())
    assert split_completion(f"{opening}{trace}{closing}{response}") == expected
    assert split_completion(f"\n {trace}{closing}\n\n{response}") == expected
    with pytest.raises(UnusableError, match="never closed"):
        split_completion(f"{opening}{trace}")


def test_tags_around_solutions_and_end_tokens_are_no_part_of_a_response() -> None:
    assert split_completion("<think>a</think>\n<answer>7</answer><|im_end|>") == ("a", "7")
    assert split_completion("<|begin_of_solution|>7<|end_of_solution|></s>") == (None, "7")
    assert split_completion("<think>\n<think>\na</think>b") == ("a", "b")
    assert split_completion("Hm. <think>a</think> 7") == ("a", "Hm.\n7")
    assert bare_trace("<think>\n3+4=7\n</think>\n") == "3+4=7"
    assert bare_trace("x < 3 and y > 4") == "x < 3 and y > 4"
    with pytest.raises(UnusableError, match="several think blocks"):
        split_completion("<think>a</think>7<think>b</think>8")


@pytest.mark.parametrize(
    "text",
    [
        "Seven and five make twelve.\n#### 12",
        "The product is $\\boxed{\\frac{3}{4}}$.",
        "It follows that the answer is 1,234.",
        "**Answer:** Paris",
        "First \\boxed{3}, but with the sign, \\boxed{-3}.",
        "The final answer is $\\boxed{17}$. I hope it is correct.",
        "$$\\boxed{\\text{C}}$$",
        "42",
    ],
)
def test_marked_answers_are_those_that_the_evaluators_see(text: str) -> None:
    found, expected = final_answer(text), extract_answer(text, "open")
    assert found is not None
    assert expected is not None
    assert same_answer(found, expected)


@pytest.mark.parametrize(
    "text",
    [
        "The light is long and warm, and the swifts are loud.",
        "#### Step 1\nLook around you.\n\n#### Step 2\nWrite down whatever you happen to see.",
        "```python\nprint(1)\n```",
        "\\boxed{",
        "I cannot say.",
    ],
)
def test_prose_has_no_final_answer(text: str) -> None:
    assert final_answer(text) is None


@pytest.mark.parametrize(
    ("completion", "words"),
    [("7 \x00", "holds a NUL"), ("so \\boxed{7\ud800}", "holds half a character"), (7, "completion is not a text")],
)
def test_texts_that_cannot_be_stored_are_refused(completion: object, words: str) -> None:
    assert reason(layout_named("prompt-completion"), {"prompt": "q", "completion": completion}) == words


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (72, "72"),
        (0.1 + 0.2, "0.3"),
        (float("nan"), None),
        (True, None),
        (None, None),
        ("  ", None),
        ("$17$.", "17"),
        ("Half of 34.\n#### 17", "17"),
        ("The answer is 17.", "17"),
        ("The fox ran.\nThe hen did not see it at all.", None),
        (["17"], None),
    ],
)
def test_references_are_numbers_short_texts_or_marked_solutions(value: object, answer: str | None) -> None:
    assert reference_answer(value) == answer
