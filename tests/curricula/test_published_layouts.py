"""Each published set: the targets that its rows give, and the reasons for which rows and targets are left out."""

from __future__ import annotations

from collections import Counter

import pytest

from curricula.layouts import detect, layout_named
from curricula.rendering import split_thinking
from tests.curricula.samples import reason, sample, target, texts, verdicts


def test_openr1_takes_the_first_generation_that_is_complete_finished_and_right() -> None:
    layout, rows = layout_named("openr1-math"), sample("openr1_math")
    first, second, third = (layout.example(row, "x") for row in rows[:3])
    trace = "Powers of 7 end in 7, 9, 3, 1. Five is one more than four, so the last digit is 7."
    assert texts(first) == {
        "answer": "7",
        "reasoning": f"<think>{trace}</think>7",
        "response": "The last digits repeat with period four.\n\n**Final Answer**\n\\[\n\\boxed{7}\n\\]",
        "short": rows[0]["solution"],
    }
    assert set(verdicts(first).values()) == {"declared"}
    # The second check, by a model, counts where math-verify found nothing; there are no finish reasons.
    assert (second.answer, texts(second)["reasoning"]) == ("B", "<think>After C comes D, choice B.</think>B")
    # Right by its flag and spelled otherwise: the trace is kept, the response cannot end in this answer.
    assert texts(third)["reasoning"] == "<think>Divide by two: x is 0.5.</think>\\frac{1}{2}"
    assert "response" not in texts(third)
    assert [drop.reason for drop in layout.intake(rows[2], "x").drops] == ["response: does not end in its answer"]
    assert [reason(layout, row) for row in rows[3:]] == [
        "no generation flagged correct",
        "no generation finished by itself",
        "no final answer",
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"is_reasoning_complete": [False, False, False]}, "no generation flagged complete"),
        ({"correctness_math_verify": None}, "no generation flagged correct"),
        ({"generations": []}, "no generation"),
        ({"generations": ["", None, " "]}, "no generation"),
        ({"generations": ["a", "b", "<think>7"]}, "think block never closed"),
        ({"generations": ["a", "b", "7"]}, "no think block"),
        ({"generations": "all"}, "generations is not a list"),
        ({"problem": " "}, "empty problem"),
    ],
)
def test_openr1_names_what_no_generation_met(changed: dict[str, object], words: str) -> None:
    assert reason(layout_named("openr1-math"), {**sample("openr1_math")[0], **changed}) == words


def test_openthoughts_thinks_in_either_style() -> None:
    layout = layout_named("openthoughts")
    first = layout.example(sample("openthoughts_114k")[0], "x")
    assert first.prompt.startswith("Return your final response")
    assert texts(first) == {
        "answer": "24",
        "reasoning": "<think>Four rows of six books make 24 books.</think>24",
        "response": "There are $4\\cdot 6=24$ books.\n\n\\[\n\\boxed{24}\n\\]",
    }
    assert set(verdicts(first).values()) == {"unchecked"}
    assert texts(layout.example(sample("openthoughts3")[0], "x"))["reasoning"] == "<think>Three by three is 9.</think>9"
    for name in ("openthoughts_114k", "openthoughts3"):
        assert [reason(layout, row) for row in sample(name)[1:]] == ["no final answer", "think block never closed"]
    by_domain = detect(sample("openthoughts3"))
    assert type(by_domain)(task="domain").example(sample("openthoughts3")[0], "x").task == "math"


def test_a_trace_that_comes_to_another_answer_is_not_put_before_the_reference() -> None:
    layout, rows = layout_named("openthoughts-metadata"), sample("openthoughts_114k_metadata")
    assert verdicts(layout.example(rows[0], "x")) == {
        "answer": "declared",
        "reasoning": "unchecked",
        "response": "unchecked",
    }
    assert texts(layout.example(rows[1], "x")) == {"answer": "25"}
    assert layout.intake(rows[1], "x").drops[0].reason == "reasoning: comes to another answer"


