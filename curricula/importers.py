"""Reads published datasets as examples, where they come as a folder of files.

GSM8K (grade-school mathematics word problems): two files, `train.jsonl` and `test.jsonl`, whose rows
`curricula.layouts.gsm8k` understands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from curricula.layouts.gsm8k import GSM8K
from curricula.reader import json_rows
from curricula.stream.intake import UnusableError
from curricula.types import Example, Split

GSM8K_FILES: tuple[tuple[str, Split], ...] = (("train.jsonl", "train"), ("test.jsonl", "test"))


def read_gsm8k(directory: Path) -> Iterator[Example]:
    """The examples of a GSM8K folder, in the order of its files, with the targets that its layout makes.

    The split is that of the file; `Corpus.build` carves probe and dev from train.

    Raises:
        ValueError: a file is missing, or a row is not of that form; the message names file, line and field.
    """
    layout = GSM8K()
    for file_name, split in GSM8K_FILES:
        path = directory / file_name
        if not path.is_file():
            raise ValueError(f"{path} is missing; a GSM8K folder holds {' and '.join(name for name, _ in GSM8K_FILES)}")
        for where, row in json_rows(path):
            for field in layout.columns:
                _check_text(row, field, where)
            try:
                yield replace(layout.example(row, where), split=split)
            except UnusableError as error:
                raise ValueError(f"{where}: field 'answer' must end in '#### number': {error}") from error


def _check_text(row: Mapping[str, object], field: str, where: str) -> None:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: field {field!r} must hold a text; a row has 'question' and 'answer'")
