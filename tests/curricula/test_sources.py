"""Sources: which files are read, in which order, for which split, and how many rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.exceptions import DatasetNotFoundError

from curricula.stream.intake import Drop
from curricula.stream.rows import Chunk
from curricula.stream.sources import Source, first_rows, known_rows
from curricula.types import Split


def write(path: Path, numbers: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [{"n": number} for number in numbers]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=4)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))


def numbers(chunks: tuple[Chunk, ...]) -> list[object]:
    found = [item for chunk in chunks for item in chunk.read()]
    return [item[1]["n"] for item in found if not isinstance(item, Drop)]


def splits(chunks: tuple[Chunk, ...]) -> list[Split | None]:
    return list(dict.fromkeys(chunk.split for chunk in chunks))


def test_a_folder_is_read_by_name_whatever_the_files_are(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", range(10, 20))
    write(tmp_path / "a.parquet", range(10))
    write(tmp_path / "c" / "d.jsonl", range(20, 25))
    write(tmp_path / ".cache" / "e.jsonl", range(99, 100))
    (tmp_path / "README.md").write_text("about")
    chunks = Source(place=str(tmp_path)).chunks()
    assert numbers(chunks) == list(range(25))
    assert known_rows(chunks) == 25
    assert splits(chunks) == [None]


@pytest.mark.parametrize("limit_rows", [1, 4, 5, 11, 25, 99])
def test_a_limit_takes_the_first_rows(tmp_path: Path, limit_rows: int) -> None:
    write(tmp_path / "a.parquet", range(10))
    write(tmp_path / "b.jsonl", range(10, 25))
    assert numbers(Source(place=str(tmp_path), limit_rows=limit_rows).chunks()) == list(range(min(25, limit_rows)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("test.jsonl", "train.jsonl"), ["test", "train"]),
        (("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-0.parquet"), ["train", "dev"]),
        (("train/data.jsonl", "test/data.jsonl"), ["test", "train"]),
        (("extra.jsonl", "test.jsonl", "train.jsonl"), [None, "test", "train"]),
        (("train.jsonl", "train_2.jsonl"), [None]),  # all train: splits by hash keep a test split
        (("dev.jsonl", "test.jsonl"), [None]),
        (("train_test.jsonl", "train.jsonl"), [None]),
        (("trains.jsonl", "attest.jsonl"), [None]),
    ],
)
def test_file_names_tell_splits_where_they_tell_several(
    tmp_path: Path, names: tuple[str, ...], expected: list[Split | None]
) -> None:
    for number, name in enumerate(names):
        write(tmp_path / "set" / name, range(number, number + 1))
    assert splits(Source(place=str(tmp_path / "set")).chunks()) == expected


def test_a_split_picks_the_files_called_after_it(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", range(3))
    write(tmp_path / "valid.jsonl", range(3, 6))
    assert numbers(Source(place=str(tmp_path), split="validation").chunks()) == [3, 4, 5]
    with pytest.raises(ValueError, match=r"called after split 'test'; their names tell: dev, train"):
        Source(place=str(tmp_path), split="test").chunks()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.jsonl", "holds no row"),
        ("notes.txt", r"notes\.txt does not end in \.jsonl, \.parquet, \.arrow"),
        ("folder", r"no file in .*folder ends in \.jsonl"),
        ("corpus", "is a corpus already"),
        ("missing.jsonl", "there is nothing at"),
        ("no/such/place", "there is nothing at"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.json").write_text("{}")
    with pytest.raises(ValueError, match=words) as caught:
        Source(place=str(tmp_path / name)).chunks()
    assert "\n" not in str(caught.value)


def test_first_rows_pass_over_losses(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('broken\n{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    assert first_rows(Source(place=str(path)).chunks(), 2) == [{"n": 1}, {"n": 2}]
    path.write_text("broken\nbroken\n")
    with pytest.raises(ValueError, match=r"no row of .*r\.jsonl can be read; the first: .*line 1: not JSON"):
        first_rows(Source(place=str(path)).chunks(), 2)


def test_a_hub_that_is_out_of_reach_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"hub dataset 'no-one/nothing': .*go online") as caught:
        Source(place="no-one/nothing").chunks()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit_rows", [None, 7])
def test_a_hub_dataset_is_streamed_shard_by_shard(monkeypatch: pytest.MonkeyPatch, limit_rows: int | None) -> None:
    def rows(shards: list[int]) -> Iterator[dict[str, int]]:
        for shard in shards:
            yield from ({"n": 5 * shard + number} for number in range(5))

    asked: list[object] = []

    def load(name: str, subset: str | None, *, split: str, streaming: bool) -> datasets.IterableDataset:
        asked.append((name, subset, split, streaming))
        return datasets.IterableDataset.from_generator(rows, gen_kwargs={"shards": [0, 1, 2]})

    monkeypatch.setattr("curricula.stream.hub.load_dataset", load)
    chunks = Source(place="organisation/name", subset="all", limit_rows=limit_rows).chunks()
    assert numbers(chunks) == list(range(limit_rows or 15))
    assert len(chunks) == (3 if limit_rows is None else 1)
    assert set(asked) == {("organisation/name", "all", "train", True)}
    assert known_rows(chunks) == limit_rows


@pytest.mark.parametrize("error", [OSError("a gated dataset"), DatasetNotFoundError("no\nsuch")])
def test_what_the_hub_says_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(name: str, subset: str | None, *, split: str, streaming: bool) -> datasets.IterableDataset:
        raise error

    monkeypatch.setattr("curricula.stream.hub.load_dataset", load)
    with pytest.raises(
        ValueError, match=r"hub dataset 'organisation/name': (a gated dataset; log in|no such)"
    ) as caught:
        Source(place="organisation/name").chunks()
    assert "\n" not in str(caught.value)
