"""A run without a model: a synthetic corpus and a student that learns by formula.

The student has one hidden skill for each (family, supervision). It grows with the examples seen, towards a ceiling
that is low where bare answers meet a hard family, and sooner under shorter targets:

    skill = ceiling x (1 - exp(-examples / need))

Decoding freely, it imitates what it was shown of late: the chance of being right is the mean of its skills weighted
by the recent supervisions of that family, so that showing bare answers of a family solved by thinking undoes it.
Axes beside those of `curricula.types`: F families of examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curricula.probes import probe_reserve_flops
from curricula.types import (
    Charge,
    ExampleTable,
    Floats,
    Ints,
    ProbeOutcomes,
    ProbePlan,
    RunState,
    StagePlan,
    StageResult,
    Supervision,
    TrainingLoss,
)

FLOPS_PER_TOKEN = 6.0e6
STEP_ROWS = 16
ALL_SUPERVISIONS: tuple[str, ...] = ("answer", "short", "compressed:steps", "reasoning")
_LENGTH = {"answer": 0.0, "response": 0.5, "short": 0.6, "compressed": 1.0, "truncated": 1.0, "reasoning": 7.0}
_CEILING_LOSS = {"answer": 0.9, "response": 0.5, "short": 0.4, "compressed": 0.1, "truncated": 0.6, "reasoning": 0.0}
_FAMILIES = ("reverse", "compare", "sums", "chains")
_STEPS_F = np.array([0.0, 1.0, 5.0, 10.0])  # how much working each family needs


@dataclass(frozen=True, kw_only=True, eq=False)
class Rehearsal:
    """A synthetic corpus, its budget, and the simulated student's constants.

    Example:
        state = synthetic_rehearsal(total_flops=10**13).state
    """

    state: RunState  # before the first stage
    family_N: Ints  # hidden family of each training example, known or not
    probe_family_N: Ints
    need_FS: Floats  # examples until a skill has reached 63% of its ceiling
    ceiling_FS: Floats  # in [0, 1]


def synthetic_rehearsal(
    *,
    total_flops: int,
    supervisions: tuple[str, ...] = ALL_SUPERVISIONS,
    examples: int = 400,
    probe_examples: int = 120,
    families: int = 4,
    tasks_given: bool = True,
    offered_share: float = 1.0,
    seed: int = 0,
) -> Rehearsal:
    """Up to four families, from reflexes that bare answers teach to chains that need working.

    `offered_share` of the examples offer each supervision but the first, which all offer. All arrays are read-only.

    Raises:
        ValueError: a misspelt supervision, or a number of families other than 1 to 4.
    """
    if not 1 <= families <= len(_FAMILIES):
        raise ValueError(f"families must lie in [1, {len(_FAMILIES)}], got {families}")
    kind_S = [Supervision.parse(name).kind for name in supervisions]
    length_S = np.array([_LENGTH[kind] for kind in kind_S])
    # One family alone is the hardest: a corpus of reflexes would ask nothing of a policy.
    steps_F = _STEPS_F[-families:]
    names = _FAMILIES[-families:]
    rng = np.random.default_rng([seed, 1])

    def table(size: int) -> tuple[ExampleTable, Ints]:
        family_N = np.sort(rng.integers(0, families, size)).astype(np.int32)
        rng.shuffle(family_N)
        prompt_tokens_N = (8 + 2 * steps_F[family_N] + rng.integers(0, 5, size)).astype(np.int32)
        tokens_NS = (2 + np.rint(length_S * (1.0 + 4.0 * steps_F[family_N])[:, None])).astype(np.int32)
        offered_NS = rng.random(tokens_NS.shape) < offered_share
        offered_NS[:, 0] = True
        features_ND = np.zeros((size, 12), dtype=np.float16)
        features_ND[:, :8] = rng.normal(size=(size, 8))
        features_ND[np.arange(size), 8 + family_N] = 1.0
        flops_NS = FLOPS_PER_TOKEN * (prompt_tokens_N[:, None] + tokens_NS)
        made = ExampleTable(
            tasks=names if tasks_given else (),
            supervisions=supervisions,
            task_N=family_N if tasks_given else np.full(size, -1, dtype=np.int32),
            kind_N=np.zeros(size, dtype=np.int32),
            prompt_tokens_N=prompt_tokens_N,
            target_tokens_NS=np.where(offered_NS, tokens_NS, -1).astype(np.int32),
            verified_NS=offered_NS.copy(),
            train_flops_NS=np.where(offered_NS, flops_NS, np.nan),
            answer_flops_N=FLOPS_PER_TOKEN / 3 * (prompt_tokens_N + 2.0 * tokens_NS.max(axis=1)),
            features_ND=features_ND,
        )
        _freeze(made.task_N, made.kind_N, made.prompt_tokens_N, made.target_tokens_NS, made.verified_NS)
        _freeze(made.train_flops_NS, made.answer_flops_N, made.features_ND)
        return made, family_N.copy()

    train, family_N = table(examples)
    probe, probe_family_N = table(probe_examples)
    loss_S = np.array([_CEILING_LOSS[kind] for kind in kind_S])
    state = RunState(train=train, probe=probe, total_flops=total_flops, history=(), checkpoints=(), seed=seed)
    return Rehearsal(
        state=state,
        family_N=family_N,
        probe_family_N=probe_family_N,
        need_FS=100.0 * (1.0 + steps_F[:, None] / 2.0) * (1.0 + length_S[None, :] / 7.0),
        ceiling_FS=0.98 * (1.0 - np.minimum(steps_F / 5.0, 1.0)[:, None] * loss_S[None, :]),
    )


def _freeze(*arrays: NDArray[np.generic]) -> None:
    for array in arrays:
        array.setflags(write=False)


def skill_FS(rehearsal: Rehearsal, history: tuple[StageResult, ...]) -> Floats:
    """What the simulated student can do in each (family, supervision), shape (F, S), in [0, 1]."""
    seen_FS = sum((_seen_FS(rehearsal, result) for result in history), np.zeros_like(rehearsal.need_FS))
    return rehearsal.ceiling_FS * (1.0 - np.exp(-seen_FS / rehearsal.need_FS))


def accuracy_F(rehearsal: Rehearsal, history: tuple[StageResult, ...]) -> Floats:
    """Chance of being right when it decodes freely, by family; imitation halves in weight with every 500 examples."""
    habit_FS = np.zeros_like(rehearsal.need_FS)
    for result in history:
        seen_FS = _seen_FS(rehearsal, result)
        habit_FS = habit_FS * 0.5 ** (seen_FS.sum(axis=1, keepdims=True) / 500.0) + seen_FS
    habit_FS /= np.maximum(habit_FS.sum(axis=1, keepdims=True), 1.0)
    return (habit_FS * skill_FS(rehearsal, history)).sum(axis=1)


def rehearse_stages(rehearsal: Rehearsal, state: RunState, plans: tuple[StagePlan, ...]) -> RunState | None:
    """The state after stages planned together; None where one buys no step of `STEP_ROWS` rows.

    Half of what a probe reserves is charged; no step, and so no stage, exceeds its ceiling.
    """
    results: list[StageResult] = []
    for index, plan in enumerate(plans, start=len(state.history)):
        result = _rehearse_stage(rehearsal, state, plan, index=index)
        if result is None:
            return None
        results.append(result)
    checkpoints = tuple(result.checkpoint for result in results)
    return replace(state, history=(*state.history, *results), checkpoints=(*state.checkpoints[-1:], *checkpoints))


def _rehearse_stage(rehearsal: Rehearsal, state: RunState, plan: StagePlan, *, index: int) -> StageResult | None:
    seen_R, train_flops = _draw(state.train, plan)
    if int(seen_R.sum()) < STEP_ROWS:
        return None
    tokens = int(train_flops / FLOPS_PER_TOKEN)
    example_R = np.array(plan.example_R, dtype=np.int32)
    supervision_R = np.array(plan.supervision_R, dtype=np.int32)
    trained = StageResult(
        index=index,
        round=state.rounds,
        name=plan.name,
        plan_digest="",
        start=plan.start or (state.checkpoints[-1] if state.checkpoints else None),
        checkpoint=f"{index:04d}",
        state_digest=f"{index:04d}",
        steps=int(seen_R.sum()) // STEP_ROWS,
        charges=(Charge(purpose="train", flops=train_flops, positions=tokens, tokens=tokens),),
        losses=(),
        mix=_mix(state.train, supervision_R, seen_R, train_flops),
        example_R=example_R,
        supervision_R=supervision_R,
        seen_R=seen_R,
        loss_R=np.full(len(example_R), np.nan, dtype=np.float32),
        probe=None,
        score_M=None,
        score_example_M=plan.score_example_M,
        score_supervision_M=plan.score_supervision_M,
    )
    history = (*state.history, trained)
    loss_FS = 2.0 * (1.0 - skill_FS(rehearsal, history)) + 0.02
    loss_R = loss_FS[rehearsal.family_N[example_R], supervision_R]
    probe = None if plan.probe is None else _measure(rehearsal, state, history, plan.probe, index=index)
    charges = trained.charges
    if probe is not None:
        probe_flops = probe_reserve_flops(state.probe, plan.probe) // 2
        charges = (*charges, Charge(purpose="probe", flops=probe_flops, positions=0, tokens=0))
    result = replace(
        trained,
        charges=charges,
        losses=_losses(rehearsal, state.train, trained, loss_FS),
        loss_R=np.where(seen_R > 0, loss_R, np.nan).astype(np.float32),
        probe=probe,
        score_M=None if plan.score_example_M is None else _scores(rehearsal, plan, loss_FS),
    )
    _freeze(result.example_R, result.supervision_R, result.seen_R, result.loss_R)
    return result


def _draw(table: ExampleTable, plan: StagePlan) -> tuple[Ints, int]:
    # Expected counts, spread by a running sum: no chance is involved, and shares are met to within one draw.
    cost_R = table.train_flops_NS[plan.example_R, plan.supervision_R]
    share_R = np.asarray(plan.share_R, dtype=np.float64)
    share_R = share_R / share_R.sum()
    draws = math.floor(plan.ceiling_flops / float((share_R * cost_R).sum()))
    while True:
        seen_R = np.diff(np.floor(np.cumsum(share_R) * draws + 1e-9), prepend=0.0).astype(np.int32)
        flops = int(np.ceil((seen_R * cost_R).sum()))
        if flops <= plan.ceiling_flops:
            return seen_R, flops
        draws = math.floor(draws * 0.98)


def _scores(rehearsal: Rehearsal, plan: StagePlan, loss_FS: Floats) -> NDArray[np.float32]:
    return loss_FS[rehearsal.family_N[plan.score_example_M], plan.score_supervision_M].astype(np.float32)


def _seen_FS(rehearsal: Rehearsal, result: StageResult) -> Floats:
    seen_FS = np.zeros_like(rehearsal.need_FS)
    np.add.at(seen_FS, (rehearsal.family_N[result.example_R], result.supervision_R), result.seen_R)
    return seen_FS


def _mix(table: ExampleTable, supervision_R: Ints, seen_R: Ints, train_flops: int) -> tuple[tuple[str, int, int], ...]:
    counts_S = np.bincount(supervision_R, weights=seen_R, minlength=len(table.supervisions))
    total = max(int(counts_S.sum()), 1)
    return tuple(
        (name, int(count), int(train_flops * count / total))
        for name, count in zip(table.supervisions, counts_S, strict=True)
        if count > 0
    )


def _losses(
    rehearsal: Rehearsal, table: ExampleTable, result: StageResult, loss_FS: Floats
) -> tuple[TrainingLoss, ...]:
    tokens_R = table.target_tokens_NS[result.example_R, result.supervision_R] * result.seen_R.astype(np.float64)
    token_flops = result.charges[0].flops / max(tokens_R.sum(), 1.0)
    family_R = rehearsal.family_N[result.example_R]
    task_R = family_R if table.tasks else np.full_like(family_R, -1)
    losses: list[TrainingLoss] = []
    for task, column in np.unique(np.stack([task_R, result.supervision_R])[:, result.seen_R > 0], axis=1).T:
        rows_R = (task_R == task) & (result.supervision_R == column) & (result.seen_R > 0)
        tokens = tokens_R[rows_R].sum()
        losses.append(
            TrainingLoss(
                task=table.tasks[task] if table.tasks else "(withheld)",
                supervision=table.supervisions[column],
                examples=int(result.seen_R[rows_R].sum()),
                supervised_tokens=int(tokens),
                loss=float((tokens_R[rows_R] * loss_FS[family_R[rows_R], column]).sum() / tokens),
                flops=int(token_flops * tokens),
            )
        )
    return tuple(losses)


def _measure(
    rehearsal: Rehearsal, state: RunState, history: tuple[StageResult, ...], probe: ProbePlan, *, index: int
) -> ProbeOutcomes:
    rng = np.random.default_rng([state.seed, index, 2])
    skills_FS = skill_FS(rehearsal, history)
    right_F = accuracy_F(rehearsal, history)
    examples: list[Ints] = []
    conditions: list[str] = []
    chances: list[Floats] = []
    losses: list[Floats] = []
    tokens: list[Ints] = []
    for condition in (*probe.modes, *probe.supervisions):
        example_P = np.asarray(probe.example_P, dtype=np.int32)
        if condition in probe.modes:
            chances.append(right_F[rehearsal.probe_family_N[example_P]])
            losses.append(np.full(len(example_P), np.nan))
            tokens.append(np.full(len(example_P), 8, dtype=np.int32))
        else:
            column = state.probe.supervision_index(condition)
            example_P = example_P[state.probe.offered_NS[example_P, column]]
            chances.append(skills_FS[rehearsal.probe_family_N[example_P], column])
            losses.append(2.0 * (1.0 - chances[-1]) + 0.02)
            tokens.append(np.full(len(example_P), -1, dtype=np.int32))
        examples.append(example_P)
        conditions += [condition] * len(example_P)
    chance_P = np.concatenate(chances)
    outcomes = ProbeOutcomes(
        example_P=np.concatenate(examples),
        condition_P=tuple(conditions),
        solved_P=rng.random(len(chance_P)) < chance_P,
        output_tokens_P=np.concatenate(tokens),
        loss_P=np.concatenate(losses),
    )
    _freeze(outcomes.example_P, outcomes.solved_P, outcomes.output_tokens_P, outcomes.loss_P)
    return outcomes
