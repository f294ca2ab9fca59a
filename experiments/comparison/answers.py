"""Right and wrong answers of two policies to the same questions, seed by seed, from the run folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curricula.types import Bools
from experiments.comparison.record import read_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedAnswers:
    """Two policies on R seeds and Q questions, aligned.

    Example:
        PairedAnswers(seeds_R=(0, 1), ids_Q=("a1", "b2", "c3"), first_RQ=..., second_RQ=...)
    """

    seeds_R: tuple[int, ...]  # that both policies finished, ascending
    ids_Q: tuple[str, ...]  # of the questions that were graded in every run, in the order of the split
    first_RQ: Bools  # whether the first policy's student answered rightly
    second_RQ: Bools


def paired_answers(
    folder: Path, first: str, second: str, *, corpus: str, student: str, total_flops: int, split: str
) -> PairedAnswers:
    """What two policies of a comparison answered under one budget, by the labels of compare.json.

    Args:
        folder: of the comparison.
        split: "dev" or "test".

    Raises:
        ValueError: no seed was finished by both, the split was not answered, the questions are not the same, or none
            was graded in every run.
    """
    found: dict[str, dict[int, dict[str, bool | None]]] = {first: {}, second: {}}
    for row in read_rows(folder):
        where = (row["corpus"], row["student"], row["total_flops"])
        if where == (corpus, student, total_flops) and row["policy"] in found and "error" not in row:
            path = folder / str(row["folder"]) / f"{split}.jsonl"
            found[str(row["policy"])][int(str(row["seed"]))] = _correct_by_id(path)
    seeds = tuple(sorted(found[first].keys() & found[second].keys()))
    if not seeds:
        raise ValueError(
            f"{folder}: no seed of {corpus}, {student}, {total_flops:g} FLOPs was finished by both {first} and {second}"
        )
    ids = tuple(found[first][seeds[0]])
    for policy, answers in found.items():
        for seed in seeds:
            if answers[seed].keys() != set(ids):
                raise ValueError(f"{folder}: {policy}, seed {seed}, was asked other questions of {split}")
    runs = [answers[seed] for answers in found.values() for seed in seeds]
    ids = tuple(name for name in ids if all(run[name] is not None for run in runs))
    if not ids:
        raise ValueError(f"{folder}: no question of {split} was graded in every run of {first} and {second}")
    first_RQ, second_RQ = (
        np.array([[found[policy][seed][name] for name in ids] for seed in seeds], dtype=bool)
        for policy in (first, second)
    )
    return PairedAnswers(seeds_R=seeds, ids_Q=ids, first_RQ=first_RQ, second_RQ=second_RQ)


def _correct_by_id(path: Path) -> dict[str, bool | None]:
    """Whether each answer was right, None where ungraded, by the id of its question, in the order of the file.

    Raises:
        ValueError: there is no such file, or a question stands in it twice.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: the split was not answered, or the folder was cut down")
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    correct = {str(row["id"]): None if row["correct"] is None else bool(row["correct"]) for row in rows}
    if len(correct) != len(rows):
        raise ValueError(f"{path}: a question stands in it twice")
    return correct