def test_pairs_keep_both_sides() -> None:
    layout, rows = layout_named("paired"), sample("scale_or_reason")
    assert list(texts(layout.example(rows[0], "x"))) == ["answer", "reasoning", "response", "short"]
    # The sides disagree, and the response goes on behind its answer: the trace alone is left.
    assert texts(layout.example(rows[1], "x")) == {
        "answer": "7",
        "reasoning": "<think>Nine less two is seven.</think>7",
    }
    assert texts(layout.example(rows[3], "x")) == {"answer": "42", "short": "The answer is 42."}
    assert reason(layout, rows[2]) == "no final answer"
    untagged = {"prompt": "q", "reasoning": "Three fives are 15, so the answer is 15.", "ift": None}
    assert texts(layout.example(untagged, "x"))["reasoning"] == f"<think>{untagged['reasoning']}</think>15"
    assert reason(layout, {"prompt": "q", "reasoning": None, "ift": ""}) == "empty completion"
    cut = layout.intake({**rows[0], "reasoning": "<think>Three bags of"}, "x")
    assert list(texts(cut.examples[0])) == ["answer", "short"]
    assert [drop.reason for drop in cut.drops] == ["reasoning: think block never closed"]
    assert reason(layout, {**rows[0], "reasoning": "<think>Three", "ift": None}) == "think block never closed"


def test_solutions_without_tags_are_what_their_layout_says() -> None:
    (long,) = sample("uwnsl_long_cot")
    traced = layout_named("long-solutions").example(long, "x")
    assert texts(traced) == {"answer": "7", "reasoning": f"<think>{long['solution']}</think>7"}
    short, two, proof = sample("uwnsl_short_cot")
    solved = layout_named("short-solutions").example(short, "x")
    assert texts(solved) == {"answer": "7", "short": short["solution"]}
    assert set(verdicts(solved).values()) == {"declared"}
    assert reason(layout_named("short-solutions"), two) == "several final answers"
    assert reason(layout_named("short-solutions"), proof) == "no final answer"
    named = type(layout_named("short-solutions"))(teacher_name="large", task_name="math")
    assert (named.example(short, "x").task, list(texts(named.example(short, "x")))) == (
        "math",
        ["answer", "short#large"],
    )


def test_s1k_uses_the_grades_of_both_teachers() -> None:
    layout, rows = layout_named("s1k"), sample("s1k_1_1")
    both = layout.example(rows[0], "x")
    assert list(texts(both)) == [
        "answer",
        "reasoning#gemini",
        "response#gemini",
        "reasoning#deepseek",
        "response#deepseek",
    ]
    assert texts(both)["reasoning#gemini"] == "<think>Each corner sees 3 others; 6*3/2 = 9.</think>9"
    one = layout.intake(rows[1], "x")
    assert list(texts(one.examples[0])) == ["answer", "reasoning#deepseek", "response#deepseek", "short"]
    assert [drop.reason for drop in one.drops] == ["reasoning#gemini: graded wrong"]
    assert reason(layout, rows[2]) == "no final answer"
    ungraded = {**rows[0], "gemini_grade": None, "deepseek_attempt": ""}
    assert verdicts(layout.example(ungraded, "x")) == {
        "answer": "declared",
        "reasoning#gemini": "unchecked",
        "response#gemini": "unchecked",
    }


def test_mixchain_is_a_ladder_of_measured_ratios() -> None:
    layout = layout_named("mixchain")
    (row,) = sample("mixchain_gsm8k")
    ladder = layout.example(row, "x")
    longest = str(row["solution_4"])
    assert texts(ladder)["reasoning"] == f"<think>{longest}</think>7"
    rungs = [target for target in ladder.targets if target.supervision.startswith("compressed:mixchain@")]
    assert len(rungs) == 3
    for rung, index in zip(rungs, (1, 2, 3), strict=True):
        trace, answer = split_thinking(rung.text)
        assert (trace, answer) == (row[f"solution_{index}"], "7")
        assert rung.char_ratio == len(trace or "") / len(longest)
        assert rung.char_ratio == pytest.approx(float(rung.supervision.partition("@")[2]), abs=0.05)
        assert rung.token_ratio is None
    assert target(ladder, "short").text.endswith("plums.\n#### 7")
    assert "<<" not in target(ladder, "short").text


