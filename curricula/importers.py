"""Reads published datasets as examples.

GSM8K (grade-school mathematics word problems): two files, `train.jsonl` and `test.jsonl`, whose rows have a `question`
and an `answer`: a worked solution in which calculations are marked as <<48/2=24>>, then a line "#### 24".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from curricula.reader import json_rows
from curricula.rendering import think
from curricula.types import Example, Split, Target

GSM8K_FILES: tuple[tuple[str, Split], ...] = (("train.jsonl", "train"), ("test.jsonl", "test"))

_MARK = re.compile(r"<<([^<>]*)>>")
_NUMBER = re.compile(r"-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?")


def read_gsm8k(directory: Path) -> Iterator[Example]:
    """The examples of a GSM8K folder, in the order of its files.

    Targets of each: `answer` (the number, without thousands commas), `short` (the worked solution without the marks,
    ending in "#### number") and, where calculations are marked, `compressed:equations` (these alone, one per line, in
    a think block, then the number). The split is that of the file; `Corpus.build` carves probe and dev from train.

    Raises:
        ValueError: a file is missing, or a row is not of that form; the message names file, line and field.
    """
    for file_name, split in GSM8K_FILES:
        path = directory / file_name
        if not path.is_file():
            raise ValueError(f"{path} is missing; a GSM8K folder holds {' and '.join(name for name, _ in GSM8K_FILES)}")
        for where, row in json_rows(path):
            yield _example(row, split, where)


def _example(row: Mapping[str, object], split: Split, where: str) -> Example:
    question, worked = _field(row, "question", where), _field(row, "answer", where)
    solution, separator, number = worked.rpartition("####")
    number = number.strip()
    if not separator or _NUMBER.fullmatch(number) is None:
        raise ValueError(f"{where}: field 'answer' must end in '#### number', got {worked[-60:]!r}")
    answer = number.replace(",", "")
    steps = _MARK.sub("", solution).strip()
    targets = [
        Target(supervision="answer", text=answer),
        Target(supervision="short", text=f"{steps}\n#### {answer}".lstrip()),
    ]
    equations = [equation.strip() for equation in _MARK.findall(solution) if equation.strip()]
    if equations:
        targets.append(Target(supervision="compressed:equations", text=think("\n".join(equations), answer)))
    return Example(task="gsm8k", prompt=question, answer=answer, targets=tuple(targets), split=split)


def _field(row: Mapping[str, object], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: field {field!r} must hold a text; a row has 'question' and 'answer'")
    return value
