"""One setting: a policy, student and budget over its seeds; how right it was, on what, and what its answers took.

K  runs, alike but for their seed       Q  questions of the set, by id
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curricula.types import Ints
from evaluators.accuracy import Score, Scores
from evaluators.bands import length_bands
from evaluators.paired import GradedRuns, mean_accuracy
from evaluators.resampling import resample
from experiments.findings.findings import Answer, CurvePoint, FinishedRun, GroupScore, Setting
from experiments.findings.graded import RESAMPLES, SEED, graded_runs, restricted
from trainers.pricing.config_shape import folder_shape
from trainers.pricing.flops import ModelShape, generate_flops


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a setting stands: what tells it from others, and how it is called.

    Example:
        Place(name="Adaptive", policy="Adaptive", student="tiny", budget="6e12 FLOPs", total_flops=6 * 10**12,
              in_flops=True)
    """

    name: str
    policy: str
    student: str
    budget: str
    total_flops: int
    in_flops: bool  # whether that is the budget's own unit


@dataclass(frozen=True, kw_only=True)
class Groups:
    """How the questions of a set are told apart: for each grouping the group of every question, "" for none."""

    names: Mapping[str, tuple[str, ...]]


def question_groups(runs: Sequence[FinishedRun]) -> Groups:
    """By task, kind, domain, prompt length and difficulty: what any of the runs tells of the questions that all share.

    Early runs tell no kind, domain or band; the first run that does is believed.
    """
    answers_Q = runs[0].answers_Q

    def column(of: str) -> tuple[str, ...]:
        told = [tuple(_column(answer)[of] for answer in run.answers_Q) for run in runs]
        return next((names_Q for names_Q in told if any(names_Q)), told[0])

    chars_Q = np.array([len(answer.prompt) for answer in answers_Q], dtype=np.int32)
    return Groups(
        names={
            **{name: column(name) for name in ("task", "kind", "domain")},
            "prompt length": length_bands(chars_Q),
            "difficulty": column("difficulty"),
        }
    )


def _column(answer: Answer) -> dict[str, str]:
    return {"task": answer.task, "kind": answer.kind, "domain": answer.domain, "difficulty": answer.band}


def build_setting(place: Place, runs: Sequence[FinishedRun], groups: Groups) -> Setting:
    """Everything that is known of one setting alone; retention and efficiency are still to come.

    Raises:
        ValueError: no question was graded under every seed.
    """
    graded = graded_runs(runs)
    prompt_tokens_Q = known_prompt_tokens(runs)
    shape = student_shape(runs)
    measures = [run.summary.measures for run in runs]
    waiting = [each.latency.median_seconds for each in measures if each.latency is not None]
    serving = [each.serving_bytes for each in measures if each.serving_bytes is not None]
    return Setting(
        name=place.name,
        policy=place.policy,
        student=place.student,
        budget=place.budget,
        total_flops=place.total_flops,
        training_flops=float(place.total_flops) if place.in_flops else _mean([run.summary.spent_flops for run in runs]),
        runs=tuple(runs),
        graded=graded,
        scores=_scores(runs, graded, groups),
        spent_flops=_mean([run.summary.spent_flops for run in runs]),
        answer_flops=None if prompt_tokens_Q is None or shape is None else _answer_flops(shape, runs, prompt_tokens_Q),
        latency_seconds=float(np.median(waiting)) if waiting else None,
        serving_bytes=max(serving, default=None),
        curve=_curve(runs),
        retention=None,
        token_efficiency=None,
    )


def known_prompt_tokens(runs: Sequence[FinishedRun]) -> Ints | None:
    """Tokens of every prompt (Q,), as this student reads it; None where no run tells them all."""
    for run in runs:
        tokens = [answer.prompt_tokens for answer in run.answers_Q if answer.prompt_tokens is not None]
        if len(tokens) == len(run.answers_Q):
            return np.array(tokens, dtype=np.int32)
    return None


def student_shape(runs: Sequence[FinishedRun]) -> ModelShape | None:
    """What the FLOP formula needs of the student, from the first exported one; None where none can be priced."""
    for run in runs:
        config = run.folder / "student" / "config.json"
        if config.is_file() and (shape := _known_shape(config.parent)) is not None:
            return shape
    return None


def _known_shape(folder: Path) -> ModelShape | None:
    try:
        return folder_shape(folder)
    except ValueError:  # an architecture that cannot be priced from its config; the report says so in a note
        return None


