"""Peaks of training by supervision, from the clocks of a run."""

from __future__ import annotations

import numpy as np

from controller.config import Json
from controller.measures import training_peaks
from curricula.types import StageResult


def _stage(checkpoint: str, **drawn: int) -> StageResult:
    nothing = np.empty(0, dtype=np.int32)
    return StageResult(
        index=int(checkpoint),
        round=int(checkpoint),
        name="",
        plan_digest="",
        start=None,
        checkpoint=checkpoint,
        state_digest="",
        steps=1,
        charges=(),
        losses=(),
        mix=tuple((name, examples, 10) for name, examples in drawn.items()),
        example_R=nothing,
        supervision_R=nothing,
        seen_R=nothing,
        loss_R=np.empty(0, dtype=np.float32),
        probe=None,
        score_M=None,
        score_example_M=None,
        score_supervision_M=None,
    )


def _trained(peaks: dict[str, int | None]) -> dict[str, Json]:
    return {"event": "trained", "checkpoints": list(peaks), "peak_bytes": list(peaks.values())}


def test_a_stage_of_one_supervision_speaks_for_it_and_others_for_the_mix() -> None:
    history = (
        _stage("0000", answer=5),
        _stage("0001", answer=5, reasoning=2),
        _stage("0002", answer=7),
        _stage("0003", reasoning=7),
    )
    timings = [_trained({"0000": 100, "0001": 900}), _trained({"0002": 200}), _trained({"0003": 300})]
    assert training_peaks(history, timings) == {"answer": 200, "mixed": 900, "reasoning": 300}


def test_what_one_stage_cannot_tell_is_not_told_by_the_others() -> None:
    history = (_stage("0000", answer=5), _stage("0001", answer=5), _stage("0002", short=5), _stage("0003", short=5))
    timings = [_trained({"0000": None}), _trained({"0001": 200}), _trained({"0002": 300})]
    assert training_peaks(history, timings) == {"answer": None, "short": None}


def test_of_a_stage_that_was_trained_again_the_last_attempt_counts() -> None:
    timings = [_trained({"0000": 900}), {"event": "recorded"}, _trained({"0000": 100})]
    assert training_peaks((_stage("0000", answer=5),), timings) == {"answer": 100}
