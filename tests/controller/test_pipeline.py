"""The pipeline: the same bytes for any number of workers, ids and splits kept, errors in one line, deaths survived."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import ray

from controller.traces import pipeline, stream
from controller.traces.pipeline import Step, import_rows, transform_corpus
from controller.traces.stream import in_workers
from curricula.corpus import Corpus
from curricula.layouts import layout_named
from curricula.stream import rows
from curricula.stream.bundle import Bundle
from curricula.stream.intake import Drop, Intake
from curricula.stream.rows import Chunk
from curricula.stream.sources import Source
from curricula.types import Example, Target
from trainers.jobs import WorkerLostError

ROWS = 900


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of our own, with room for two workers."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 1024 * 1024)
    yield
    ray.shutdown()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks and bundles of a small source; workers are handed the chunks, and cut bundles as they like."""
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 4000)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 8000)
    monkeypatch.setattr(pipeline, "BUNDLE_ROWS", 100)


def chunks(folder: Path) -> tuple[Chunk, ...]:
    """Rows of a GSM8K folder, some of which cannot be used."""
    for name, first in (("train", 0), ("test", ROWS)):
        lines = [
            json.dumps({"question": f"{number}+1?", "answer": f"<<{number}+1={number + 1}>>\n#### {number + 1}"})
            for number in range(first, first + ROWS)
        ]
        lines[7] = "broken"
        lines[8] = lines[9]
        lines[10] = json.dumps({"question": "10+1?", "answer": "eleven"})
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return Source(place=str(folder)).chunks()


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.usefixtures("small_pieces", "cluster")
def test_an_import_is_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    found = chunks(tmp_path)
    assert len(found) > 4
    outcomes = [
        import_rows(found, layout_named("gsm8k"), tmp_path / str(workers), name="sums", workers=workers)
        for workers in (0, 1, 2)
    ]
    assert content(tmp_path / "0") == content(tmp_path / "1") == content(tmp_path / "2")
    corpus = Corpus.load(tmp_path / "2")
    assert corpus.dropped == {"does not end in '#### number'": 2, "duplicate example": 2, "not JSON": 2}
    assert (len(corpus), len(corpus.rows("test")), len(corpus.rows("probe")) > 0) == (2 * ROWS - 6, ROWS - 3, True)
    assert [outcome.rows for outcome in outcomes] == [2 * ROWS] * 3
    assert (outcomes[2].written.examples, outcomes[2].written.dropped) == (len(corpus), corpus.dropped)
    dropped = (tmp_path / "2" / "dropped.jsonl").read_text().splitlines()
    assert json.loads(dropped[0])["where"] == f"{tmp_path / 'test.jsonl'}, line 8"
    shown = [json.loads(line)["shown"] for line in dropped if "duplicate" in line]
    assert [text.startswith("repeats example ") for text in shown] == [True, True]


@dataclass(frozen=True, kw_only=True)
class Shorten:
    """Offers one more target, drops one example in eleven, and says so; fails where it is told to."""

    fail_at: str = ""

    def __call__(self, examples: Sequence[Example]) -> Intake:
        kept: list[Example] = []
        drops: list[Drop] = []
        for example in examples:
            if example.prompt == self.fail_at:
                raise ValueError(f"example {example.id}: cannot be shortened")
            if int(example.answer) % 11 == 0:
                drops.append(Drop(where=f"example {example.id}", reason="too long", shown=example.prompt))
                continue
            target = Target(supervision="compressed:made@0.5", text=f"<think>x</think>{example.answer}", char_ratio=0.5)
            kept.append(replace(example, targets=(*example.targets, target)))
        return Intake(examples=tuple(kept), drops=tuple(drops))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    import_rows(chunks(folder), layout_named("gsm8k"), folder / "sums", name="sums")
    return folder / "sums"


@pytest.mark.usefixtures("small_pieces", "cluster")
def test_a_step_is_the_same_bytes_for_any_number_of_workers(source: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    for workers in (0, 2):
        outcome = transform_corpus(
            source,
            tmp_path / str(workers),
            Shorten,
            workers=workers,
            batch_examples=30,
            progress=lambda done, total: told.append((done, total)),
        )
    assert content(tmp_path / "0") == content(tmp_path / "2")
    before, after = Corpus.load(source), Corpus.load(tmp_path / "2")
    kept = [row for row, answer in enumerate(before.examples["answer"].to_pylist()) if int(answer) % 11]
    assert after.examples.equals(before.examples.take(kept))
    assert after.supervisions == (*before.supervisions[:2], "compressed:equations", "compressed:made@0.5")
    assert after.dropped == outcome.written.dropped == {"too long": len(before) - len(after)}
    assert after.name == "sums"
    assert told[-1] == (len(before), len(before))
    assert told == sorted(told[: len(told) // 2]) * 2


def test_a_step_may_write_over_its_source(source: Path, tmp_path: Path) -> None:
    Corpus.load(source).save(tmp_path / "mine")
    outcome = transform_corpus(tmp_path / "mine", tmp_path / "mine", Shorten, name="shorter")
    assert Corpus.load(tmp_path / "mine").fingerprint == outcome.written.fingerprint
    assert outcome.written.name == "shorter"


def _refuse() -> Step:
    raise ValueError("there is no scorer 'small'")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_step_refuses_is_raised_as_it_is(source: Path, tmp_path: Path, workers: int) -> None:
    cases: list[tuple[Callable[[], Step], str]] = [
        (partial(Shorten, fail_at="1000+1?"), "cannot be shortened"),
        (_refuse, "there is no scorer 'small'"),
    ]
    for make_step, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            transform_corpus(source, tmp_path / "made", make_step, workers=workers)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_more_workers_than_cores_are_refused(source: Path, tmp_path: Path, cluster: None) -> None:
    with pytest.raises(ValueError, match=r"5 workers .*there are 2"):
        transform_corpus(source, tmp_path / "made", Shorten, workers=5)


def test_strict_refuses_what_a_step_leaves_out(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"strict allows none .*too long"):
        transform_corpus(source, tmp_path / "made", Shorten, strict=True)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True, kw_only=True)
class Mortal:
    """Makes two bundles of each piece, and dies over piece 3 as often as it is told to."""

    marks: Path
    deaths: int

    def __call__(self) -> Callable[[int], Iterator[Bundle]]:
        return self._work

    def _work(self, item: int) -> Iterator[Bundle]:
        yield Bundle.pack([], rows=10 * item)
        died = len(list(self.marks.iterdir()))
        if item == 3 and died < self.deaths:
            (self.marks / str(died)).touch()
            os._exit(1)
        yield Bundle.pack([], rows=10 * item + 1)


@pytest.mark.usefixtures("cluster")
def test_after_a_death_every_bundle_still_comes_once(tmp_path: Path) -> None:
    bundles = [bundle.rows for bundle in in_workers(range(6), Mortal(marks=tmp_path, deaths=1), 2)]
    assert bundles == [10 * item + part for item in range(6) for part in (0, 1)]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("cluster")
def test_a_piece_that_kills_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ATTEMPTS", 1)
    with pytest.raises(WorkerLostError, match="died 1 times over the same rows"):
        list(in_workers(range(6), Mortal(marks=tmp_path, deaths=9), 2))