def test_mixchain_leaves_out_wrong_cut_and_equal_lengths() -> None:
    layout = layout_named("mixchain")
    (row,) = sample("mixchain_prm12k")
    assert Counter(drop.reason for drop in layout.intake(row, "x").drops) == {
        "solution_1: trace ends before its answer": 1,
        "solution_3: flagged incorrect": 1,
    }
    twice = {**row, "solution_1": "3*3=9, 9*3=27: \\boxed{27}", "solution_3": f"{row['solution_4']}", "correct_3": True}
    assert {drop.reason.partition(": ")[2] for drop in layout.intake(twice, "x").drops} == {
        "as long as another to a tenth",
        "hardly shorter than the longest",
    }
    wrong = {**row, **{f"correct_{index}": False for index in range(1, 5)}}
    assert reason(layout, wrong) == "no usable solution"


def test_gsm8k_rows_outside_a_folder() -> None:
    layout, rows = layout_named("gsm8k"), sample("gsm8k")
    assert texts(layout.example(rows[0], "x")) == {
        "answer": "3600",
        "short": "Three trips carry 3*1200=3,600 sacks.\n#### 3600",
        "compressed:equations": "<think>3*1200=3600</think>3600",
    }
    assert reason(layout, rows[2]) == "does not end in '#### number'"


def test_alpaca_prose_is_dropped_unless_a_column_gives_the_answer() -> None:
    layout, rows = layout_named("alpaca"), sample("alpaca")
    assert texts(layout.example(rows[0], "x")) == {"answer": "Paris"}
    added = layout.example(rows[1], "x")
    assert (added.prompt, added.answer) == ("Add the numbers.\n\n12, 30", "42")
    assert [reason(layout, row) for row in rows[2:]] == ["no final answer", "refused", "empty completion"]
    told = type(layout)(answer="gold").example({**rows[2], "gold": "dark"}, "x")
    assert (told.answer, list(texts(told)), verdicts(told)["answer"]) == ("dark", ["answer", "short"], "declared")


def test_completions_are_dropped_each_for_its_own_reason() -> None:
    layout, rows = layout_named("prompt-completion"), sample("prompt_completion")
    found = [layout.intake(row, "x") for row in rows]
    assert [intake.examples[0].answer if intake.examples else intake.drops[0].reason for intake in found] == [
        "7",
        "9",
        "flagged unfinished",
        "think block never closed",
        "4",
        "nothing after the think block",
        "9",
        "flagged incorrect",
        "11",
    ]
    assert texts(found[0].examples[0])["reasoning"] == "<think>3 and 4 make 7</think>7"
    assert texts(found[1].examples[0]) == {"answer": "9"}
    assert texts(found[4].examples[0]) == {"answer": "4"}
    # An empty think block is thinking turned off; the row is flagged right.
    assert verdicts(found[6].examples[0]) == {"answer": "declared", "short": "declared"}


def test_a_message_may_hold_its_trace_in_its_content_or_beside_it() -> None:
    layout, rows = layout_named("messages"), sample("messages")
    assert [texts(layout.example(row, "x"))["reasoning"] for row in rows[:3]] == [
        "<think>5*5=25</think>25",
        "<think>5*6=30</think>30",
        "<think>5*7=35</think>35",
    ]
    assert layout.example(rows[3], "x").prompt == "What is 5 times 8?"
    assert [reason(layout, row) for row in rows[4:]] == ["empty completion", "no question with a reply"]


def test_a_conversation_of_several_questions_is_dropped() -> None:
    layout, rows = layout_named("sharegpt"), sample("sharegpt")
    assert texts(layout.example(rows[0], "x")) == {"answer": "5", "short": "8 less 3 leaves 5.\n\nAnswer: 5"}
    assert reason(layout, rows[1]) == "several turns"
    assert layout.example(rows[2], "x").prompt == "Is 7 prime?"


def test_own_rows_keep_verdicts_and_ratios() -> None:
    layout, rows = layout_named("own"), sample("own")
    compressed = target(layout.example(rows[0], "x"), "compressed:steps@0.3")
    assert (compressed.verdict, compressed.char_ratio) == ("unchecked", 0.45)
    assert [drop.reason for drop in layout.intake(rows[1], "x").drops] == ["reasoning: trace ends before its answer"]
    assert reason(layout, rows[2]) == "field 'answer' is empty"
