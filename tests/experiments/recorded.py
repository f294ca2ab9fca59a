"""Recorded stages and a summary, made by hand, with names that would be markup if they were not escaped."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from controller.config import Json
from controller.record import RunFolder, RunRecord
from curricula.types import Charge, ProbeOutcomes, StageResult, TrainingLoss
from evaluators.accuracy import Outputs, score

TASKS = ("add", "chain <script>f()</script>", "max & $min$")
SUPERVISIONS = ("answer", "compressed:steps@0.3#gpt-oss")
PROBE_TASKS = tuple(TASKS[row % 3] for row in range(30))
CONFIG: dict[str, Json] = {"policy": {"class_path": "curricula.policies.Staged"}, "total_flops": 1e9, "seed": 3}


def make_stage(index: int, *, name: str = "warm <b>up</b>", probe: bool = True) -> StageResult:
    rng = np.random.default_rng(index)
    outcomes = ProbeOutcomes(
        example_P=np.arange(30, dtype=np.int32),
        condition_P=("free",) * 30,
        solved_P=rng.random(30) < 0.5,
        output_tokens_P=np.full(30, 4, dtype=np.int32),
        loss_P=np.full(30, np.nan),
    )
    losses = tuple(
        TrainingLoss(
            task=task, supervision=supervision, examples=8, supervised_tokens=80, loss=float(rng.random()), flops=10**7
        )
        for task in TASKS
        for supervision in SUPERVISIONS
    )
    nothing = np.empty(0, dtype=np.int32)
    return StageResult(
        index=index,
        round=index,
        name=name,
        plan_digest="",
        start=None,
        checkpoint=f"{index:04d}",
        state_digest="",
        steps=7,
        charges=(
            Charge(purpose="train", flops=10**8, positions=10, tokens=9),
            Charge(purpose="probe", flops=10**7, positions=10, tokens=9),
            Charge(purpose="evaluate", flops=10**6, positions=10, tokens=9),
        ),
        losses=losses,
        mix=((SUPERVISIONS[0], 30, 4 * 10**7), (SUPERVISIONS[1], 10, 6 * 10**7)),
        example_R=nothing,
        supervision_R=nothing,
        seen_R=nothing,
        loss_R=np.empty(0, dtype=np.float32),
        probe=outcomes if probe else None,
        score_M=None,
        score_example_M=None,
        score_supervision_M=None,
    )


def make_summary() -> dict[str, object]:
    rng = np.random.default_rng(0)
    outputs = Outputs(
        correct_N=rng.random(90) < 0.7,
        output_tokens_N=rng.integers(1, 30, 90).astype(np.int32),
        truncated_N=rng.random(90) < 0.1,
        task_N=tuple(TASKS[row % 3] for row in range(90)),
        kind_N=("open",) * 90,
        domain_N=("in_domain",) * 90,
    )
    return {
        "policy": {"class_path": "curricula.policies.staged.Staged", "init_args": {"warmup": 0.25}},
        "student": "tiny",
        "corpus": "procedural",
        "seed": 3,
        "budget": {"unit": "flops", "total": 10**9, "spent": 330_000_000, "dollars_per_hour": 0.05},
        "spent": {
            "train": {"flops": 3 * 10**8, "tokens": 27, "seconds": 6.0, "dollars": 0.0123},
            "probe": {"flops": 3 * 10**7, "tokens": 27, "seconds": 1.5, "dollars": 0.004},
            "features": {"flops": 0, "tokens": 0, "seconds": 0.0, "dollars": 0.0},
            "evaluate": {"flops": 3 * 10**6, "tokens": 27, "seconds": 0.1, "dollars": 0.0},
        },
        "total_flops": 10**9,
        "spent_flops": 330_000_000,
        "charges": {"train": 3 * 10**8, "probe": 3 * 10**7, "features": 0, "teach": 5 * 10**9, "compress": 0},
        "recorded": {"evaluate": 3 * 10**6},
        "dev": score(outputs).to_json(),
        "difficulty": {"auc": 0.66, "base_rate": 0.5, "n": 60},
        "mix_by_examples": {SUPERVISIONS[0]: 0.75, SUPERVISIONS[1]: 0.25},
        "mix_by_flops": {SUPERVISIONS[0]: 0.4, SUPERVISIONS[1]: 0.6},
        "lost": {"attempts": 1, "flops_at_most": 10**7},
        "wall_seconds": 98.5,
    }


def add_stages(folder: Path, stages: int, *, supervision: str | None = None) -> None:
    """Append stages to a run's record; under one supervision, where it is named."""
    run = RunFolder.open(folder, resume=True)
    (folder / "plans").mkdir(exist_ok=True)
    for index in range(stages):
        stage = make_stage(index)
        if supervision is not None:
            stage = dataclasses.replace(stage, mix=((supervision, 40, 10**8),))
        run.append([stage], [{"train": 2.0, "probe": 0.5}])
    run.close()


def make_record(stages: int, tasks: tuple[str, ...] = TASKS) -> RunRecord:
    """A run that has not been scored."""
    return RunRecord(
        config=CONFIG,
        identity={"probe_tasks": [tasks[row % len(tasks)] for row in range(30)]},
        results=tuple(make_stage(index) for index in range(stages)),
        summary=None,
        timings=(),
        tasks=tasks,
        supervisions=SUPERVISIONS,
    )
