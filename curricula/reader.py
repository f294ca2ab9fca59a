"""Reads examples from JSONL and Parquet files with the columns of an example; every error names file, row and field.

    {"task": "add", "prompt": "3+4=?", "answer": "7", "targets": {"answer": "7", "reasoning": "3+4=7, so 7"}}

Required are `task`, `prompt`, `answer` and `targets`; `id`, `domain`, `kind`, `split` and `choices` may be left out or
null. `targets` maps the spelling of a supervision to its text, or to an object with `text` and, where known, `verdict`
(or `verified`: true for the verdict "declared", false for "unchecked"), `teach_flops`, `teach_tokens`, `teach_dollars`,
the same of `compress_`, and `token_ratio` and `char_ratio`; a null target is one that is not offered.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curricula.rendering import THINK_CLOSE, THINK_OPEN, holds_answer, think
from curricula.stream.rows import BYTE_ORDER_MARK, BrokenRowError, json_object, kind_of
from curricula.types import (
    ANSWER_KINDS,
    DOMAINS,
    RIGHT_VERDICTS,
    SPLITS,
    VERDICTS,
    AnswerKind,
    Cost,
    Domain,
    Example,
    Split,
    Supervision,
    Target,
    Verdict,
)

REQUIRED = ("task", "prompt", "answer", "targets")
OPTIONAL = ("id", "domain", "kind", "split", "choices")
COUNTS = ("teach_flops", "teach_tokens", "compress_flops", "compress_tokens")
AMOUNTS = ("teach_dollars", "compress_dollars", "token_ratio", "char_ratio")
TARGET_FIELDS = ("text", "verdict", "verified", *COUNTS, *AMOUNTS)
ANSWER_WITHIN_CHARS = 200
"""A bare reasoning trace that does not name its answer within its last so many characters was cut before it."""

_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_COUNT = 2**63
_BATCH_ROWS = 1024


def read_jsonl(path: Path) -> Iterator[Example]:
    """The examples of a JSONL file (UTF-8, one object a line; a byte order mark and blank lines are tolerated).

    Raises:
        ValueError: what `json_rows` and `example_from_row` raise, on reaching the row.
    """
    for where, row in json_rows(path):
        yield example_from_row(row, where)


def read_parquet(path: Path) -> Iterator[Example]:
    """The examples of a Parquet file, `targets` being a column of structs or of maps; rows are counted from 1.

    Raises:
        ValueError: the file is not Parquet, or what `example_from_row` raises, on reaching the row.
    """
    for where, row in _parquet_rows(path):
        yield example_from_row(row, where)


def json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The objects of a JSONL file, each with the words "file, line n" for messages; lines are counted from 1.

    Raises:
        ValueError: a line is not UTF-8, holds a NUL byte, is not JSON, names a field twice, or is not an object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if not line.strip():
                continue
            try:
                yield where, json_object(line)
            except BrokenRowError as error:
                raise ValueError(f"{where}: {error.detail}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The rows of a Parquet file, each with the words "file, row n" for messages."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield f"{path}, row {number}", row
    except (pa.ArrowInvalid, KeyError) as error:
        # KeyError: a map names one supervision twice.
        raise ValueError(f"{path}, after row {number}: not readable as Parquet: {error}") from error


def example_from_row(row: Mapping[str, object], where: str) -> Example:
    """One example from its fields, checked one by one; `where` opens every message.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type, or holds a value that is not allowed.
    """
    for field in row:
        if field not in REQUIRED and field not in OPTIONAL:
            known = ", ".join(REQUIRED + OPTIONAL)
            raise ValueError(
                f"{where}: unknown field {field!r}; the fields are {known}; rows of other layouts are to be imported "
                "first (python -m experiments.traces import)"
            )
    for field in REQUIRED:
        if row.get(field) is None:
            raise ValueError(f"{where}: field {field!r} is missing; a row needs {', '.join(REQUIRED)}")
    answer = _text(row["answer"], where, "answer")
    choices = _choices(row.get("choices"), where)
    identifier = row.get("id")
    return Example(
        task=_text(row["task"], where, "task"),
        prompt=_text(row["prompt"], where, "prompt"),
        answer=answer,
        targets=_targets(row["targets"], answer, where),
        kind=_kind(row.get("kind"), choices, where),
        domain=_domain(row.get("domain"), where),
        choices=choices,
        split=_split(row.get("split"), where),
        id=None if identifier is None else _text(identifier, where, "id"),
    )


def target_text(supervision: Supervision, text: str, answer: str) -> str:
    """What a student is to write, from what a file holds.

    Space around the text is not part of it. A text that holds think tags, and any text of a kind that does not think,
    is used as it is. Without tags, the text of a thinking kind is a bare trace: it is put in a think block and the
    answer follows. One rule guards against traces that a token limit cut off: a bare `reasoning` trace whose last
    200 characters do not name the answer is left without a block, so that `Corpus.build` drops and counts it.

    Example:
        >>> target_text(Supervision(kind="reasoning"), "3+4=7, so 7", "7")
        '<think>3+4=7, so 7</think>7'
    """
    text = text.strip()
    if not text or not supervision.thinks or THINK_OPEN in text or THINK_CLOSE in text:
        return text
    if supervision.kind == "reasoning" and not holds_answer(text[-ANSWER_WITHIN_CHARS:], answer):
        return text
    return think(text, answer)


def _targets(value: object, answer: str, where: str) -> tuple[Target, ...]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: field 'targets' must map supervisions to texts, got {kind_of(value)}")
    found: list[Target] = []
    for spelling, target in value.items():
        if target is None:
            continue
        field = f"targets.{spelling}"
        try:
            supervision = Supervision.parse(spelling)
        except ValueError as error:
            raise ValueError(f"{where}: field 'targets': {error}") from error
        details: Mapping[str, object] = target if isinstance(target, Mapping) else {"text": target}
        for name in details:
            if name not in TARGET_FIELDS:
                raise ValueError(f"{where}: field '{field}': unknown field {name!r}; it has {', '.join(TARGET_FIELDS)}")
        text = details.get("text")
        if not isinstance(text, str):
            raise ValueError(f"{where}: field '{field}' must be a text or an object with one, got {kind_of(text)}")
        count = {name: _count(details.get(name), where, f"{field}.{name}") for name in COUNTS}
        amount = {name: _amount(details.get(name), where, f"{field}.{name}") for name in AMOUNTS}
        found.append(
            Target(
                supervision=str(supervision),
                text=target_text(supervision, _writable(text, where, field), answer),
                verdict=_verdict(details.get("verdict"), details.get("verified"), where, field),
                teach=Cost(
                    flops=count["teach_flops"], tokens=count["teach_tokens"], dollars=amount["teach_dollars"] or 0.0
                ),
                compress=Cost(
                    flops=count["compress_flops"],
                    tokens=count["compress_tokens"],
                    dollars=amount["compress_dollars"] or 0.0,
                ),
                token_ratio=amount["token_ratio"],
                char_ratio=amount["char_ratio"],
            )
        )
    if not found:
        raise ValueError(f"{where}: field 'targets' offers nothing; give at least one, like {{'answer': {answer!r}}}")
    return tuple(found)


def _text(value: object, where: str, field: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: field {field!r} must be a text, got {kind_of(value)}")
    if not value.strip():
        raise ValueError(f"{where}: field {field!r} is empty; it must hold a text")
    return _writable(value, where, field)


def _writable(text: str, where: str, field: str) -> str:
    """The text, refused where it cannot be stored and tokenized."""
    unwritable = _UNWRITABLE.search(text)
    if unwritable is not None:
        code = ord(unwritable.group())
        raise ValueError(f"{where}: field {field!r} holds U+{code:04X}, which is no character; remove it")
    return text


def _choices(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{where}: field 'choices' must be a list of texts, got {kind_of(value)}")
    return tuple(_text(choice, where, "choices") for choice in value)


def _kind(value: object, choices: tuple[str, ...], where: str) -> AnswerKind:
    """The kind given; where none is, that which the choices imply."""
    if value is None:
        return "choice" if choices else "open"
    for kind in ANSWER_KINDS:
        if value == kind:
            return kind
    raise ValueError(f"{where}: field 'kind' must be one of {', '.join(ANSWER_KINDS)}, got {value!r}")


def _domain(value: object, where: str) -> Domain:
    for domain in DOMAINS:
        if value is None or value == domain:
            return domain
    raise ValueError(f"{where}: field 'domain' must be one of {', '.join(DOMAINS)}, got {value!r}")


def _split(value: object, where: str) -> Split | None:
    if value is None:
        return None
    for split in SPLITS:
        if value == split:
            return split
    raise ValueError(f"{where}: field 'split' must be one of {', '.join(SPLITS)}, got {value!r}")


def _verdict(verdict: object, verified: object, where: str, field: str) -> Verdict:
    """The verdict given; where none is, what `verified` says; right by the word of the file where neither is."""
    if verified is not None and not isinstance(verified, bool):
        raise ValueError(f"{where}: field '{field}.verified' must be true or false, got {kind_of(verified)}")
    if verdict is None:
        return "unchecked" if verified is False else "declared"
    for known in VERDICTS:
        if verdict == known and verified in (None, known in RIGHT_VERDICTS):
            return known
    if verdict in VERDICTS:
        raise ValueError(f"{where}: field '{field}': verdict {verdict!r} contradicts verified {verified}; give one")
    raise ValueError(f"{where}: field '{field}.verdict' must be one of {', '.join(VERDICTS)}, got {verdict!r}")


def _count(value: object, where: str, field: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_COUNT:
        raise ValueError(f"{where}: field '{field}' must be a whole number from 0 to 2**63 - 1, got {value!r}")
    return value


def _amount(value: object, where: str, field: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{where}: field '{field}' must be a number of at least 0, got {value!r}")
    return float(value)
