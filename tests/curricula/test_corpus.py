"""The corpus as two tables: what goes in comes out, in order, once saved and read as before."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curricula.corpus import CONTENT_FILES, Corpus, open_corpus
from curricula.rendering import think
from curricula.types import SPLITS, VERDICTS, Cost, Example, Split, Target

SPELLINGS = ("truncated@0.5", "reasoning#gpt", "answer", "compressed:steps@0.3", "short", "compressed:rewrite@0.15")
ORDERED = ("answer", "short", "reasoning#gpt", "compressed:rewrite@0.15", "compressed:steps@0.3", "truncated@0.5")


def example(number: int, *, split: Split | None = None) -> Example:
    """A sum; odd ones are choices, and every third has one target less."""
    spellings = SPELLINGS[: 5 if number % 3 == 0 else 6]
    answer = "A" if number % 2 else str(number)
    return Example(
        task=("add", "pick")[number % 2],
        prompt=f"{number} + 0 = ? \u00e9",
        answer=answer,
        kind="choice" if number % 2 else "open",
        choices=(str(number), "0") if number % 2 else (),
        split=split,
        targets=tuple(
            Target(
                supervision=spelling,
                text=answer if spelling in ("answer", "short") else think(f"{spelling} \u00e9", answer),
                verdict=VERDICTS[number % len(VERDICTS)],
                teach=Cost(flops=number, tokens=2 * number, dollars=number / 8),
                compress=Cost(flops=2**62 + number, tokens=number, dollars=number / 4),
                token_ratio=None if number % 3 else 0.5,
                char_ratio=None if number % 3 else number / 400,
            )
            for spelling in spellings
        ),
    )


EXAMPLES = [example(number) for number in range(400)]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.build(EXAMPLES, name="sums")


@pytest.fixture(scope="module")
def folder(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "inner" / "sums"
    corpus.save(directory)
    return directory


def same(left: Corpus, right: Corpus) -> bool:
    return (
        left.examples.equals(right.examples)
        and left.targets.equals(right.targets)
        and (left.tasks, left.supervisions, left.dropped) == (right.tasks, right.supervisions, right.dropped)
        and left.fingerprint == right.fingerprint
    )


def test_examples_stand_in_input_order(corpus: Corpus) -> None:
    assert len(corpus) == 400
    made = ("id", "split")
    expected = [asdict(one) for one in EXAMPLES]
    for record, fields in zip(corpus.examples.to_pylist(), expected, strict=True):
        for column in corpus.examples.column_names:
            assert column in made or record[column] == (list(fields[column]) if column == "choices" else fields[column])
    assert corpus.tasks == ("add", "pick")


def test_targets_stand_by_example_then_supervision(corpus: Corpus) -> None:
    assert corpus.supervisions == ORDERED
    expected = [
        {"example": row, "supervision": target.supervision} | columns(target)
        for row, one in enumerate(EXAMPLES)
        for target in sorted(one.targets, key=lambda target: ORDERED.index(target.supervision))
    ]
    assert corpus.targets.to_pylist() == expected


def test_target_rows_find_every_target_and_nothing_else(corpus: Corpus) -> None:
    row_NS = corpus.target_rows_NS()
    assert row_NS.shape == (400, 6)
    assert sorted(row_NS[row_NS >= 0]) == list(range(corpus.targets.num_rows))
    records = corpus.targets.to_pylist()
    for (row, column), target in np.ndenumerate(row_NS):
        if target >= 0:
            assert (records[target]["example"], records[target]["supervision"]) == (row, ORDERED[column])


def test_rows_of_the_splits_are_a_partition(corpus: Corpus) -> None:
    rows = [corpus.rows(split) for split in SPLITS]
    assert all(part.dtype == np.int32 and np.all(np.diff(part) > 0) for part in rows)
    assert sorted(np.concatenate(rows)) == list(range(400))
    column = corpus.examples["split"].to_pylist()
    assert all(column[row] == split for split, part in zip(SPLITS, rows, strict=True) for row in part)


def test_an_unknown_split_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="'valid' does not exist; it is one of train, probe, dev, test"):
        corpus.rows("valid")  # pyright: ignore[reportArgumentType]


def test_what_was_dropped_is_counted_by_reason() -> None:
    bad = replace(EXAMPLES[2], prompt="bad", targets=(Target(supervision="answer", text="no"),))
    corpus = Corpus.build([*EXAMPLES, EXAMPLES[0], bad], name="sums")
    assert corpus.dropped == {
        "answer: does not end in its answer": 1,
        "duplicate example": 1,
        "example without a target": 1,
    }
    assert len(corpus) == 400
    with pytest.raises(ValueError, match="strict allows none"):
        Corpus.build([*EXAMPLES, bad], name="sums", strict=True)


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (("dev", "test"), "the train split is empty .*dev 1, test 1.*in-domain"),
        (("train", "dev"), "the probe split is empty .*train 1, probe 0, dev 1"),
    ],
)
def test_a_corpus_that_cannot_be_trained_on_or_probed_is_refused(splits: tuple[Split, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Corpus.build([example(number, split=split) for number, split in enumerate(splits)], name="tiny")


def test_dev_and_test_may_be_empty() -> None:
    corpus = Corpus.build([example(0, split="train"), example(1, split="probe")], name="tiny")
    assert [len(corpus.rows(split)) for split in SPLITS] == [1, 1, 0, 0]


def test_a_saved_corpus_is_read_as_it_was(corpus: Corpus, folder: Path) -> None:
    assert same(Corpus.load(folder), corpus)
    assert same(open_corpus(folder), corpus)
    assert Corpus.load(folder).name == "sums"
    assert {path.name for path in folder.iterdir()} == set(CONTENT_FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["sums"]


def test_file_layout_does_not_matter(corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    corpus.save(copy)
    for name in CONTENT_FILES[:2]:
        pq.write_table(pq.read_table(copy / name), copy / name, row_group_size=7, compression="gzip")
    assert Corpus.load(copy).fingerprint == corpus.fingerprint


def test_saving_replaces_a_corpus_and_nothing_else(corpus: Corpus, tmp_path: Path) -> None:
    smaller = Corpus.build(EXAMPLES[:300], name="fewer")
    corpus.save(tmp_path / "sums")
    smaller.save(tmp_path / "sums")
    assert same(Corpus.load(tmp_path / "sums"), smaller)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    for path in (other, other / "notes.txt"):
        with pytest.raises(ValueError, match="exists and is not a corpus"):
            corpus.save(path)
    assert (other / "notes.txt").read_text() == "mine"


def changed_answer(table: pa.Table) -> pa.Table:
    answers = table["answer"].to_pylist()
    return table.set_column(table.column_names.index("answer"), "answer", pa.array(["other", *answers[1:]]))


def test_a_change_after_saving_is_noticed(corpus: Corpus, tmp_path: Path) -> None:
    corpus.save(tmp_path / "c")
    path = tmp_path / "c" / "examples.parquet"
    pq.write_table(changed_answer(pq.read_table(path)), path)
    with pytest.raises(ValueError, match="the files were changed since"):
        Corpus.load(tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("corpus.json", "{", "not a corpus as saved"),
        ("corpus.json", json.dumps({"name": "sums"}), "must hold name, dropped and fingerprint"),
        ("targets.parquet", "not Parquet", "not a corpus as saved"),
        ("targets.parquet", None, "targets.parquet is missing"),
    ],
)
def test_a_broken_folder_is_refused(corpus: Corpus, tmp_path: Path, name: str, content: str | None, words: str) -> None:
    corpus.save(tmp_path / "c")
    path = tmp_path / "c" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=words):
        Corpus.load(tmp_path / "c")


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "other"},
        {"task": "other"},
        {"id": "other"},
        {"split": "dev"},
        {"domain": "transfer", "split": "dev"},
        {"targets": EXAMPLES[4].targets[:3]},
        {"targets": (replace(EXAMPLES[4].targets[0], verdict="wrong"), *EXAMPLES[4].targets[1:])},
        {"targets": (replace(EXAMPLES[4].targets[0], teach=Cost(flops=99)), *EXAMPLES[4].targets[1:])},
        {"targets": (replace(EXAMPLES[4].targets[0], compress=Cost(dollars=0.1)), *EXAMPLES[4].targets[1:])},
        {"targets": (replace(EXAMPLES[4].targets[0], char_ratio=0.25), *EXAMPLES[4].targets[1:])},
        {"targets": (replace(EXAMPLES[4].targets[0], text="<think>x</think>4"), *EXAMPLES[4].targets[1:])},
    ],
)
def test_the_fingerprint_sees_every_column(change: dict[str, object]) -> None:
    fixed = [replace(one, split="probe" if row == 0 else "train") for row, one in enumerate(EXAMPLES[:6])]
    fixed.append(replace(EXAMPLES[6], split="dev"))
    other = [*fixed[:4], replace(fixed[4], **change), *fixed[5:]]  # pyright: ignore[reportArgumentType]
    prints = [Corpus.build(examples, name="c").fingerprint for examples in (fixed, other, fixed[::-1], fixed)]
    assert prints[0] == prints[3]
    assert len(set(prints)) == 3


def columns(target: Target) -> dict[str, object]:
    """A target as a file spells it."""
    costs = {f"teach_{unit}": amount for unit, amount in asdict(target.teach).items()}
    costs |= {f"compress_{unit}": amount for unit, amount in asdict(target.compress).items()}
    ratios = {"token_ratio": target.token_ratio, "char_ratio": target.char_ratio}
    return {"text": target.text, "verdict": target.verdict, **costs, **ratios}


def as_row(one: Example) -> dict[str, object]:
    row: dict[str, object] = {"task": one.task, "prompt": one.prompt, "answer": one.answer, "kind": one.kind}
    targets = {target.supervision: columns(target) for target in one.targets}
    return row | {"choices": list(one.choices), "targets": targets}


def test_jsonl_and_parquet_open_as_what_they_were_written_from(corpus: Corpus, tmp_path: Path) -> None:
    rows = [as_row(one) for one in EXAMPLES]
    (tmp_path / "sums.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "sums.parquet")
    for name in ("sums.jsonl", "sums.parquet"):
        opened = open_corpus(tmp_path / name)
        assert same(opened, corpus)
        assert opened.name == "sums"


def test_a_gsm8k_folder_opens_with_probe_and_dev(tmp_path: Path) -> None:
    for name, count in (("train", 300), ("test", 20)):
        rows = [
            {"question": f"{name} {number}?", "answer": f"It is <<{number}+1={number + 1}>>so.\n#### {number + 1}"}
            for number in range(count)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    corpus = open_corpus(tmp_path)
    assert corpus.supervisions == ("answer", "short", "compressed:equations")
    assert all(len(corpus.rows(split)) > 0 for split in SPLITS)
    assert len(corpus.rows("test")) == 20
    assert (len(corpus), corpus.dropped, corpus.name) == (320, {}, tmp_path.name)


@pytest.mark.parametrize("name", ["missing", "corpus.txt", "folder"])
def test_what_is_no_corpus_is_refused_with_what_was_looked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "corpus.txt").write_text("7")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=rf"{name}.*corpus\.json.*\.jsonl or \.parquet.*train\.jsonl and test\.jsonl"):
        open_corpus(tmp_path / name)
