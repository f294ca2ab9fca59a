"""What is measured on real actors: their cold start, the controller's share of a run, two beside one."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.config import RunConfig, Where
from controller.record import TIMINGS
from controller.session import Prepared, open_session, prepare, spend, worker_settings
from controller.students import Doing
from curricula.corpus import Corpus
from curricula.policies import Adaptive, Fixed
from trainers.jobs import StageJob, StageOutcome, row_rates

FIRST_STEPS = 4
"""Optimizer steps that the run of a cold start can pay for."""


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """From nothing but Ray to a student that has taken its first steps."""

    to_first_steps_seconds: float  # the first stage of a few steps trained, and its checkpoint saved
    steps_seconds: float  # of that, inside the training loop


@dataclass(frozen=True, kw_only=True)
class Share:
    """Where a run's loop spent its time; the start before it and the final test are no part of it."""

    training_rows: int  # examples of the training split
    stages: int
    loop_seconds: float
    training_seconds: float  # actors at work on stages, as the controller waits for them
    inner_training_seconds: float  # of that, inside the optimizer loop; the rest plans, saves and digests checkpoints
    measuring_seconds: float  # actors at work on probes

    @property
    def controller(self) -> float:
        """Share of the loop that is neither training nor measuring: policy, checks, ledger, record."""
        return 1.0 - (self.training_seconds + self.measuring_seconds) / self.loop_seconds


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One actor alone, then two side by side, each on one core, on the same stage."""

    alone_tokens_per_second: float
    together_tokens_per_second: float  # of both
    alone_seconds: float
    together_seconds: float  # of the slower one

    @property
    def ratio(self) -> float:
        """Two over one."""
        return self.together_tokens_per_second / self.alone_tokens_per_second


def cold_start(corpus: Path, *, student: str, step_flops: int, folder: Path, cache_dir: Path) -> ColdStart:
    """Start an actor and train a first stage of up to `FIRST_STEPS` steps, through the whole controller; Ray is up.

    The corpus is on disk and, from the second time on, tokenized in `cache_dir`.
    """
    config = RunConfig(
        policy=Fixed(supervision="compressed", slices=1),
        student=student,
        corpus=str(corpus),
        total_flops=FIRST_STEPS * step_flops,
        threads=1,
    )
    began_at = time.time()
    with open_session(config, Where(output_dir=folder, cache_dir=cache_dir), resume=False, doing=Doing()) as session:
        spend(session)
    notes = _notes(folder)
    trained = next(note for note in notes if note["event"] == "trained")
    return ColdStart(
        to_first_steps_seconds=_number(trained["time"]) - began_at,
        steps_seconds=sum(_numbers(trained["loop_seconds"])),
    )


def controller_share(corpus: Path, *, student: str, total_flops: float, folder: Path, cache_dir: Path) -> Share:
    """A run of the default policy, and what its timings say."""
    config = RunConfig(policy=Adaptive(), student=student, corpus=str(corpus), total_flops=total_flops, threads=1)
    with open_session(config, Where(output_dir=folder, cache_dir=cache_dir), resume=False, doing=Doing()) as session:
        rows = len(session.state.train)
        began = time.monotonic()
        state = spend(session)
        loop_seconds = time.monotonic() - began
    notes = _notes(folder)
    trained = [note for note in notes if note["event"] == "trained"]
    return Share(
        training_rows=rows,
        stages=len(state.history),
        loop_seconds=loop_seconds,
        training_seconds=sum(_number(note["seconds"]) for note in trained),
        inner_training_seconds=sum(sum(_numbers(note["loop_seconds"])) for note in trained),
        measuring_seconds=sum(_number(note["seconds"]) for note in notes if note["event"] == "measured"),
    )


def pairs(
    corpus: Path, *, student: str, stage_flops: int, rounds: int, folder: Path, cache_dir: Path
) -> tuple[Pair, ...]:
    """Two actors of one thread: one works alone, then both, and so on in turns; the first turn only warms up."""
    config = RunConfig(
        policy=Fixed(supervision="compressed"), student=student, corpus=str(corpus), total_flops=stage_flops, threads=1
    )
    found = []
    with prepare(config, Where(output_dir=folder, num_workers=2, cache_dir=cache_dir)) as prepared:
        job = _mixed_stage(prepared, stage_flops)
        for turn in range(rounds + 1):
            settings = worker_settings(prepared.config, folder / f"turn-{turn}")
            prepared.crew.on_each(lambda worker, settings=settings: worker.begin(settings))
            alone = prepared.crew.map([lambda worker: worker.train(job)])
            # One name for both would be two processes that put the same folder in place at once.
            both_jobs = [dataclasses.replace(job, checkpoint=f"both-{actor}") for actor in range(2)]
            together = prepared.crew.map([lambda worker, job=each: worker.train(job) for each in both_jobs])
            if turn:
                found.append(
                    Pair(
                        alone_tokens_per_second=_tokens_per_second(alone),
                        together_tokens_per_second=_tokens_per_second(together),
                        alone_seconds=alone[0].train_seconds,
                        together_seconds=max(outcome.train_seconds for outcome in together),
                    )
                )
    return tuple(found)


def _tokens_per_second(outcomes: list[StageOutcome]) -> float:
    """All tokens over the time of the slowest."""
    return sum(outcome.tokens for outcome in outcomes) / max(outcome.train_seconds for outcome in outcomes)


def _mixed_stage(prepared: Prepared, stage_flops: int) -> StageJob:
    """A stage that shows every training example under all its supervisions, from an untrained student on."""
    corpus: Corpus = prepared.corpus
    train_N = corpus.rows("train").astype(np.int64)
    example_R, supervision_R = np.nonzero(prepared.counts.target_tokens_NS[train_N] >= 0)
    assert prepared.config.learning_rates is not None  # resolved
    return StageJob(
        example_R=train_N[example_R],
        supervision_R=supervision_R.astype(np.int64),
        share_R=np.ones(len(example_R)),
        loss_weight_R=None,
        rate_R=row_rates(corpus.supervisions, prepared.config.learning_rates, supervision_R),
        ceiling_flops=stage_flops,
        spent_flops=0,
        total_flops=stage_flops,
        seed=0,
        start=None,
        start_digest=None,
        checkpoint="alone",
    )


def _notes(folder: Path) -> list[Mapping[str, object]]:
    return [json.loads(line) for line in (folder / TIMINGS).read_text(encoding="utf-8").splitlines()]


def _number(value: object) -> float:
    assert isinstance(value, int | float), value
    return float(value)


def _numbers(value: object) -> list[float]:
    assert isinstance(value, list), value
    return [_number(item) for item in value]
