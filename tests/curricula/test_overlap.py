"""Repeats, near-copies and leakage against comparisons of every prompt with every other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curricula.description.overlap
from curricula.description.near_copies import NEAR_RUN_WORDS
from curricula.description.overlap import HELD_OUT, MOSTLY, Overlap, Pair, measure_overlap
from curricula.description.word_runs import runs, whole_hashes
from curricula.splits import normalised
from curricula.types import SPLITS, Split

Rows = Sequence[tuple[str, Split]]
WORDS = ("a", "b", "ab", "é", "漢", "3")


def reader(rows: Rows, batch_rows: int = 3) -> Callable[[], Iterator[pa.RecordBatch]]:
    """A corpus of these prompts, with the ids "0", "1", ..., read in batches."""
    table = pa.table(
        {
            "id": [str(row) for row in range(len(rows))],
            "prompt": pa.array([prompt for prompt, _ in rows], pa.string()),
            "split": pa.array([split for _, split in rows], pa.string()),
        }
    )
    return lambda: iter(table.to_batches(max_chunksize=batch_rows))


def word_runs(prompt: str, n: int) -> list[tuple[str, ...]]:
    """Every run of n words, or all words of a shorter prompt, one by one."""
    words = normalised(prompt).split(" ")
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)] or [tuple(words)]


def expected(rows: Rows, n: int) -> dict[str, list[int]]:
    """By comparison of every prompt with every other: the rows that each count is made of."""
    train = [row for row, (_, split) in enumerate(rows) if split == "train"]
    known = {run for row in train for run in word_runs(rows[row][0], n)}
    whole = [normalised(prompt) for prompt, _ in rows]
    found = {"repeated": [row for row in train if whole[row] in [whole[other] for other in train if other < row]]}
    for split in HELD_OUT:
        held = [row for row, (_, other) in enumerate(rows) if other == split]
        hits = {row: [run in known for run in word_runs(rows[row][0], n)] for row in held}
        found[f"{split} equal"] = [row for row in held if whole[row] in [whole[other] for other in train]]
        found[f"{split} mostly"] = [row for row in held if any(hits[row]) and np.mean(hits[row]) >= MOSTLY]
        found[f"{split} overlapping"] = [row for row in held if any(hits[row])]
    return found


def check(rows: Rows, measured: Overlap, n: int) -> None:
    """What was measured is what the comparison finds."""
    found = expected(rows, n)
    assert measured.train_prompts == sum(split == "train" for _, split in rows)
    assert measured.repeated == len(found["repeated"])
    assert [pair.example for pair in measured.repeated_pairs] == [str(row) for row in found["repeated"][:5]]
    for pair in measured.repeated_pairs:
        assert normalised(rows[int(pair.example)][0]) == normalised(rows[int(pair.earlier)][0])
        assert int(pair.earlier) < int(pair.example)
    assert [part.split for part in measured.leakage] == [
        split for split in HELD_OUT if any(split == other for _, other in rows)
    ]
    for part in measured.leakage:
        assert part.equal == len(found[f"{part.split} equal"])
        assert part.mostly == len(found[f"{part.split} mostly"])
        assert part.overlapping == len(found[f"{part.split} overlapping"])
        assert [pair.example for pair in part.pairs] == [str(row) for row in found[f"{part.split} overlapping"][:5]]
        for pair in part.pairs:
            shared = set(word_runs(rows[int(pair.example)][0], n))
            overlapping = [
                row
                for row, (prompt, split) in enumerate(rows)
                if split == "train" and shared & set(word_runs(prompt, n))
            ]
            assert int(pair.earlier) == overlapping[0]


prompts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join) | st.sampled_from(("?!", "A b", "- "))
corpora = st.lists(st.tuples(prompts, st.sampled_from(SPLITS)), max_size=24)


@settings(max_examples=150, deadline=None)
@given(rows=corpora, n=st.integers(1, 4))
def test_counts_are_those_of_comparing_all_with_all(rows: list[tuple[str, Split]], n: int) -> None:
    check(rows, measure_overlap(reader(rows), run_words=n), n)


@settings(max_examples=60, deadline=None)
@given(rows=corpora, batch_rows=st.integers(1, 30), block=st.integers(1, 40), chunk=st.integers(1, 60))
def test_how_a_corpus_is_cut_for_reading_changes_nothing(
    rows: list[tuple[str, Split]], batch_rows: int, block: int, chunk: int
) -> None:
    whole = measure_overlap(reader(rows), run_words=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curricula.description.overlap, "_BLOCK_RUNS", block)
        assert measure_overlap(reader(rows, batch_rows), run_words=3) == whole
        # The size of a hashed piece; how much of a prompt is read stays as it was.
        patch.setattr("curricula.description.word_runs.CHUNK_CHARS", chunk)
        assert measure_overlap(reader(rows, batch_rows), run_words=3) == whole


@given(texts=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), max_size=12))
def test_runs_are_equal_where_their_words_are(texts: list[str]) -> None:
    words: dict[int, set[tuple[str, ...]]] = {}
    for place_G, run_G in runs(texts, 2):
        seen = [0] * len(texts)
        for place, run in zip(place_G.tolist(), run_G.tolist(), strict=True):
            words.setdefault(run, set()).add(word_runs(texts[place], 2)[seen[place]])
            seen[place] += 1
        assert seen == [len(word_runs(text, 2)) for text in texts]
    assert all(len(some) == 1 for some in words.values())
    assert len(words) == len({run for text in texts for run in word_runs(text, 2)})


def test_hashes_of_different_prompts_differ() -> None:
    numbers = [f"what is {first} plus {second}" for first, second in itertools.product(range(150), repeat=2)]
    assert len(np.unique(whole_hashes(numbers))) == len(numbers)
    assert len(np.unique(np.concatenate([run_G for _, run_G in runs(numbers, 5)]))) == len(numbers)


def test_near_copies_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(500)]
    originals = [[words[place] for place in rng.integers(0, 500, 60)] for _ in range(200)]
    edited = [[*text[:59], "changed"] for text in originals[:50]]  # 55 of 57 runs in common
    halved = [[*text[:20], *other[20:]] for text, other in zip(originals[50:100], originals[100:150], strict=True)]
    rows: Rows = [(" ".join(text), "train") for text in (*originals, *edited, *halved, originals[0])]
    measured = measure_overlap(reader(rows, 64))
    similar = {
        (later, earlier)
        for later, earlier in itertools.product(range(200, 300), range(200))
        if _jaccard(rows[later][0], rows[earlier][0]) >= 0.8
    }
    assert {later for later, _ in similar} == set(range(200, 250))
    assert measured.near_copies == 50
    assert measured.near_pairs[0] == Pair(example="200", earlier="0")
    assert all((int(pair.example), int(pair.earlier)) in similar for pair in measured.near_pairs)
    assert measured.repeated_pairs == (Pair(example="300", earlier="0"),)


def _jaccard(one: str, other: str) -> float:
    first, second = set(word_runs(one, NEAR_RUN_WORDS)), set(word_runs(other, NEAR_RUN_WORDS))
    return len(first & second) / len(first | second)


def test_a_prompt_in_other_spelling_is_the_same_prompt() -> None:
    rows: Rows = [("What is 3 + 4?", "train"), ("what is: 3+4", "test"), ("What is 3 + 5?", "test")]
    (part,) = measure_overlap(reader(rows)).leakage
    assert (part.prompts, part.equal, part.mostly, part.overlapping) == (2, 1, 1, 1)
    assert part.pairs == (Pair(example="1", earlier="0"),)


def test_a_run_of_no_words_is_refused() -> None:
    with pytest.raises(ValueError, match="run_words must be at least 1, got 0"):
        measure_overlap(reader([]), run_words=0)
