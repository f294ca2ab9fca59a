"""A corpus written from a stream is the corpus built at once: the same tables, splits, counts and fingerprint."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.corpus import CONTENT_FILES, Corpus
from curricula.folder import DROPPED_FILE
from curricula.importers import read_gsm8k
from curricula.rendering import think
from curricula.sieve import sift
from curricula.stream import row_groups
from curricula.stream.bundle import Bundle
from curricula.stream.intake import Drop
from curricula.stream.stored import StoredCorpus, StoredRows
from curricula.stream.writer import CorpusWriter
from curricula.types import Cost, Example, Target


def write(directory: Path, examples: Iterable[Example], *, at_once: int = 7, strict: bool = False) -> CorpusWriter:
    """Written in bundles that were sent as bytes."""
    rows = list(examples)
    with CorpusWriter.open(directory, name="made", strict=strict) as writer:
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            sifted = [sift(one, f"corpus 'made', example {row}") for row, one in enumerate(part, start + 1)]
            writer.add(Bundle.from_bytes(Bundle.pack(sifted, rows=len(part)).to_bytes()))
    return writer


def example(number: int) -> Example:
    return Example(
        task=("add", "copy")[number % 2],
        prompt=f"{number} + 0 = ? \u00e9",
        answer=str(number),
        targets=(
            Target(supervision="reasoning", text=think("0", str(number)), teach=Cost(tokens=number), token_ratio=0.5),
            Target(supervision="answer", text=str(number), verdict="exact"),
        ),
    )


EXAMPLES = [example(number) for number in range(300)]


@st.composite
def some_examples(draw: st.DrawFn) -> list[Example]:
    """Examples with repeats, near-copies, lost targets, splits of their own, choices and a second domain."""
    base = draw(st.integers(0, 50))
    made = []
    for number in range(base, base + draw(st.integers(60, 90))):
        one = example(number)
        kind = draw(st.sampled_from("pppppppnrtlesc"))
        if kind == "r":
            one = example(base)
        elif kind == "n":
            one = replace(one, prompt=f"{base} + 0 =  ?? \u00c9")
        elif kind == "t":
            one = replace(one, domain="transfer", split=draw(st.sampled_from([None, "dev", "test"])))
        elif kind == "l":
            one = replace(one, targets=(*one.targets, Target(supervision="short", text="and so on")))
        elif kind == "e":
            one = replace(one, targets=(Target(supervision="answer", text=" "),))
        elif kind == "s":
            one = replace(one, split=draw(st.sampled_from(["train", "dev", "test"])))
        elif kind == "c":
            one = replace(one, kind="choice", choices=(one.answer, "\u4e2d"), id=f"own {number}")
        made.append(one)
    return made


@settings(max_examples=12)
@given(examples=some_examples(), at_once=st.sampled_from([1, 7, 64, 1000]), group_rows=st.sampled_from([5, 8192]))
def test_streamed_is_built(
    tmp_path_factory: pytest.TempPathFactory, examples: list[Example], at_once: int, group_rows: int
) -> None:
    directory = tmp_path_factory.mktemp("w") / "made"
    try:
        built = Corpus.build(examples, name="made")
    except ValueError as error:
        with pytest.raises(ValueError) as caught:
            write(directory, examples, at_once=at_once)
        assert str(caught.value) == str(error)
        assert list(directory.parent.iterdir()) == []
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "ROW_GROUP_ROWS", group_rows)
        written = write(directory, examples, at_once=at_once).written()
    loaded = Corpus.load(directory)
    assert loaded.examples.equals(built.examples)
    assert loaded.targets.equals(built.targets)
    assert (loaded.fingerprint, loaded.dropped, loaded.name) == (built.fingerprint, built.dropped, built.name)
    assert written.fingerprint == built.fingerprint
    assert (written.examples, tuple(written.targets), written.dropped) == (
        len(built),
        built.supervisions,
        built.dropped,
    )
    assert sum(written.targets.values()) == built.targets.num_rows
    listed = [json.loads(line) for line in read_lines(directory / DROPPED_FILE)]
    counts: dict[str, int] = {}
    for drop in listed:
        counts[drop["reason"]] = counts.get(drop["reason"], 0) + 1
    assert counts == built.dropped
    stored = StoredCorpus.open(directory)
    rows = StoredRows(stored)
    parts = [rows.read(start, min(start + 11, len(stored))) for start in range(0, len(stored), 11)]
    assert rows.read(0, len(stored)) == [one for part in parts for one in part]
    rebuilt = Corpus.build(rows.read(0, len(stored)), name="made")
    assert rebuilt.targets.equals(built.targets)


def read_lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def test_gsm8k_rows_streamed_are_gsm8k_rows_built(tmp_path: Path) -> None:
    for name, count in (("train", 400), ("test", 30)):
        rows = [
            {"question": f"{name} {number}?", "answer": f"It is <<{number}+1={number + 1}>>so.\n#### {number + 1}"}
            for number in range(count)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    examples = list(read_gsm8k(tmp_path))
    built = Corpus.build(examples, name="made")
    assert write(tmp_path / "made", examples).written().fingerprint == built.fingerprint
    built.save(tmp_path / "saved")
    assert Corpus.load(tmp_path / "saved").fingerprint == Corpus.load(tmp_path / "made").fingerprint


def test_a_corpus_without_loss_holds_the_three_files_and_no_more(tmp_path: Path) -> None:
    write(tmp_path / "made", EXAMPLES)
    assert {path.name for path in (tmp_path / "made").iterdir()} == set(CONTENT_FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_rows_and_targets_that_were_left_elsewhere_are_counted_and_listed(tmp_path: Path) -> None:
    lost = [Drop(where="a.jsonl, line 2", reason="not JSON", shown="x")]
    left = [Drop(where="example 7, short", reason="flagged incorrect")] * 500
    with CorpusWriter.open(tmp_path / "made", name="made") as writer:
        writer.add_examples(EXAMPLES)
        writer.add(Bundle.pack([], lost=lost, left=left, rows=1))
    assert writer.written().dropped == {"flagged incorrect": 500, "not JSON": 1}
    first = json.loads(read_lines(tmp_path / "made" / DROPPED_FILE)[0])
    assert first == {"where": "a.jsonl, line 2", "reason": "not JSON", "shown": "x"}
    Corpus.load(tmp_path / "made").save(tmp_path / "made")  # a corpus with its list of losses is a corpus


def test_more_rows_lost_than_kept_is_too_much(tmp_path: Path) -> None:
    lost = [Drop(where=f"line {number}", reason="not JSON") for number in range(301)]
    with (
        pytest.raises(
            ValueError, match=r"of 601 examples .*more than half .*not JSON: 301.*the first: line 0: not JSON"
        ),
        CorpusWriter.open(tmp_path / "made", name="made") as writer,
    ):
        writer.add_examples(EXAMPLES)
        writer.add(Bundle.pack([], lost=lost, rows=301))
    assert list(tmp_path.iterdir()) == []


def test_strict_stops_at_the_first_loss(tmp_path: Path) -> None:
    later: list[int] = []

    def rows() -> Iterator[Example]:
        yield from EXAMPLES[:3]
        yield EXAMPLES[0]
        later.append(1)
        yield from EXAMPLES[3:]

    with (
        pytest.raises(ValueError, match=r"strict allows none .*duplicate example: 1"),
        CorpusWriter.open(tmp_path / "made", name="made", strict=True) as writer,
    ):
        for one in rows():
            writer.add_examples([one])
    assert not later
    assert list(tmp_path.iterdir()) == []


def test_splits_are_kept_where_they_are_to_be(tmp_path: Path) -> None:
    # Nothing is carved for dev, and a near-copy does not pull another example over.
    kept = [
        replace(one, split="probe" if row % 9 == 0 else "train", prompt="same?") for row, one in enumerate(EXAMPLES)
    ]
    with CorpusWriter.open(tmp_path / "made", name="made", keep_splits=True) as writer:
        writer.add_examples(kept)
    assert Corpus.load(tmp_path / "made").examples["split"].to_pylist() == [one.split for one in kept]
    with (
        pytest.raises(ValueError, match="comes without its split"),
        CorpusWriter.open(tmp_path / "made", name="made", keep_splits=True) as writer,
    ):
        writer.add_examples(EXAMPLES)


@contextmanager
def room_for(file_bytes: int) -> Iterator[None]:
    """As if the disk were full once a file has so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("file_bytes", [10, 2000, 12_000])
