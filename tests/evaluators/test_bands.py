"""Bands of questions, by hand and on the procedural corpus."""

from __future__ import annotations

from collections import Counter

import numpy as np

from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.rendering import think
from curricula.types import Example, Target
from evaluators.bands import difficulty_bands, length_bands


def test_bands_of_prompt_length_are_about_quarters_and_never_part_prompts_of_one_length() -> None:
    chars_N = np.random.default_rng(1).permutation(100).astype(np.int32)
    assert sorted(Counter(length_bands(chars_N)).items()) == [
        ("1: 0 to 24 characters", 25),
        ("2: 25 to 49 characters", 25),
        ("3: 50 to 74 characters", 25),
        ("4: 75 to 99 characters", 25),
    ]
    assert length_bands(np.array([9, 9, 9, 9, 30], dtype=np.int32)) == (
        *("1: 9 to 9 characters",) * 4,
        "2: 30 to 30 characters",
    )


def _corpus(*targets_N: tuple[Target, ...]) -> Corpus:
    examples = [
        Example(task="add", prompt=f"question {row}", answer="7", targets=targets, split="train" if row else "probe")
        for row, targets in enumerate(targets_N)
    ]
    return Corpus.build(examples, name="small")


def _answer(*others: Target) -> tuple[Target, ...]:
    return (Target(supervision="answer", text="7"), *others)


def test_difficulty_is_the_length_of_the_reasoning_in_thirds() -> None:
    traces = ["s" * chars for chars in (30, 5, 10, 20, 25, 15)]
    corpus = _corpus(*(_answer(Target(supervision="reasoning", text=think(trace, "7"))) for trace in traces))
    assert difficulty_bands(corpus, np.array([2, 0, 4, 1, 3, 5])) == (
        "1: 5 to 10 characters of reasoning",
        "3: 25 to 30 characters of reasoning",
        "3: 25 to 30 characters of reasoning",
        "1: 5 to 10 characters of reasoning",
        "2: 15 to 20 characters of reasoning",
        "2: 15 to 20 characters of reasoning",
    )


def test_lengths_of_different_teachers_are_not_mixed() -> None:
    by_a = [Target(supervision="reasoning#a", text=think("s" * chars, "7")) for chars in (5, 9)]
    by_b = Target(supervision="reasoning#b", text=think("s" * 400, "7"))
    corpus = _corpus(_answer(by_a[0], by_b), _answer(by_a[1]), _answer(by_b), _answer(by_a[0]))
    assert difficulty_bands(corpus, np.arange(4)) == (
        "1: 5 to 5 characters of reasoning#a",
        "2: 9 to 9 characters of reasoning#a",
        "without reasoning#a",
        "1: 5 to 5 characters of reasoning#a",
    )


def test_short_answers_stand_in_for_traces_and_bare_answers_for_nothing() -> None:
    short = Target(supervision="short", text="3+4 is 7")
    assert difficulty_bands(_corpus(_answer(short), _answer(short)), np.arange(2)) == (
        *("1: 8 to 8 characters of short",) * 2,
    )
    cut = Target(supervision="compressed:steps@0.5", text=think("3+4", "7"))
    assert difficulty_bands(_corpus(_answer(cut), _answer()), np.arange(2)) is None


def test_every_dev_question_of_the_procedural_corpus_has_a_band_of_about_a_third() -> None:
    corpus = Corpus.build(generate(examples=600, seed=0), name="small")
    row_Q = corpus.rows("dev")
    bands = difficulty_bands(corpus, row_Q)
    assert bands is not None
    counts = Counter(bands)
    assert len(counts) == 3
    assert all(abs(count - len(row_Q) / 3) <= 0.1 * len(row_Q) for count in counts.values())
