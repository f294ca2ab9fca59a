"""What is measured of the student that a run ends with, beside its graded answers; recorded, never charged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.config import Json
from controller.session import Session
from curricula.types import Charge, StageResult
from evaluators.accuracy import Scores
from evaluators.latency import Latency, evenly, latency
from evaluators.likelihood import ChoiceLikelihood, ChoiceTargets, Chosen, choice_targets, chosen, score_choices
from trainers.measuring import prompt_batches
from trainers.pricing.serving import serving_bytes

if TYPE_CHECKING:  # the worker loads torch, which the driver does without
    from controller.worker import StudentWorker

LATENCY_ANSWERS = 16
"""Questions that are answered one at a time: enough for a median, and seconds of a run of minutes."""
MIXED = "mixed"


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenByLikelihood:
    """The choice questions of a split, by likelihood."""

    score: ChoiceLikelihood | None  # None where there is no such question
    by_place: Mapping[int, Chosen | None]  # of each choice question; None where it could not be scored
    charges: tuple[Charge, ...]
    seconds: float  # of workers


def choose_by_likelihood(session: Session, checkpoint: str, row_Q: NDArray[np.int64]) -> ChosenByLikelihood:
    """Choose by likelihood where Q corpus rows are choice questions.

    Cut into requests by the questions alone, so that the number of workers never changes a loss.
    """
    columns = session.corpus.examples.select(["kind", "answer", "choices"]).take(row_Q).to_pydict()
    asked = [place for place, kind in enumerate(columns["kind"]) if kind == "choice"]
    possible = {place: choice_targets(columns["answer"][place], columns["choices"][place]) for place in asked}
    targets: dict[int, ChoiceTargets] = {place: one for place, one in possible.items() if one is not None}
    place_K = np.array(list(targets), dtype=np.int64)
    counts_K = session.students.counts.prompt_tokens_N[row_Q[place_K]]
    requests = [
        [(place, int(row_Q[place]), targets[place]) for place in place_K[batch].tolist()]
        for batch in prompt_batches(counts_K, batch_rows=session.students.batch_answers)
    ]
    parts, seconds = session.crew.timed([_forcing(checkpoint, request) for request in requests])
    by_place: dict[int, Chosen | None] = dict.fromkeys(asked)
    for request, (nats, _) in zip(requests, parts, strict=True):
        by_place |= {place: chosen(target, own) for (place, _, target), own in zip(request, nats, strict=True)}
    scored = [one for one in by_place.values() if one is not None]
    return ChosenByLikelihood(
        score=score_choices(scored, unknown=len(asked) - len(scored)),
        by_place=by_place,
        charges=tuple(charge for _, charge in parts),
        seconds=sum(seconds),
    )


def _forcing(
    checkpoint: str, request: Sequence[tuple[int, int, ChoiceTargets]]
) -> Callable[[StudentWorker], tuple[list[list[float]], Charge]]:
    """The work of forcing the choices of some questions, (place, corpus row, choices) of each."""
    rows, texts = [row for _, row, _ in request], [target.texts for _, _, target in request]
    return lambda worker: worker.choice_nats(checkpoint, rows, texts)


def measure_latency(
    session: Session, checkpoint: str, row_Q: NDArray[np.int64]
) -> tuple[Latency, Sequence[Charge], float]:
    """Answer a few of Q corpus rows one at a time; with what it took, in seconds of a worker. Notes every answer's."""
    assert session.config.threads is not None  # resolved
    examples = evenly(row_Q, LATENCY_ANSWERS).tolist()
    answers, busy_seconds = session.crew.timed([lambda worker: worker.answer_seconds(checkpoint, examples)])
    seconds, charges = answers[0]
    session.folder.note(event="latency", checkpoint=checkpoint, seconds=list(seconds))
    measured = latency(seconds, threads=session.config.threads, device=session.identity.device)
    return measured, charges, busy_seconds[0]


def student_bytes(session: Session, row_Q: NDArray[np.int64], scores: Scores) -> int | None:
    """Memory of serving the student one query of mean length among Q corpus rows that were scored."""
    prompt_tokens = float(session.students.counts.prompt_tokens_N[row_Q].mean())
    return serving_bytes(session.identity.shape, tokens=prompt_tokens + scores.overall.mean_output_tokens)


def training_peaks(history: Sequence[StageResult], timings: Iterable[Mapping[str, Json]]) -> dict[str, int | None]:
    """For every supervision the most bytes held in a stage that trained on nothing else; under `mixed` in the others.

    None where some stage's peak is not known. Of work that was repeated, the last attempt counts.
    """
    peak_of: dict[str, int | None] = {}
    for line in timings:
        names, peaks = line.get("checkpoints"), line.get("peak_bytes")
        if line.get("event") == "trained" and isinstance(names, list) and isinstance(peaks, list):
            for name, peak in zip(names, peaks, strict=True):
                peak_of[str(name)] = peak if isinstance(peak, int) else None
    highest: dict[str, int | None] = {}
    for result in history:
        trained = [name for name, examples, _ in result.mix if examples]
        key = trained[0] if len(trained) == 1 else MIXED
        peak, before = peak_of.get(result.checkpoint), highest.get(key, 0)
        highest[key] = None if peak is None or before is None else max(peak, before)
    return dict(sorted(highest.items()))
