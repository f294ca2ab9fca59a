"""Verdicts of targets: each rule in its turn, what is dropped, what is kept, and what is said of it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curricula.types import RIGHT_VERDICTS, VERDICTS, AnswerKind, Example, Target, Verdict
from evaluators.answers import is_correct
from evaluators.mathematics.checker import Mathematics
from evaluators.verdicts import Verifier, verdict

CHOICES = ("London", "Paris", "Rome")


@pytest.fixture(scope="module")
def mathematics() -> Iterator[Mathematics]:
    with Mathematics() as shared:
        yield shared


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("7", "7", "exact"),
        ("<think>3+4=7</think>7", "7", "exact"),
        ("<think>3+4=7</think>\n7\n", "7", "exact"),
        ("So it is\n#### 7", "7", "exact"),
        ("The answer is New York.", "new york", "exact"),
        ("The answer is 7.0", "7", "numeric"),
        ("#### $1,234", "1234", "numeric"),
        ("#### 50%", "0.5", "numeric"),
        ("#### 0.5", "50%", "numeric"),
        ("x = 5", "5", "numeric"),
        ("\\boxed{\\frac{1}{2}}", "0.5", "numeric"),
        ("\\boxed{\\frac{\\sqrt{2}}{2}}", "\\frac{1}{\\sqrt{2}}", "math"),
        ("\\boxed{5 \\text{ cm}}", "5", "numeric"),
        ("\\boxed{5\\sqrt{2} \\text{ cm}}", "\\sqrt{50}\\text{ cm}", "math"),
        ("\\boxed{2\\frac{1}{2}}", "2.5", "math"),
        ("The answer is (1, 2).", "(1,2)", "math"),
        ("The answer is 8", "7", "wrong"),
        ("The answer is 7.01", "7", "wrong"),
        ("y = 5", "x = 5", "wrong"),
        ("5π", "5", "wrong"),
        ("5½", "5", "wrong"),
        ("5½", "5.5", "math"),
        ("5²", "5", "wrong"),
        ("The answer is 2 thirds.", "2", "wrong"),
        ("\\boxed{2\\frac{1}{2}}", "21/2", "wrong"),
        ("\\boxed{\\sqrt{3}}", "\\sqrt{2}", "wrong"),
        ("The answer is \\sqrt{2}", "Paris", "wrong"),
        ("The answer is Rome", "Paris", "wrong"),
        ("The answer is Rome", "\\sqrt{2}", "wrong"),
        ("\\boxed{\\Delta}", "\\delta", "unchecked"),
        ("x", "X", "unchecked"),
        ("\\boxed{1/2x}", "\\frac{x}{2}", "unchecked"),
        ("So Ann has 7 apples, and 3 pears", "7", "unchecked"),
        ("So Ann has 17 apples, and 3 pears", "7", "wrong"),
        ("", "7", "no_answer"),
        (" \n", "7", "no_answer"),
        ("<think>3+4=7", "7", "no_answer"),
        ("<think>3+4=7</think>", "7", "no_answer"),
        ("<think>a</think>7<think>7", "7", "no_answer"),
    ],
)
def test_an_open_answer_gets_the_verdict_of_the_first_rule_that_decides(
    mathematics: Mathematics, text: str, answer: str, expected: Verdict
) -> None:
    assert verdict(text, answer, "open", mathematics=mathematics) == expected


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("B", "B", "exact"),
        ("The answer is Paris", "Paris", "exact"),
        ("(b)", "B", "choice"),
        ("The answer is B) Paris.", "Paris", "choice"),
        ("The answer is Paris", "B", "choice"),
        ("<think>Rome?</think>\n\\boxed{\\text{B}}", "B", "exact"),
        ("C", "B", "wrong"),
        ("The answer is Rome", "B", "wrong"),
        ("<think>B", "B", "no_answer"),
    ],
)
def test_a_choice_gets_its_verdict(text: str, answer: str, expected: Verdict) -> None:
    assert verdict(text, answer, "choice", CHOICES) == expected


@pytest.mark.parametrize("text", ["B", ""])
def test_a_reference_outside_the_choices_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither the letter nor the text"):
        verdict(text, "E", "choice", CHOICES)


def test_without_mathematics_what_needs_it_is_unchecked() -> None:
    assert verdict("\\boxed{x^2-1}", "(x-1)(x+1)", "open") == "unchecked"
    assert verdict("\\boxed{x^2-1}", "x^2-1", "open") == "exact"
    assert verdict("8", "7", "open") == "wrong"


REPEATED = [
    *(
        "answer is ",
        "answer is ** ",
        '"',
        "$",
        "*",
        "#",
        "#### ",
        "\\boxed{",
        "\\boxed{}",
        "{",
        "}",
        "7",
        "7,",
        "1 ",
        ".",
    ),
    *(
        "(",
        "\n",
        "\\frac{1}{2}",
        "\\text{a}",
        "\\frac{",
        "<think>",
        "</think>",
        "A) ",
        "x=",
        "- ",
        "\ud800",
        "1/",
        "10^",
    ),
]


@pytest.mark.parametrize("piece", REPEATED)
def test_a_long_text_of_anything_gets_a_verdict(mathematics: Mathematics, piece: str) -> None:
    text = piece * (200_000 // len(piece))
    assert verdict(text, "x^2", "open", mathematics=mathematics) not in RIGHT_VERDICTS
    assert verdict("#### " + text, "12", "open", mathematics=mathematics) not in RIGHT_VERDICTS
    assert verdict("7", text, "open", mathematics=mathematics) not in RIGHT_VERDICTS
    assert verdict(text, "B", "choice", CHOICES) not in RIGHT_VERDICTS


@given(
    st.text(alphabet="AB()[]{}\\boxedfrac#answeri.:*$<think/> \n07,-%^=", max_size=60), st.sampled_from(["7", "x^2"])
)
def test_any_text_gets_a_verdict_no_more_generous_than_grading_but_for_mathematics(text: str, answer: str) -> None:
    found = verdict(text, answer, "open")
    assert found in VERDICTS
    if found in RIGHT_VERDICTS:
        assert is_correct(text, answer, "open")
    assert verdict(text, "A", "choice", ("7", "0")) in VERDICTS


@given(
    st.integers(-(10**9), 10**9),
    st.sampled_from(["{}", "#### {}", "\\boxed{{{}}}", "The answer is {}.", "<think>9</think>{}"]),
)
def test_any_written_integer_is_right_and_its_neighbour_is_wrong(value: int, form: str) -> None:
    for written, right in ((f"{value}", "exact"), (f"{value:,}.0", "numeric")):
        assert verdict(form.format(written), str(value), "open") == right
        assert verdict(form.format(written), str(value + 1), "open") == "wrong"


def _example(name: str, right: str, of: AnswerKind = "open", /, **targets: str) -> Example:
    return Example(
        task="t",
        prompt=f"{name}?",
        answer=right,
        kind=of,
        id=name,
        choices=CHOICES if of == "choice" else (),
        targets=tuple(Target(supervision=kind, text=text, verdict="unchecked") for kind, text in targets.items()),
    )


EXAMPLES = (
    _example("one", "7", answer="7", short="#### 7.0", reasoning="<think>7"),
    _example("two", "7", answer="8"),
    _example("three", "B", "choice", answer="(b)", short="C"),
)


def test_the_verifier_drops_what_is_wrong_or_missing_and_says_where() -> None:
    intake = Verifier()(EXAMPLES)
    assert [(one.id, [(target.supervision, target.verdict) for target in one.targets]) for one in intake.examples] == [
        ("one", [("answer", "exact"), ("short", "numeric")]),
        ("three", [("answer", "choice")]),
    ]
    assert [(drop.where, drop.reason) for drop in intake.drops] == [
        ("example one, target 'reasoning'", "reasoning: no answer"),
        ("example two, target 'answer'", "answer: wrong answer"),
        ("example two", "example without a target"),
        ("example three, target 'short'", "short: wrong answer"),
    ]
    assert intake.drops[1].shown == "answer '7', gives '8'"


def test_the_verifier_keeps_what_is_wrong_where_it_is_asked_to() -> None:
    intake = Verifier(keep_wrong=True)(EXAMPLES)
    assert intake.drops == ()
    assert [[target.verdict for target in one.targets] for one in intake.examples] == [
        ["exact", "numeric", "no_answer"],
        ["wrong"],
        ["choice", "wrong"],
    ]


def test_the_word_of_a_source_stands_only_where_nothing_can_be_decided() -> None:
    def judged(text: str, answer: str) -> Verdict:
        target = Target(supervision="answer", text=text, verdict="declared")
        example = Example(task="t", prompt="?", answer=answer, targets=(target,))
        return Verifier(keep_wrong=True, mathematics=False)([example]).examples[0].targets[0].verdict

    assert judged("1/2x", "\\frac{x}{2}") == "declared"
    assert judged("8", "7") == "wrong"
    assert judged("7", "7") == "exact"


def test_verdicts_do_not_depend_on_what_was_judged_before() -> None:
    verifier = Verifier()
    together = verifier(EXAMPLES)
    apart = [verifier([example]) for example in reversed(EXAMPLES)]
    assert together.examples == tuple(example for intake in reversed(apart) for example in intake.examples)
    assert together.drops == tuple(drop for intake in reversed(apart) for drop in intake.drops)


def test_a_verifier_is_sent_to_a_process_as_its_settings() -> None:
    made = pickle.loads(pickle.dumps(partial(Verifier, keep_wrong=True, mathematics=False)))()
    assert made(EXAMPLES) == Verifier(keep_wrong=True, mathematics=False)(EXAMPLES)


def test_a_malformed_choice_names_its_example() -> None:
    target = Target(supervision="answer", text="B")
    example = Example(task="t", prompt="?", answer="E", kind="choice", choices=CHOICES, id="odd", targets=(target,))
    with pytest.raises(ValueError, match="example odd: answer 'E' is neither"):
        Verifier()([example])