def test_a_disk_that_fills_is_one_line_and_leaves_what_was_there(tmp_path: Path, file_bytes: int) -> None:
    before = write(tmp_path / "made", EXAMPLES).written().fingerprint
    longer = [replace(one, prompt=one.prompt * 20) for one in EXAMPLES]
    with room_for(file_bytes), pytest.raises(OSError) as caught:
        write(tmp_path / "made", longer)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert Corpus.load(tmp_path / "made").fingerprint == before


def test_a_disk_that_fills_in_the_middle_of_a_file_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "ROW_GROUP_ROWS", 20)  # so that more is to be written, and fails, after the error
    with room_for(2000), pytest.raises(OSError, match="File too large"):
        write(tmp_path / "made", EXAMPLES)
    assert not any(tmp_path.iterdir())


def test_a_loss_that_shows_half_a_character_is_listed(tmp_path: Path) -> None:
    sifted = [sift(one, f"rows.jsonl, line {row}") for row, one in enumerate(EXAMPLES, 1)]
    drop = Drop(where="half\udcff.jsonl, line 301", reason="holds half a character", shown="3 \ud800 4 \u00e9")
    with CorpusWriter.open(tmp_path / "made", name="made") as writer:
        writer.add(Bundle.from_bytes(Bundle.pack(sifted, lost=[drop], rows=301).to_bytes()))
    (line,) = (tmp_path / "made" / DROPPED_FILE).read_text("utf-8").splitlines()
    assert json.loads(line) == {
        "where": r"half\udcff.jsonl, line 301",
        "reason": "holds half a character",
        "shown": "3 \\ud800 4 \u00e9",
    }


def test_a_stored_corpus_that_was_changed_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "made", EXAMPLES)
    write(tmp_path / "other", EXAMPLES[:200])
    assert len(StoredCorpus.open(tmp_path / "made")) == 300
    (tmp_path / "other" / "examples.parquet").rename(tmp_path / "made" / "examples.parquet")
    with pytest.raises(ValueError, match="the files were changed since"):
        StoredCorpus.open(tmp_path / "made")
    (tmp_path / "made" / "targets.parquet").write_text("no")
    with pytest.raises(ValueError, match="not a corpus as saved") as caught:
        StoredCorpus.open(tmp_path / "made")
    assert "\n" not in str(caught.value)
