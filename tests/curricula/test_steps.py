"""Steps cover a trace; those that lead to the answer are told from checks, repetitions and remarks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curricula.procedural import generate
from curricula.rendering import split_thinking
from curricula.traces.shares import LengthRanks, share_at
from curricula.traces.steps import Step, join_steps, read_steps, split_steps

REMARKS = ("Let me think about it.", "This is easy enough.", "I like such questions.", "Okay, on we go.")


def texts_of(trace: str, answer: str, *, prompt: str = "", flag: str = "carries") -> list[str]:
    """The steps of a trace that have a flag, without the space around them."""
    steps = read_steps(trace, prompt=prompt, answers=[answer])
    chosen = {"carries": [s.carries for s in steps], "verifies": [s.verifies for s in steps]}
    chosen["repeats"] = [s.repeats for s in steps]
    return [trace[s.start : s.end].strip() for s, take in zip(steps, chosen[flag], strict=True) if take]


@given(st.text(alphabet="aB1.,;:!? \n=+*-$\\[]`", max_size=120))
def test_steps_follow_each_other_and_cover_the_trace(trace: str) -> None:
    spans = split_steps(trace)
    assert "".join(trace[start:end] for start, end in spans) == trace
    assert all(start < end for start, end in spans)


@pytest.mark.parametrize(
    ("trace", "steps"),
    [
        ("He has 3. She has 4.\nSo 7.", ["He has 3.", "She has 4.", "So 7."]),
        ("a is 64; b is 20", ["a is 64;", "b is 20"]),
        ("a1 gives xy, b2 gives yx", ["a1 gives xy,", "b2 gives yx"]),
        ("a2+8=0 b2+0=2", ["a2+8=0", "b2+0=2"]),
        ("It costs $3.50, e.g. Two for $7. Done.", ["It costs $3.50, e.g. Two for $7.", "Done."]),
        ("1. Add them.\n2. Halve.", ["1. Add them.", "2. Halve."]),
        ("So we get:\n\\[\nx = 3. \nY = 4\n\\]\nDone.", ["So we get:\n\\[\nx = 3. \nY = 4\n\\]", "Done."]),
        ("First.\n\n---\n\nSecond.", ["First.\n\n---", "Second."]),
        ("\u5148\u7b97\u3002\u518d\u52a0\u3002", ["\u5148\u7b97\u3002", "\u518d\u52a0\u3002"]),
    ],
)
def test_a_trace_is_cut_where_its_form_says(trace: str, steps: list[str]) -> None:
    assert [trace[start:end].strip() for start, end in split_steps(trace)] == steps


@st.composite
def calculations(draw: st.DrawFn) -> tuple[str, str, str, set[str]]:
    """(prompt, trace, answer, steps that carry): sums of given numbers and earlier sums, among remarks."""
    count = draw(st.integers(2, 8))
    given_numbers = [1000 + 7 * place for place in range(count + 1)]
    results: list[int] = []
    parents: list[list[int]] = []
    lines: list[str] = []
    written: list[str] = []
    for place in range(count):
        earlier = draw(st.integers(-1, place - 1))
        # Twice the place in the ten thousands: no two results, and no result and given number, are the same.
        base = results[earlier] if earlier >= 0 else given_numbers[place]
        added = 10_000 * 2**place + place
        results.append(base + added)
        parents.append([earlier] if earlier >= 0 else [])
        sign = draw(st.sampled_from(["{} + {} = {}", "That makes {} + {} = ${}", "\\({} + {} = {}\\)"]))
        written.append(sign.format(base, added, results[-1]) + ".")
        lines += [written[-1], *draw(st.lists(st.sampled_from(REMARKS), max_size=1))]
    wanted: set[int] = set()
    waiting = [count - 1]
    while waiting:
        step = waiting.pop()
        wanted.add(step)
        waiting += parents[step]
    separator = draw(st.sampled_from([" ", "\n", "\n\n"]))
    prompt = " ".join(map(str, given_numbers))
    return prompt, separator.join(lines), str(results[-1]), {written[step] for step in wanted}


@given(calculations())
def test_what_carries_is_what_the_answer_was_made_from(case: tuple[str, str, str, set[str]]) -> None:
    prompt, trace, answer, carrying = case
    assert set(texts_of(trace, answer, prompt=prompt)) == carrying


def test_a_corrected_mistake_does_not_carry() -> None:
    trace = "So it is 12 + 1 = 13 wide. Wait, that is wrong. It is 12 + 2 = 14 wide. The area is 14 * 7 = 98."
    assert texts_of(trace, "98", prompt="12 by 7") == ["It is 12 + 2 = 14 wide.", "The area is 14 * 7 = 98."]


def test_a_check_carries_only_what_stands_nowhere_else() -> None:
    plain = "48/2 = 24.\n48 + 24 = 72.\nLet me check: 48 * 1.5 = 72."
    assert texts_of(plain, "72", prompt="48") == ["48/2 = 24.", "48 + 24 = 72."]
    corrected = "48 * 2 = 96.\nWait, half as many: 48/2 = 24.\n48 + 24 = 72."
    assert texts_of(corrected, "72", prompt="48") == ["Wait, half as many: 48/2 = 24.", "48 + 24 = 72."]


def test_algebra_is_followed_through_its_variable() -> None:
    trace = "We have \\(2x + 3 = 15\\).\nI see.\nThen \\(2x = 12\\).\nSo \\(x = 6\\).\nThe answer is \\(\\boxed{6}\\)."
    carrying = texts_of(trace, "6", prompt="Solve 2x + 3 = 15.")
    assert carrying[:3] == ["We have \\(2x + 3 = 15\\).", "Then \\(2x = 12\\).", "So \\(x = 6\\)."]


def test_an_answer_that_is_no_number_is_found_where_it_is_named() -> None:
    trace = "Venus is hot. Mars is full of rust. So the answer is Mars."
    steps = read_steps(trace, prompt="", answers=["B", "Mars"])
    assert [trace[s.start : s.end].strip() for s in steps if s.carries] == ["So the answer is Mars."]


def test_every_calculation_carries_an_answer_that_is_named_nowhere() -> None:
    trace = "units 5+6=11; I go on; tens 4+3+1=8"
    assert texts_of(trace, "81", prompt="45+36") == ["units 5+6=11;", "tens 4+3+1=8"]


def test_some_step_carries_in_every_procedural_trace() -> None:
    for example in generate(examples=130, seed=5):
        text = next(target.text for target in example.targets if target.supervision == "reasoning")
        trace, _ = split_thinking(text)
        assert trace is not None
        steps = read_steps(trace, prompt=example.prompt, answers=[example.answer])
        assert any(step.carries for step in steps)
        assert not any(step.verifies for step in steps)


@pytest.mark.parametrize(
    "check",
    [
        "Wait, is that right?",
        "But wait, I forgot the tax.",
        "Hmm, let me double-check that.",
        "Let me verify by plugging it in.",
        "To verify, we substitute.",
        "Let's check: 3 + 4.",
        "Alternatively, we could halve it.",
        "Yep, that's correct.",
        "Okay, that makes sense.",
        "Just to be sure, add them up again.",
        "Verification: 3 + 4.",
    ],
)
def test_words_of_checking_are_told(check: str) -> None:
    assert texts_of(f"She has 3 pens.\n{check}\nThat is 3 * 2 = 6.", "6", prompt="3", flag="verifies") == [check]


@pytest.mark.parametrize(
    "step",
    [
        "They had to wait 5 minutes.",
        "He wrote a check for $50.",
        "The answer needs both parts.",
        "She checks out 3 books.",
        "Now let me add those.",
        "The waiter brought 4 cups.",
    ],
)
def test_words_of_a_story_are_no_check(step: str) -> None:
    assert texts_of(f"{step}\nThat is 3 * 2 = 6.", "6", prompt="3", flag="verifies") == []


def test_a_check_lasts_to_the_end_of_its_line() -> None:
    trace = "3 + 4 = 7. Let me check. 4 + 3 is 7. Good.\nThen 7 * 2 = 14."
    assert texts_of(trace, "14", prompt="3 4", flag="verifies") == ["Let me check.", "4 + 3 is 7.", "Good."]


def test_what_was_said_before_repeats() -> None:
    trace = "We add 3 + 4 = 7.\nSo that gives 3+4 = 7 pens.\nwe add 3 + 4 = 7!\nThen 7 * 2 = 14."
    assert texts_of(trace, "14", flag="repeats") == ["So that gives 3+4 = 7 pens.", "we add 3 + 4 = 7!"]


def test_what_the_question_says_and_what_follows_the_result_repeats() -> None:
    prompt = "Anna sold clips to 48 friends in April. Each costs $3. How much did Anna get?"
    trace = (
        "Each costs $3.\nSo in April Anna sold 48 clips.\nI like Anna.\nThat is 3 * 48 = 144.\nIt is $144.\nI am sure."
    )
    found = texts_of(trace, "144", prompt=prompt, flag="repeats")
    assert found == ["Each costs $3.", "So in April Anna sold 48 clips.", "It is $144.", "I am sure."]


def test_no_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="without an answer"):
        read_steps("3 + 4 = 7", prompt="", answers=[" "])


def test_kept_steps_are_joined_by_the_widest_space_between_them() -> None:
    trace = "A one. B two.\n\nC three; d four;"
    steps = [Step(start=start, end=end) for start, end in split_steps(trace)]
    assert join_steps(trace, steps, [True, False, True, False]) == "A one.\n\nC three"
    assert join_steps(trace, steps, [True] * 4) == trace.removesuffix(";")


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_shares_by_difficulty_rise_with_length_and_keep_the_mean(lengths: list[int], ratio: float) -> None:
    ranks = LengthRanks.of({"task": lengths, "other": [1]})
    shares = [share_at(ratio, ranks.rank("task", length)) for length in lengths]
    assert sum(shares) / len(shares) == pytest.approx(ratio)
    assert all(0.0 < share < 1.0 for share in shares)
    ordered = [share for _, share in sorted(zip(lengths, shares, strict=True))]
    assert ordered == sorted(ordered)


def test_an_unknown_task_has_no_ranks() -> None:
    with pytest.raises(ValueError, match="no trace of task 'b'"):
        LengthRanks.of({"a": [1]}).rank("b", 1)
