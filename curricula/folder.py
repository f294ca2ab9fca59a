"""A corpus as a folder: its files, and how one is written aside and then put in place in one step.

examples.parquet   targets.parquet   corpus.json (name, losses by reason, fingerprint)   dropped.jsonl (optional)
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONTENT_FILES = ("examples.parquet", "targets.parquet", "corpus.json")
DROPPED_FILE = "dropped.jsonl"
"""Every loss, one JSON object a line: where, reason and shown; only in a folder that was built from a stream."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What corpus.json says.

    Example:
        About(name="gsm8k", dropped={"duplicate example": 3}, fingerprint="a1...")
    """

    name: str
    dropped: dict[str, int]  # what was left out: reason -> count
    fingerprint: str


@contextmanager
def fresh_folder(directory: Path) -> Iterator[Path]:
    """A folder to write a corpus into, which takes the place of `directory` at the end; nothing is left after an error.

    A corpus that is there already is replaced.

    Raises:
        ValueError: the folder exists and holds something else.
    """
    directory = directory.resolve()
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else set[str]()
    if (directory.exists() and not directory.is_dir()) or not found <= {*CONTENT_FILES, DROPPED_FILE}:
        raise ValueError(f"{directory} exists and is not a corpus; choose a folder that does not exist yet")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as aside:
        fresh = Path(aside, "fresh")
        fresh.mkdir()
        yield fresh
        if directory.exists():  # a folder that is not empty cannot be replaced in one step
            os.replace(directory, Path(aside, "previous"))
        os.replace(fresh, directory)


def write_about(folder: Path, *, name: str, dropped: Mapping[str, int], fingerprint: str) -> None:
    """Write corpus.json; reasons stand in alphabetical order."""
    about = {"name": name, "dropped": dict(sorted(dropped.items())), "fingerprint": fingerprint}
    (folder / "corpus.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_about(directory: Path) -> About:
    """Read corpus.json, and see that the other files are there.

    Raises:
        ValueError: a file is missing, or corpus.json is of another form.
    """
    if not directory.is_dir():
        what = "is a file, not a corpus folder" if directory.exists() else "is not there"
        raise ValueError(f"{directory} {what}; a corpus is a folder of {', '.join(CONTENT_FILES)}, as import makes it")
    for file_name in CONTENT_FILES:
        if not (directory / file_name).is_file():
            raise ValueError(f"{directory / file_name} is missing; a corpus holds {', '.join(CONTENT_FILES)}")
    try:
        about: object = json.loads((directory / "corpus.json").read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{directory} is not a corpus as saved by this version: {error}") from error
    match about:
        case {"name": str(name), "dropped": dict(dropped), "fingerprint": str(fingerprint)}:
            return About(name=name, dropped=dropped, fingerprint=fingerprint)
        case _:
            raise ValueError(f"{directory / 'corpus.json'} must hold name, dropped and fingerprint")


def refuse_changed(directory: Path, *, found: str, saved: str) -> None:
    """Refuse contents that are not those that were saved, by their fingerprints.

    Raises:
        ValueError: the two differ.
    """
    if found != saved:
        raise ValueError(
            f"{directory}: the contents have fingerprint {found[:12]}, but {saved[:12]} was saved; the files were "
            "changed since: build the corpus again"
        )
