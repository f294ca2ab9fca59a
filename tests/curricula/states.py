"""Builders of run states for tests: rehearsals with a budget in passes, runs of a policy, and hand-made tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curricula.plans import check_plan
from curricula.policy import CurriculumPolicy
from curricula.rehearsal import ALL_SUPERVISIONS, Rehearsal, rehearse_stages, synthetic_rehearsal
from curricula.types import ExampleTable, ProbeOutcomes, RunState, StagePlan, StageResult


def rehearsal_of(
    passes: float, *, supervisions: tuple[str, ...] = ALL_SUPERVISIONS, tasks_given: bool = True, seed: int = 0
) -> Rehearsal:
    """A rehearsal whose budget buys so many passes over all examples under the last but one supervision."""
    rehearsal = synthetic_rehearsal(total_flops=1, supervisions=supervisions, tasks_given=tasks_given, seed=seed)
    pass_flops = float(np.nansum(rehearsal.state.train.train_flops_NS[:, max(len(supervisions) - 2, 0)]))
    return replace(rehearsal, state=replace(rehearsal.state, total_flops=int(passes * pass_flops)))


def run_policy(policy: CurriculumPolicy, rehearsal: Rehearsal) -> tuple[RunState, list[StagePlan]]:
    """The last state of a run and all its plans, each checked."""
    state, made = rehearsal.state, []
    while plans := policy.next_stages(state):
        for plan in plans:
            check_plan(state, plan)
        after = rehearse_stages(rehearsal, state, plans)
        if after is None:
            break
        state = after
        made += plans
    return state, made


def flops_share_of(state: RunState, supervision: str) -> float:
    """The share of all training FLOPs that went to one supervision."""
    spent = [(name, flops) for result in state.history for name, _, flops in result.mix]
    return sum(flops for name, flops in spent if name == supervision) / sum(flops for _, flops in spent)


def examples_share_of(state: RunState, supervision: str) -> float:
    """The share of all examples drawn that were shown under one supervision."""
    drawn = [(name, count) for result in state.history for name, count, _ in result.mix]
    return sum(count for name, count in drawn if name == supervision) / sum(count for _, count in drawn)


def feature_table(features_ND: np.ndarray, *, task_N: np.ndarray | None = None, tasks: int = 1) -> ExampleTable:
    """A table of given features with equal sizes, offering answers of 2 and reasoning of 40 tokens."""
    size = len(features_ND)
    tokens_NS = np.tile(np.array([2, 40], dtype=np.int32), (size, 1))
    return ExampleTable(
        tasks=tuple(f"task{index}" for index in range(tasks)),
        supervisions=("answer", "reasoning"),
        task_N=np.full(size, -1, dtype=np.int32) if task_N is None else task_N.astype(np.int32),
        kind_N=np.zeros(size, dtype=np.int32),
        prompt_tokens_N=np.full(size, 10, dtype=np.int32),
        target_tokens_NS=tokens_NS,
        verified_NS=np.ones(tokens_NS.shape, dtype=bool),
        train_flops_NS=6.0e6 * (10.0 + tokens_NS.astype(np.float64)),
        answer_flops_N=np.full(size, 1.0e8),
        features_ND=features_ND.astype(np.float16),
    )


def probed_state(
    train: ExampleTable, probe: ExampleTable, rounds: list[dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]
) -> RunState:
    """A state whose round k measured, by condition, (examples, solved, loss)."""
    history = []
    for index, measured in enumerate(rounds):
        conditions = [name for name, (example_P, _, _) in measured.items() for _ in example_P]
        outcomes = ProbeOutcomes(
            example_P=np.concatenate([example_P for example_P, _, _ in measured.values()]).astype(np.int32),
            condition_P=tuple(conditions),
            solved_P=np.concatenate([solved_P for _, solved_P, _ in measured.values()]).astype(bool),
            output_tokens_P=np.full(len(conditions), -1, dtype=np.int32),
            loss_P=np.concatenate([loss_P for _, _, loss_P in measured.values()]).astype(np.float64),
        )
        history.append(_result(index, outcomes))
    return RunState(train=train, probe=probe, total_flops=10**12, history=tuple(history), checkpoints=("0000",), seed=0)


def _result(index: int, probe: ProbeOutcomes) -> StageResult:
    return StageResult(
        index=index,
        round=index,
        name="measured",
        plan_digest="",
        start=None,
        checkpoint=f"{index:04d}",
        state_digest="",
        steps=1,
        charges=(),
        losses=(),
        mix=(),
        example_R=np.zeros(0, dtype=np.int32),
        supervision_R=np.zeros(0, dtype=np.int32),
        seen_R=np.zeros(0, dtype=np.int32),
        loss_R=np.zeros(0, dtype=np.float32),
        probe=probe,
        score_M=None,
        score_example_M=None,
        score_supervision_M=None,
    )