def _scores(runs: Sequence[FinishedRun], graded: GradedRuns, groups: Groups) -> tuple[GroupScore, ...]:
    everything = np.arange(len(runs[0].answers_Q))
    scores = [_score("overall", "overall", everything, runs, graded)]
    for group, names_Q in groups.names.items():
        for name in sorted({*names_Q} - {""}):
            place_Q = np.flatnonzero(np.array([other == name for other in names_Q]))
            if any(runs[0].answers_Q[place].id in set(graded.questions_Q) for place in place_Q):
                scores.append(_score(group, name, place_Q, runs, graded))
    return tuple(scores)


def _score(
    group: str, name: str, place_Q: NDArray[np.intp], runs: Sequence[FinishedRun], graded: GradedRuns
) -> GroupScore:
    answers = [run.answers_Q[place] for run in runs for place in place_Q]
    of_group = restricted(graded, questions={runs[0].answers_Q[place].id for place in place_Q})
    tokens = np.array([answer.output_tokens for answer in answers])
    right = np.array([answer.correct for answer in answers])
    wrong = np.array([answer.graded and not answer.correct for answer in answers])
    return GroupScore(
        group=group,
        name=name,
        accuracy=mean_accuracy(of_group, seed=SEED, resamples=RESAMPLES),
        questions=len(of_group.questions_Q),
        output_tokens=float(tokens.mean()),
        p90_output_tokens=float(np.quantile(tokens, 0.9, method="inverted_cdf")),
        truncated=_mean([float(answer.truncated) for answer in answers]),
        unparsable=_unparsable(group, name, runs),
        ungraded=sum(not answer.graded for answer in answers),
        right_output_tokens=float(tokens[right].mean()) if right.any() else None,
        wrong_output_tokens=float(tokens[wrong].mean()) if wrong.any() else None,
    )


def _unparsable(group: str, name: str, runs: Sequence[FinishedRun]) -> float | None:
    """Mean over seeds of the share of answers that give none, as their summaries tell it; None where one does not."""
    told = [score.unparsable for run in runs if (score := _told(group, name, run)) and score.unparsable is not None]
    return _mean(told) if len(told) == len(runs) else None


def _told(group: str, name: str, run: FinishedRun) -> Score | None:
    scores: Scores | None = run.summary.final[1] if run.summary.final else None
    if scores is None or group == "overall":
        return scores.overall if scores else None
    of_group = {
        "task": scores.by_task,
        "kind": scores.by_kind,
        "domain": scores.by_domain,
        "prompt length": scores.by_prompt_chars,
        "difficulty": scores.by_difficulty,
    }
    return of_group.get(group, {}).get(name)


def _answer_flops(shape: ModelShape, runs: Sequence[FinishedRun], prompt_tokens_Q: Ints) -> float:
    priced: dict[tuple[int, int], float] = {}
    total = 0.0
    for run in runs:
        for prompt, answer in zip(prompt_tokens_Q.tolist(), run.answers_Q, strict=True):
            key = (prompt, answer.output_tokens)
            if key not in priced:
                priced[key] = float(generate_flops(shape, rows=1, prompt_length=key[0], new_tokens=key[1]))
            total += priced[key]
    return total / (len(runs) * len(prompt_tokens_Q))


def _curve(runs: Sequence[FinishedRun]) -> tuple[CurvePoint, ...]:
    """The first probe of every run, the second, and so on, as far as all runs have them."""
    curves = [_probes(run) for run in runs]
    points = []
    for at in zip(*curves, strict=False):
        solved_K = np.array([[solved] for _, solved in at])
        interval = resample([solved_K], seed=SEED, resamples=1).t_over_seeds(lambda m: m[..., 0], bounds=(0.0, 1.0))
        points.append(
            CurvePoint(
                budget_share=_mean([share for share, _ in at]),
                solved=float(solved_K.mean()),
                ci95=None if interval is None else (interval.low, interval.high),
            )
        )
    return tuple(points)


def _probes(run: FinishedRun) -> list[tuple[float, float]]:
    """Share of the budget spent, and share solved freely, after each round with a probe; of forks the best one's."""
    points: list[tuple[float, float]] = []
    spent = 0
    for turn in sorted({result.round for result in run.record.results}):
        stages = [result for result in run.record.results if result.round == turn]
        spent += sum(stage.spent_flops for stage in stages)
        probed = [stage.probe.solved_P[stage.probe.under("free")] for stage in stages if stage.probe is not None]
        solved = [float(solved_P.mean()) for solved_P in probed if len(solved_P)]
        if solved:
            points.append((min(1.0, spent / run.summary.total_flops), max(solved)))
    return points


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
