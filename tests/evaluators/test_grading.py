"""A student's outputs graded: by the rules of verified corpora, and by a user's grader, whatever that does."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import numpy as np
import pytest

from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.types import AnswerKind, Example, Target
from evaluators.answers import is_correct
from evaluators.grading import Grader, Grades
from evaluators.probe import Answers, assemble, outputs
from evaluators.user_grader import check_grader

GRADERS = "tests.evaluators.graders"
LONG = "and so on, 3+4=7, " * 30_000  # more than 100,000 tokens


def corpus_of(*questions: tuple[str, AnswerKind]) -> Corpus:
    """A corpus of these answers, and one more question to probe."""
    asked: list[tuple[str, AnswerKind]] = [*questions, ("another", "open")]
    return Corpus.build(
        [
            Example(
                task="mixed",
                prompt=f"question {number}",
                answer=answer,
                kind=kind,
                choices=("London", "Paris") if kind == "choice" else (),
                targets=(Target(supervision="answer", text=answer),),
                split="train" if number < len(questions) else "probe",
            )
            for number, (answer, kind) in enumerate(asked)
        ],
        name="mixed",
    )


def grades_of(grader: Grader, corpus: Corpus, answer_to_text: Sequence[tuple[str, str]]) -> Grades:
    """Grades of texts, each given as (the answer of its question, the text)."""
    row_of = {answer: row for row, answer in enumerate(corpus.examples["answer"].to_pylist())}
    return grader(corpus, [row_of[answer] for answer, _ in answer_to_text], [text for _, text in answer_to_text])


def test_outputs_are_graded_as_targets_are_verified() -> None:
    corpus = corpus_of((r"\frac{1}{\sqrt{2}}", "open"), ("7", "open"), ("B", "choice"))
    root, seven, choice = r"\frac{1}{\sqrt{2}}", "7", "B"
    cases = [
        (root, r"\boxed{\frac{\sqrt{2}}{2}}", True, True),
        (root, r"\boxed{\sqrt{2}}", False, True),
        (seven, "<think>3+4=7</think>The answer is 7.0", True, True),
        (seven, "<think>3+4=7, so the answer is 7", False, False),
        (seven, " \n", False, False),
        (choice, "The answer is Paris", True, True),
        (choice, "A", False, True),
        (choice, "Rome", False, False),
    ]
    with Grader() as grader:
        grades = grades_of(grader, corpus, [(answer, text) for answer, text, _, _ in cases])
    assert grades.correct_Q.tolist() == [right for _, _, right, _ in cases]
    assert grades.parsed_Q.tolist() == [parsed for _, _, _, parsed in cases]
    assert not any(grades.ungraded_Q)


def test_a_comparison_that_is_stopped_is_ungraded_and_the_next_is_graded() -> None:
    corpus = corpus_of(("x^2+1", "open"))
    with Grader(deadline_seconds=0.3) as grader:
        grades = grader(corpus, [0, 0], ["9^{9^{9^{9}}}", "1+x^2"])
    assert grades.correct_Q.tolist() == [False, True]
    assert grades.ungraded_Q == ("the comparison as mathematics was stopped", "")


def test_procedural_outputs_start_no_process_and_are_graded_by_the_cheap_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    corpus = Corpus.build(generate(examples=300, seed=0), name="made")
    answers, kinds, choices = (corpus.examples[name].to_pylist() for name in ("answer", "kind", "choices"))
    rows = list(range(len(answers)))
    texts = [answers[row] if row % 2 else f"{answers[row - 1]}+1=" for row in rows]
    grades = Grader(mathematics=False)(corpus, rows, texts)
    assert grades.correct_Q.tolist() == [is_correct(*row) for row in zip(texts, answers, kinds, choices, strict=True)]
    right = Grader()(corpus, rows, answers)
    assert right.correct_Q.all()


@pytest.mark.parametrize("kind", ["open", "choice"])
def test_outputs_of_100_000_tokens_are_graded(kind: AnswerKind) -> None:
    answer = "B" if kind == "choice" else "x^2"
    corpus = corpus_of((answer, kind))
    texts = [LONG, f"{LONG}\n#### {answer}", f"<think>{LONG}", "#### " + "(" * 500_000]
    with Grader() as grader:
        assert grader(corpus, [0] * 4, texts).correct_Q.tolist() == [False, True, False, False]
    with Grader(function=f"{GRADERS}.same_length") as grader:
        assert grader(corpus, [0] * 2, [LONG, answer]).correct_Q.tolist() == [False, True]


def test_a_grader_that_misbehaves_costs_the_row_and_not_the_rest() -> None:
    corpus = corpus_of(("7", "open"))
    texts = ["fine", "raise", "exit", "die", "spin", "wait", "not a bool", "read", "<think>fine", "", "fine"]
    with Grader(function=f"{GRADERS}.moody", deadline_seconds=0.5) as grader:
        grades = grader(corpus, [0] * len(texts), texts)
    assert grades.correct_Q.tolist() == [text == "fine" for text in texts]
    told = dict(zip(texts, grades.ungraded_Q, strict=True))
    assert told["raise"] == "ValueError: no number in it"
    assert told["exit"] == "SystemExit: 3"
    assert told["die"] == "its process ended with code 4"
    assert told["spin"].startswith("stopped after 0.5 s") and told["wait"].startswith("stopped after 0.5 s")
    assert told["not a bool"] == "TypeError: a grader returns True or False, and this one returned 1"
    assert told["read"].startswith("EOFError")
    assert not (told["fine"] or told["<think>fine"] or told[""])
    assert grades.parsed_Q.tolist() == [text not in ("", "<think>fine") for text in texts]


def test_a_grader_runs_on_the_main_thread() -> None:
    with Grader(function=f"{GRADERS}.on_main_thread") as grader:
        assert grader(corpus_of(("7", "open")), [0], ["8"]).correct_Q.tolist() == [True]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (f"{GRADERS}.same_lenght", r"has no 'same_lenght' \(did you mean same_length\?\); a grader is a function"),
        (f"{GRADERS}.NO_FUNCTION", "'NO_FUNCTION' of .* is a int; a grader is a function"),
        (f"{GRADERS}.of_two", "cannot be called with three texts: too many positional arguments; a grader is"),
        ("tests.evaluators.no_such_module.grade", "ModuleNotFoundError: No module named"),
        ("grade", "'grade' is no import path; a grader is"),
    ],
)
def test_a_grader_that_cannot_be_is_refused_in_one_line(path: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        check_grader(path)
    assert "\n" not in str(caught.value)
    assert path in str(caught.value)


def test_a_grader_that_can_be_is_accepted() -> None:
    check_grader(f"{GRADERS}.same_length")


def test_an_ungraded_answer_is_in_no_accuracy_and_counts_as_not_solved_in_a_probe() -> None:
    corpus = corpus_of(("7", "open"), ("8", "open"))
    with Grader(function=f"{GRADERS}.moody") as grader:
        grades = grader(corpus, [0, 1], ["raise", "fine"])
    answers = Answers(
        example_Q=np.array([0, 1]),
        text_Q=("raise", "fine"),
        correct_Q=grades.correct_Q,
        parsed_Q=grades.parsed_Q,
        ungraded_Q=grades.ungraded_Q,
        output_tokens_Q=np.array([2, 3], dtype=np.int32),
        truncated_Q=np.zeros(2, dtype=bool),
    )
    graded_N = outputs(corpus, answers).graded_N
    assert graded_N is not None and graded_N.tolist() == [False, True]
    probed = assemble(generated=[("free", np.array([0, 1], dtype=np.int32), answers)], forced=[])
    assert probed.solved_P.tolist() == [False, True]
