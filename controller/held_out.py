"""Held-out splits: which questions of them a run ends with, and every answer to them, kept and scored."""

from __future__ import annotations

import json
import time

import numpy as np
from numpy.typing import NDArray

from controller.config import Json
from controller.session import Session
from curricula.corpus import Corpus
from curricula.types import Charge, Split
from evaluators.accuracy import score


def evaluation_rows(corpus: Corpus, split: Split, limit: int | None) -> NDArray[np.int64]:
    """Corpus rows of a held-out split: all, or `limit` of them, chosen by their ids alone."""
    row_N = corpus.rows(split).astype(np.int64)
    if limit is None or limit >= len(row_N):
        return row_N
    ids = corpus.examples["id"].take(row_N).to_pylist()
    order = np.random.default_rng(0).permutation(len(ids))  # of ids in sorted order: independent of the file's
    ranked = np.argsort(np.array(ids))[order]
    return np.sort(row_N[ranked[:limit]])


def write_answers(session: Session, split: Split, checkpoint: str) -> tuple[dict[str, Json], Charge, float]:
    """Evaluate a held-out split: its scores, charge and seconds (recorded, never charged). Keeps every answer."""
    row_Q = evaluation_rows(session.corpus, split, session.config.eval_examples)
    began = time.monotonic()
    outputs, answers, charge, seconds = session.students.evaluate(checkpoint, row_Q)
    names = ["id", "task", "kind", "domain", "prompt", "answer"]
    columns = session.corpus.examples.select(names).take(row_Q).to_pylist()
    lines = [
        json.dumps(
            {
                **column,
                "prompt_tokens": int(session.counts.prompt_tokens_N[row_Q[place]]),
                "output": answers.text_Q[place],
                "correct": None if answers.ungraded_Q[place] else bool(answers.correct_Q[place]),
                **({"ungraded": answers.ungraded_Q[place]} if answers.ungraded_Q[place] else {}),
                "output_tokens": int(answers.output_tokens_Q[place]),
                "truncated": bool(answers.truncated_Q[place]),
            },
            ensure_ascii=False,
        )
        for place, column in enumerate(columns)
    ]
    path = session.folder.folder / f"{split}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    session.folder.note(event="evaluated", split=split, seconds=time.monotonic() - began)
    return score(outputs).to_json(), charge, seconds  # pyright: ignore[reportReturnType] plain data
