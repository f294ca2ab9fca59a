"""Reading JSONL and Parquet: what is written comes back, and every fault is named with file, row and field."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curricula.reader import read_jsonl, read_parquet, target_text
from curricula.types import Cost, Example, Supervision, Target

GOOD = {"task": "add", "prompt": "3+4=?", "answer": "7", "targets": {"answer": "7"}}
FULL = {
    "id": "q1",
    "task": "fruit",
    "domain": "transfer",
    "kind": "choice",
    "split": "dev",
    "prompt": "Which is a fruit?",
    "answer": "A",
    "choices": ["apple", "chair"],
    "targets": {
        "answer": "A",
        "compressed:steps@0.30#gpt": {"text": "apple grows", "verified": False, "teach_flops": 12, "compress_flops": 3},
    },
}
FULL_EXAMPLE = Example(
    id="q1",
    task="fruit",
    domain="transfer",
    kind="choice",
    split="dev",
    prompt="Which is a fruit?",
    answer="A",
    choices=("apple", "chair"),
    targets=(
        Target(supervision="answer", text="A"),
        Target(
            supervision="compressed:steps@0.3#gpt",
            text="<think>apple grows</think>A",
            verdict="unchecked",
            teach=Cost(flops=12),
            compress=Cost(flops=3),
        ),
    ),
)


def write(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines))
    return path


def changed(**fields: object) -> str:
    return json.dumps({**GOOD, **fields})


def test_every_field_is_read(tmp_path: Path) -> None:
    assert list(read_jsonl(write(tmp_path / "c.jsonl", json.dumps(FULL)))) == [FULL_EXAMPLE]


def test_optional_fields_may_be_left_out_or_null(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", json.dumps(GOOD), changed(id=None, domain=None, kind=None, choices=None))
    plain = Example(task="add", prompt="3+4=?", answer="7", targets=(Target(supervision="answer", text="7"),))
    assert list(read_jsonl(path)) == [plain, plain]


def test_choices_imply_the_kind(tmp_path: Path) -> None:
    row = {name: value for name, value in FULL.items() if name != "kind"}
    assert list(read_jsonl(write(tmp_path / "c.jsonl", json.dumps(row)))) == [FULL_EXAMPLE]


def test_byte_order_mark_blank_lines_and_windows_line_ends_are_tolerated(tmp_path: Path) -> None:
    line = json.dumps(GOOD)
    path = write(tmp_path / "c.jsonl", b"\xef\xbb\xbf" + line.encode() + b"\r", "", "  \t", line + "\r")
    assert len(list(read_jsonl(path))) == 2


def test_line_separators_inside_a_text_do_not_end_the_line(tmp_path: Path) -> None:
    line = json.dumps({**GOOD, "prompt": "3+4\u2028=\u0085?"}, ensure_ascii=False)
    assert [example.prompt for example in read_jsonl(write(tmp_path / "c.jsonl", line))] == ["3+4\u2028=\u0085?"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"task": "add"', ["not one whole JSON object"]),
        ("[" * 100_000, ["not one whole JSON object"]),
        ("[1]", ["a JSON object", "a list"]),
        ('{"task": "a", "task": "b"}', ["'task'", "named twice"]),
        (b'{"task": "\xff"}', ["byte 10 is not UTF-8"]),
        (json.dumps(GOOD) + "\x00", ["NUL byte", "plain UTF-8 text"]),
        (changed(prompt="a\x00b"), ["'prompt'", "U+0000"]),
        (json.dumps(GOOD).replace("3+4", "\\ud800"), ["'prompt'", "U+D800"]),
        (changed(prompt=None), ["'prompt' is missing", "task, prompt, answer, targets"]),
        ('{"task": "add", "prompt": "p", "answer": "7"}', ["'targets' is missing"]),
        (changed(answer=7), ["'answer' must be a text", "a number"]),
        (changed(answer=" "), ["'answer' is empty"]),
        (changed(task=["add"]), ["'task' must be a text", "a list"]),
        (changed(question="3+4=?"), ["unknown field 'question'", "prompt", "experiments.traces import"]),
        (changed(domain="far"), ["'domain'", "in_domain, transfer", "'far'"]),
        (changed(kind="essay"), ["'kind'", "open, choice", "'essay'"]),
        (changed(split="valid"), ["'split'", "train, probe, dev, test", "'valid'"]),
        (changed(choices="apple"), ["'choices' must be a list", "a text"]),
        (changed(choices=["apple", 3]), ["'choices' must be a text", "a number"]),
        (changed(id=3), ["'id' must be a text"]),
        (changed(targets={}), ["'targets' offers nothing", "{'answer': '7'}"]),
        (changed(targets={"answer": None}), ["'targets' offers nothing"]),
        (changed(targets=["7"]), ["'targets' must map supervisions to texts", "a list"]),
        (changed(targets={"chain": "7"}), ["'targets'", "'chain'", "answer, response, short, reasoning"]),
        (changed(targets={"compressed@2": "7"}), ["'compressed@2'", "(0, 1)"]),
        (changed(targets={"answer": 7}), ["'targets.answer' must be a text", "a number"]),
        (changed(targets={"answer": {"verified": True}}), ["'targets.answer' must be a text", "null"]),
        (changed(targets={"answer": {"text": "7", "flops": 1}}), ["'targets.answer'", "'flops'", "teach_flops"]),
        (changed(targets={"answer": {"text": "7", "verified": 1}}), ["'targets.answer.verified'", "true or false"]),
        (changed(targets={"answer": {"text": "7", "teach_flops": -1}}), ["'targets.answer.teach_flops'", "-1"]),
        (changed(targets={"answer": {"text": "7", "teach_flops": 1.5}}), ["'targets.answer.teach_flops'", "1.5"]),
        (changed(targets={"answer": {"text": "7", "teach_flops": True}}), ["'targets.answer.teach_flops'", "True"]),
        (changed(targets={"answer": {"text": "7", "compress_flops": 2**63}}), ["'targets.answer.compress_flops'"]),
    ],
)
def test_every_fault_names_file_line_and_field(tmp_path: Path, line: str | bytes, words: list[str]) -> None:
    path = write(tmp_path / "corpus.jsonl", json.dumps(GOOD), "", line)
    with pytest.raises(ValueError) as caught:
        list(read_jsonl(path))
    message = str(caught.value)
    assert message.startswith(f"{path}, line 3: ")
    for part in words:
        assert part in message
    assert "\n" not in message


def test_a_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(GOOD), encoding="utf-16")
    with pytest.raises(ValueError, match=r"line 1: .*plain UTF-8 text"):
        list(read_jsonl(path))


@pytest.mark.parametrize("targets_type", ["struct", "map", "text struct"])
def test_parquet_reads_as_jsonl_does(tmp_path: Path, targets_type: str) -> None:
    details = pa.struct(
        [("text", pa.string()), ("verified", pa.bool_()), ("teach_flops", pa.int64()), ("compress_flops", pa.int64())]
    )
    rows = [dict(GOOD), dict(GOOD, targets={"short": "3+4=7"})]
    if targets_type == "map":
        kind = pa.map_(pa.string(), pa.string())
        columns = [list(row["targets"].items()) for row in rows]
    elif targets_type == "struct":
        kind = pa.struct([("answer", details), ("short", details)])
        columns = [{name: {"text": text} for name, text in row["targets"].items()} for row in rows]
    else:
        kind = pa.struct([("answer", pa.string()), ("short", pa.string())])
        columns = [row["targets"] for row in rows]
    table = pa.table({name: [row[name] for row in rows] for name in ("task", "prompt", "answer")})
    table = table.append_column("targets", pa.array(columns, kind))
    pq.write_table(table, tmp_path / "c.parquet")
    lines = write(tmp_path / "c.jsonl", *(json.dumps(row) for row in rows))
    assert list(read_parquet(tmp_path / "c.parquet")) == list(read_jsonl(lines))


def test_a_fault_in_parquet_names_the_row_across_batches(tmp_path: Path) -> None:
    rows = [GOOD] * 2500 + [dict(GOOD, answer=" ")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match=r"c\.parquet, row 2501: field 'answer' is empty"):
        list(read_parquet(tmp_path / "c.parquet"))


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.parquet", json.dumps(GOOD))
    with pytest.raises(ValueError, match="not readable as Parquet"):
        list(read_parquet(path))


@pytest.mark.parametrize(
    ("supervision", "text", "written"),
    [
        ("answer", " 7\n", "7"),
        ("short", "3+4=7", "3+4=7"),
        ("reasoning", "3+4=7, so 7", "<think>3+4=7, so 7</think>7"),
        ("reasoning", "<think>3+4=7</think>\n7", "<think>3+4=7</think>\n7"),
        ("reasoning", "3+4=7</think>7", "3+4=7</think>7"),
        ("reasoning", "<think>3+4=", "<think>3+4="),
        ("compressed:steps", "3+4", "<think>3+4</think>7"),
        ("truncated@0.5", "3+", "<think>3+</think>7"),
        ("reasoning", "", ""),
        ("compressed", " ", ""),
    ],
)
def test_bare_traces_are_put_in_a_think_block(supervision: str, text: str, written: str) -> None:
    assert target_text(Supervision.parse(supervision), text, "7") == written


@pytest.mark.parametrize(("distance_chars", "wrapped"), [(100, True), (190, True), (201, False), (1000, False)])
def test_a_bare_reasoning_trace_that_was_cut_before_its_answer_stays_bare(distance_chars: int, wrapped: bool) -> None:
    trace = "so 7 " + "x" * (distance_chars - 1)
    assert target_text(Supervision.parse("reasoning"), trace, "7").startswith("<think>") is wrapped
    assert target_text(Supervision.parse("compressed"), trace, "7").startswith("<think>")
