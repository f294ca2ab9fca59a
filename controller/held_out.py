"""Held-out splits: which questions of them a run ends with, and every answer to them, kept and scored."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.config import Json
from controller.measures import ChosenByLikelihood, choose_by_likelihood
from controller.session import Session
from curricula.corpus import Corpus
from curricula.types import Charge, Split
from evaluators.accuracy import Scores, score
from evaluators.likelihood import ChoiceLikelihood


def evaluation_rows(corpus: Corpus, split: Split, limit: int | None) -> NDArray[np.int64]:
    """Corpus rows of a held-out split: all, or `limit` of them, chosen by their ids alone."""
    row_N = corpus.rows(split).astype(np.int64)
    if limit is None or limit >= len(row_N):
        return row_N
    ids = corpus.examples["id"].take(row_N).to_pylist()
    order = np.random.default_rng(0).permutation(len(ids))  # of ids in sorted order: independent of the file's
    ranked = np.argsort(np.array(ids))[order]
    return np.sort(row_N[ranked[:limit]])


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A split's scores and what they took."""

    row_Q: NDArray[np.int64]  # of the corpus
    scores: Scores
    choice_likelihood: ChoiceLikelihood | None
    charges: tuple[Charge, ...]  # recorded, never charged
    seconds: float  # of workers

    def to_json(self) -> dict[str, Json]:
        """As it stands in summary.json."""
        by_likelihood = self.choice_likelihood
        return {
            **self.scores.to_json(),  # pyright: ignore[reportReturnType] plain data
            "choice_likelihood": None if by_likelihood is None else dataclasses.asdict(by_likelihood),
        }


def write_answers(session: Session, split: Split, checkpoint: str) -> HeldOut:
    """Evaluate a held-out split. Keeps every answer."""
    row_Q = evaluation_rows(session.corpus, split, session.config.eval_examples)
    began = time.monotonic()
    outputs, answers, charge, seconds = session.students.evaluate(checkpoint, row_Q)
    choices = choose_by_likelihood(session, checkpoint, row_Q)
    names = ["id", "task", "kind", "domain", "prompt", "answer"]
    columns = session.corpus.examples.select(names).take(row_Q).to_pylist()
    band_Q = outputs.difficulty_N
    lines = [
        json.dumps(
            {
                **column,
                "band": None if band_Q is None else band_Q[place],
                "prompt_tokens": int(session.counts.prompt_tokens_N[row_Q[place]]),
                "output": answers.text_Q[place],
                "correct": None if answers.ungraded_Q[place] else bool(answers.correct_Q[place]),
                **({"ungraded": answers.ungraded_Q[place]} if answers.ungraded_Q[place] else {}),
                "output_tokens": int(answers.output_tokens_Q[place]),
                "truncated": bool(answers.truncated_Q[place]),
                **_by_likelihood(choices, place),
            },
            ensure_ascii=False,
        )
        for place, column in enumerate(columns)
    ]
    path = session.folder.folder / f"{split}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    session.folder.note(event="evaluated", split=split, seconds=time.monotonic() - began)
    return HeldOut(
        row_Q=row_Q,
        scores=score(outputs),
        choice_likelihood=choices.score,
        charges=(charge, *choices.charges),
        seconds=seconds + choices.seconds,
    )


def _by_likelihood(choices: ChosenByLikelihood, place: int) -> dict[str, Json]:
    """The field of a choice question alone."""
    if place not in choices.by_place:
        return {}
    one = choices.by_place[place]
    return {"choice_likelihood": None if one is None else dataclasses.asdict(one)}
