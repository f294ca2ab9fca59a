"""What a corpus is made of: counts, lengths, ratios, verdicts, costs, prompts that stand twice, and what leaks.

python -m experiments.traces describe corpora/gsm8k
python -m experiments.traces describe corpora/gsm8k --student path/to/model --max_tokens 2048
python -m experiments.traces describe procedural --tokenizer path/to/tokenizer

Prints tables and warnings, and writes description.json, description.png and description.svg. The corpus is only read.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from controller.config import PROCEDURAL, Json
from controller.resolve import LONGEST_ROW_TOKENS
from controller.session import named_corpus
from controller.traces.counting import RemoteCounter, open_remote_counter
from curricula.description.describing import TokenCounts, describe
from curricula.description.description import Description
from curricula.description.overlap import READ_COLUMNS, measure_overlap
from curricula.folder import CONTENT_FILES
from curricula.rendering import prompt_text
from curricula.stream.scan import Scan, scan_corpus, scan_folder
from evaluators.accuracy import wilson
from experiments.command_line import TINY_STUDENTS, nearest
from experiments.corpora.picture import draw
from experiments.corpora.tables import tables, warnings

SOURCE = f"a corpus folder, a .jsonl or .parquet file, a GSM8K folder, {' or '.join(PROCEDURAL)}"
FORMAT = 1
"""Of description.json."""
_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    source: str
    student: str = "tiny"  # whose tokens are counted and whose longest row is held against the targets
    tokenizer: str | None = None  # a folder or hub id with a tokenizer, in place of the student's
    max_tokens: int | None = (
        None  # longest row trained on, in tokens; the student's positions, at most 1024, where none
    )
    run_words: int = 13  # words in a row, shared with a training prompt, that count as leakage
    output_dir: Path | None = None  # for the JSON and the pictures; NAME-description beside the corpus where none
    json: Path | None = None  # where the JSON goes; description.json in output_dir where none

    def __post_init__(self) -> None:
        for name, value in (("max_tokens", self.max_tokens), ("run_words", self.run_words)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


def run(options: Options, console: Console) -> None:
    """Describe a corpus.

    Raises:
        ValueError: there is no such corpus or tokenizer, or the folder for the output is a corpus.
        OSError: the output cannot be written.
        WorkerLostError: the process that counts tokens died.
    """
    _check_tokenizer(options)
    folder = _output_dir(options)
    scan = _open(options.source)
    terminal = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    ) as progress:
        description = _describe(scan, options, progress)
    for table in tables(description):
        console.print(table)
    for line in warnings(description):
        console.print(Text.assemble(("note ", "yellow"), line))
    json_file = options.json or folder / "description.json"
    for needed in {folder, json_file.parent}:
        needed.mkdir(parents=True, exist_ok=True)
    _write_aside(json_file, json.dumps(to_json(description), indent=2, ensure_ascii=False) + "\n")
    pictures = draw(description, folder)
    console.print(Text(f"written: {', '.join(str(path) for path in (json_file, *pictures))}"), soft_wrap=True)


def to_json(description: Description) -> dict[str, Json]:
    """The content of description.json: the fields of Description, and what follows from them."""
    data: dict[str, Json] = {"format": FORMAT, **dataclasses.asdict(description)}
    data["right_of_checked"] = {
        part.supervision: {
            "n": part.checked,
            "share": part.found_right / part.checked,
            "ci95": list(wilson(part.found_right, part.checked)),
        }
        for part in description.offered
        if part.checked
    }
    return data


def _open(source: str) -> Scan:
    """A corpus: a folder is read in batches, all else is built in memory."""
    if source not in PROCEDURAL and (Path(source) / CONTENT_FILES[-1]).is_file():
        return scan_folder(Path(source))
    return scan_corpus(named_corpus(source, strict=False))


def _describe(scan: Scan, options: Options, progress: Progress) -> Description:
    reading = progress.add_task("comparing prompts", total=None)

    def read() -> Iterator[pa.RecordBatch]:
        progress.reset(reading, total=scan.example_rows)
        return _watched(scan.examples(READ_COLUMNS), progress, reading)

    overlap = measure_overlap(read, run_words=options.run_words)
    name = options.tokenizer or options.student
    threads = min(_THREADS, os.cpu_count() or 1)
    loading = progress.add_task(f"loading the tokenizer of {escape(name)}", total=None)
    with open_remote_counter(name, threads=threads) as counter:
        progress.remove_task(loading)
        tokens = _count(scan, name, counter, progress)
        longest = None if counter.positions is None else min(counter.positions, LONGEST_ROW_TOKENS)
    if options.max_tokens is not None:
        longest = options.max_tokens
    return describe(scan, overlap=overlap, tokens=tokens, max_tokens=longest)


def _count(scan: Scan, name: str, counter: RemoteCounter, progress: Progress) -> TokenCounts:
    """Tokens of every prompt and target."""
    counting = progress.add_task("counting tokens", total=scan.example_rows + scan.target_rows)
    columns = ("prompt", "kind", "choices")
    prompts = (
        [prompt_text(prompt, kind, choices) for prompt, kind, choices in zip(*texts, strict=True)]
        for texts in (
            [batch.column(column).to_pylist() for column in columns]
            for batch in _watched(scan.examples(columns), progress, counting)
        )
    )
    targets = (batch.column("text").to_pylist() for batch in _watched(scan.targets(["text"]), progress, counting))
    return TokenCounts(
        tokenizer=name,
        prompt_tokens_N=np.concatenate(list(counter.count(prompts, prompts=True))),
        target_tokens_T=np.concatenate(list(counter.count(targets, prompts=False))),
    )


def _watched(batches: Iterable[pa.RecordBatch], progress: Progress, task: TaskID) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        progress.advance(task, batch.num_rows)


def _check_tokenizer(options: Options) -> None:
    """Refuse a name that stands for nothing, before anything is loaded for it."""
    flag, name = ("--student", options.student) if options.tokenizer is None else ("--tokenizer", options.tokenizer)
    if name not in TINY_STUDENTS and "/" not in name and not Path(name).expanduser().exists():
        raise ValueError(
            f"{flag}: there is no {name!r}{nearest(name, TINY_STUDENTS)}; give one of {', '.join(TINY_STUDENTS)}, a "
            "folder with a tokenizer, a hub id such as organisation/model, or a .gguf file"
        )


def _output_dir(options: Options) -> Path:
    """Where the output goes: a corpus folder holds a corpus and nothing else."""
    source = Path(options.source)
    if options.output_dir is None:
        if options.source in PROCEDURAL:
            return Path(f"{options.source}-description")
        source = source.resolve()
        stem = source.name if source.is_dir() else source.stem
        return source.parent / f"{stem}-description"
    if (options.output_dir / CONTENT_FILES[-1]).exists():
        raise ValueError(
            f"--output_dir: {options.output_dir} is a corpus, which holds nothing else; give another folder"
        )
    return options.output_dir


def _write_aside(path: Path, text: str) -> None:
    """Write under another name, then rename: a reader sees the whole file or none."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
