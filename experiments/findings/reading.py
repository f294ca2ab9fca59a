"""Run folders and comparisons, read whole or not at all: what cannot be used is named, with one line that says why."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import yaml

from controller.record import IDENTITY, STAGES, RunRecord, read_run
from experiments.comparison.grid import policy_label, read_policy
from experiments.comparison.record import COMPARISON, RUNS, read_rows
from experiments.findings.findings import Answer, FinishedRun, LeftOut, RunsRead
from experiments.summary import read_summary

_UNREADABLE = (
    *(ValueError, LookupError, TypeError, AttributeError, OverflowError, AssertionError, OSError, EOFError),
    *(yaml.YAMLError, zipfile.BadZipFile, zlib.error),
)
"""What reading a folder that was cut, edited or is none raises."""


def read_runs(folders: Sequence[Path]) -> RunsRead:
    """Read run folders, and the runs of comparison folders, as they stand; nothing is written.

    The split that counts is test where it was opened, else dev. A folder named twice is read once.

    Raises:
        ValueError: nothing that was named holds a run; the first reason is given.
    """
    runs: list[FinishedRun] = []
    left_out: list[LeftOut] = []
    unfinished: list[Path] = []
    seen: set[Path] = set()
    for folder, failure in _run_folders(folders):
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        if failure is not None:
            left_out.append(LeftOut(folder=folder, reason=failure))
            continue
        try:
            record = read_run(folder)
            if record.summary is None:
                unfinished.append(folder)
            else:
                runs.append(_finished(folder, record, record.summary))
        except _UNREADABLE as error:
            left_out.append(LeftOut(folder=folder, reason=_reason(error)))
    if not runs and not unfinished:
        more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
        why = f"{left_out[0].folder}: {left_out[0].reason}{more}" if left_out else "no folder was named"
        raise ValueError(f"nothing to report: {why}")
    return RunsRead(runs=tuple(runs), left_out=tuple(left_out), unfinished=tuple(unfinished))


def _run_folders(folders: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """Every run folder below the folders that were named; with the reason where it is known to hold no result."""
    for folder in folders:
        if not folder.is_dir():
            yield folder, "there is no such folder"
        elif (folder / IDENTITY).exists() or not ((folder / COMPARISON).exists() or (folder / RUNS).is_dir()):
            yield folder, None
        else:
            failed: dict[Path, str] = {}
            if (folder / COMPARISON).exists():
                try:
                    rows = read_rows(folder)
                    failed = {folder / str(row["folder"]): str(row["error"]) for row in rows if "error" in row}
                except _UNREADABLE as error:
                    yield folder / COMPARISON, _reason(error)
            there = sorted(path for path in (folder / RUNS).glob("*") if path.is_dir())
            for path in dict.fromkeys([*there, *failed]):
                yield path, failed.get(path)


def _finished(folder: Path, record: RunRecord, data: Mapping[str, object]) -> FinishedRun:
    summary = read_summary(data)
    if summary.final is None:
        raise ValueError("its summary.json has no scores")
    split, scores = summary.final
    answers = _read_answers(folder / f"{split}.jsonl")
    stages = data.get("stages", len(record.results))  # early summaries do not tell
    if stages != len(record.results):
        raise ValueError(
            f"{STAGES} has {len(record.results)} whole stages of {stages}: it was cut, or is another run's"
        )
    expected = scores.overall.n + scores.overall.ungraded
    if len(answers) != expected:
        raise ValueError(f"{split}.jsonl has {len(answers)} whole lines of {expected}: it was cut, or is another run's")
    if not any(answer.graded for answer in answers):
        raise ValueError(f"none of the {expected} answers in {split}.jsonl was graded")
    if not isinstance(record.identity.get("config"), dict) or "corpus_fingerprint" not in record.identity:
        raise ValueError(f"{IDENTITY} does not say what was run: config or corpus_fingerprint is missing")
    amounts = {"total_flops": summary.total_flops, "spent_flops": summary.spent_flops, **summary.charges}
    if wrong := [name for name, flops in amounts.items() if not (math.isfinite(flops) and flops >= 0)]:
        raise ValueError(f"{wrong[0]} in summary.json must be a number of 0 or more, got {amounts[wrong[0]]}")
    if not (summary.total_flops > 0 and math.isfinite(summary.total) and summary.total > 0):
        raise ValueError(f"a budget must be above 0, got {summary.total_flops:g} FLOPs in summary.json")
    return FinishedRun(
        folder=folder,
        policy=_label(json.dumps(data["policy"], sort_keys=True)),
        student=str(data["student"]),
        corpus=str(data["corpus"]),
        seed=int(str(data["seed"])),
        record=record,
        summary=summary,
        answers_Q=tuple(sorted(answers, key=lambda answer: answer.id)),
    )


@lru_cache(maxsize=1024)
def _label(spec: str) -> str:
    """A policy's label from its class path and fields; all fields where it cannot be made here (any more)."""
    read = json.loads(spec)
    try:
        return policy_label(read_policy(read))
    except ValueError:
        fields = ", ".join(f"{name}={json.dumps(value)}" for name, value in (read.get("init_args") or {}).items())
        return f"{read['class_path']}({fields})"


def _read_answers(path: Path) -> list[Answer]:
    """The whole lines of a file of answers.

    Raises:
        ValueError: there is no such file, a line is none of an answer's, or a question stands in it twice.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is missing: the folder was cut down")
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last line's end was cut off
    answers = []
    for number, line in enumerate(lines, start=1):
        try:
            answers.append(_answer(json.loads(line)))
        except _UNREADABLE as error:
            raise ValueError(f"{path.name}, line {number}: {_reason(error)}") from None
    if len({answer.id for answer in answers}) < len(answers):
        raise ValueError(f"{path.name}: a question stands in it twice")
    return answers


def _answer(row: Mapping[str, object]) -> Answer:
    correct, tokens, prompt_tokens = row["correct"], row["output_tokens"], row.get("prompt_tokens")
    if correct is not None and not isinstance(correct, bool):
        raise ValueError(f"correct must be true, false or null, got {correct!r}")
    if not isinstance(tokens, int) or tokens < 1:
        raise ValueError(f"output_tokens must be a whole number of 1 or more, got {tokens!r}")
    if prompt_tokens is not None and (not isinstance(prompt_tokens, int) or prompt_tokens < 1):
        raise ValueError(f"prompt_tokens must be a whole number of 1 or more, got {prompt_tokens!r}")
    return Answer(
        id=str(row["id"]),
        task=str(row["task"]),
        kind=str(row.get("kind") or ""),
        domain=str(row.get("domain") or ""),
        band=str(row.get("band") or ""),
        prompt=str(row["prompt"]),
        prompt_tokens=prompt_tokens,
        answer=str(row["answer"]),
        output=str(row["output"]),
        correct=correct is True,
        graded=correct is not None,
        output_tokens=tokens,
        truncated=bool(row["truncated"]),
    )


def _reason(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, KeyError):
        return f"cannot be read: the field {error} is missing"
    told = " ".join(str(error).split()) or type(error).__name__
    plain = isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
    return told if plain else f"cannot be read: {told}"
