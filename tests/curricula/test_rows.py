"""Raw rows: every chunk is read by itself, every row once, and what cannot be read is one loss at its line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curricula.stream import columnar_rows, rows
from curricula.stream.columnar_rows import arrow_chunks, parquet_chunks
from curricula.stream.intake import Drop
from curricula.stream.rows import Chunk, jsonl_chunks

RECORDS: list[dict[str, object]] = [{"n": number, "text": "\u00e9" * (number % 50)} for number in range(2000)]


def read(chunks: list[Chunk]) -> tuple[list[tuple[str, object]], list[Drop]]:
    """All rows and all losses, each chunk unpickled from nothing but its fields."""
    found = [item for chunk in chunks for item in chunk.read()]
    return [item for item in found if not isinstance(item, Drop)], [item for item in found if isinstance(item, Drop)]


def losses(path: Path, *, max_line_bytes: int = rows.MAX_LINE_BYTES) -> list[tuple[str, str]]:
    lost = read([*jsonl_chunks(path, max_line_bytes=max_line_bytes)])[1]
    return [(drop.where.removeprefix(str(path)), drop.reason) for drop in lost]


LINES = st.lists(
    st.sampled_from([b"", b"  ", b'{"a": 1}', b'{"a": "' + b"x" * 70 + b'"}', b"broken", b"[1]", b"\xff", b"{}\r"]),
    max_size=30,
)


@given(lines=LINES, ended=st.booleans(), block_bytes=st.integers(1, 90), chunk_bytes=st.integers(1, 200))
def test_chunks_hold_every_line_once_and_know_its_number(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool, block_bytes: int, chunk_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "r.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ended and lines else b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BLOCK_BYTES", block_bytes)
        patch.setattr(rows, "CHUNK_BYTES", chunk_bytes)
        chunks: list[Chunk] = [*jsonl_chunks(path)]
        found, lost = read(chunks)
    content = path.read_bytes()
    assert sum(chunk.rows for chunk in chunks) == content.count(b"\n") + (bool(content) and not content.endswith(b"\n"))
    good = (b"{", b"}", b"\r")
    expected = [
        (f"{path}, line {number}", json.loads(line))
        for number, line in enumerate(lines, start=1)
        if line.startswith(good[0]) and line.endswith(good[1:])
    ]
    assert found == expected
    bad = [number for number, line in enumerate(lines, start=1) if line in (b"broken", b"[1]", b"\xff")]
    assert [drop.where for drop in lost] == [f"{path}, line {number}" for number in bad]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "not JSON"),
        (b'{"a": "\xe9"}', "not UTF-8"),
        ('{"a": "x"}'.encode("utf-16-le"), "holds a NUL byte"),
        (b'{"a": "\x00"}', "holds a NUL byte"),
        (b'{"a": 1, "a": 2}', "names a field twice"),
        (b"[1, 2]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": "' + b"x" * 300 + b'"}', "line longer than 256 bytes"),
        (b"x" * 3_000_000, "line longer than 256 bytes"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_loss_and_the_next_is_read(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "r.jsonl"
    limit = 256 if "longer" in reason else rows.MAX_LINE_BYTES
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 3}\n')
    found, lost = read([*jsonl_chunks(path, max_line_bytes=limit)])
    assert [row for _, row in found] == [{"n": 1}, {"n": 3}]
    assert [(drop.where, drop.reason) for drop in lost] == [(f"{path}, line 2", reason)]
    assert len(lost[0].shown) <= 80


def test_a_file_cut_within_a_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\n{"n": 2, "te')
    assert losses(path) == [(", line 2", "cut before its end")]
    path.write_bytes(b'{"n": 1}\n{"n": 2}')
    assert losses(path) == []


def test_a_line_as_long_as_allowed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    line = b'{"n": "' + b"x" * 100 + b'"}'
    path.write_bytes(line + b"\n" + line)
    assert losses(path, max_line_bytes=len(line) + 1) == []
    assert losses(path, max_line_bytes=len(line)) == [(", line 1", f"line longer than {len(line)} bytes")]


@pytest.mark.parametrize("batch_rows", [1, 300, 1024, 5000])
@pytest.mark.parametrize("chunk_rows", [7, 700, 16_384])
def test_parquet_and_arrow_give_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int, chunk_rows: int
) -> None:
    if batch_rows == 1 and chunk_rows == 7:
        monkeypatch.setattr(columnar_rows, "_BATCH_ROWS", 3)
    monkeypatch.setattr(columnar_rows, "CHUNK_ROWS", chunk_rows)
    table = pa.Table.from_pylist(RECORDS[: 120 if batch_rows == 1 else None])
    pq.write_table(table, tmp_path / "r.parquet", row_group_size=batch_rows)
    with pa.ipc.new_stream(str(tmp_path / "stream.arrow"), table.schema) as stream:
        stream.write_table(table, max_chunksize=batch_rows)
    with pa.ipc.new_file(str(tmp_path / "file.arrow"), table.schema) as file:
        file.write_table(table, max_chunksize=batch_rows)
    for name, cut in (("r.parquet", parquet_chunks), ("stream.arrow", arrow_chunks), ("file.arrow", arrow_chunks)):
        path = tmp_path / name
        chunks: list[Chunk] = [*cut(path)]
        expected = [(f"{path}, row {number}", row) for number, row in enumerate(table.to_pylist(), start=1)]
        assert read(chunks) == (expected, [])
        assert sum(chunk.rows for chunk in chunks) == len(expected)
        assert all(chunk.rows <= chunk_rows for chunk in chunks)
        later = chunks[len(chunks) // 2]
        assert read([later])[0] == expected[later.first - 1 : later.first - 1 + later.rows]


def test_texts_that_are_none_cost_only_their_row(tmp_path: Path) -> None:
    raw = pa.array([b"one", b"\xff\xfe", b"three"], pa.binary())
    text = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    with pa.ipc.new_file(str(tmp_path / "r.arrow"), pa.schema([("t", pa.string())])) as file:
        file.write_table(pa.table({"t": text}))
    found, lost = read([*arrow_chunks(tmp_path / "r.arrow")])
    assert [row for _, row in found] == [{"t": "one"}, {"t": "three"}]
    assert [(drop.where, drop.reason) for drop in lost] == [(f"{tmp_path / 'r.arrow'}, row 2", "not UTF-8")]


@pytest.mark.parametrize("kept_bytes", [0, 3, 500, -9])
def test_a_broken_file_of_columns_is_one_line(tmp_path: Path, kept_bytes: int) -> None:
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "r.parquet")
    (tmp_path / "r.parquet").write_bytes((tmp_path / "r.parquet").read_bytes()[:kept_bytes])
    with pytest.raises(ValueError, match=r"r\.parquet: not readable as Parquet") as caught:
        list(parquet_chunks(tmp_path / "r.parquet"))
    assert "\n" not in str(caught.value)
    (tmp_path / "r.arrow").write_bytes(b"ARROW1" + bytes(max(kept_bytes, 0)))
    with pytest.raises(ValueError, match=r"r\.arrow: not readable as Arrow"):
        list(arrow_chunks(tmp_path / "r.arrow"))


def test_a_row_group_that_does_not_decode_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.Table.from_pylist(RECORDS), path)
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.parquet, row group 1: not readable as Parquet"):
        read([*parquet_chunks(path)])
