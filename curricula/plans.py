"""Whether a stage plan can be carried out: every rule that a plan must keep, each with a line for a person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curricula.recipe import Recipe
from curricula.types import ExampleTable, ProbePlan, RunState, StagePlan, Supervision

PROBE_MODES = frozenset({"free", "think", "no_think"})


class PlanError(ValueError):
    """A stage plan that cannot be carried out as it stands."""


def check_plan(state: RunState, plan: StagePlan) -> None:
    """Check one plan against the state it was made from.

    Raises:
        PlanError: rows out of range or not offered, shares that are not positive and finite, an unknown
            checkpoint, a recipe that would train nothing of a component or of a row, or a ceiling beyond what is
            left. What the probe and the scores reserve beside the ceiling is for whoever pays to add.
    """
    rows = f"stage {plan.name!r}: "
    if not len(plan.example_R) == len(plan.supervision_R) == len(plan.share_R) >= 1:
        raise PlanError(
            f"{rows}example_R, supervision_R and share_R must be equally long and not empty, got "
            f"{len(plan.example_R)}, {len(plan.supervision_R)} and {len(plan.share_R)}"
        )
    _check_offered(rows + "row", state.train, plan.example_R, plan.supervision_R)
    _check_positive(f"{rows}share_R", plan.share_R)
    if plan.loss_weight_R is not None:
        if len(plan.loss_weight_R) != len(plan.example_R):
            raise PlanError(f"{rows}loss_weight_R must have one weight a row, got {len(plan.loss_weight_R)}")
        _check_positive(f"{rows}loss_weight_R", plan.loss_weight_R)
    _check_recipe(rows, plan.recipe, state.train.supervisions, plan.supervision_R)
    if plan.start is not None and plan.start not in state.checkpoints:
        known = ", ".join(state.checkpoints) or "none"
        raise PlanError(f"{rows}start is {plan.start!r}, but the checkpoints on disk are: {known}")
    if (plan.score_example_M is None) != (plan.score_supervision_M is None):
        raise PlanError(f"{rows}score_example_M and score_supervision_M must be given together")
    if plan.score_example_M is not None and plan.score_supervision_M is not None:
        _check_offered(rows + "score", state.train, plan.score_example_M, plan.score_supervision_M)
    if plan.probe is not None:
        _check_probe(rows, state.probe, plan.probe)
    if not 0 < plan.ceiling_flops <= state.remaining_flops:
        raise PlanError(
            f"{rows}ceiling_flops must be positive and within the {state.remaining_flops} that remain, "
            f"got {plan.ceiling_flops}"
        )


def _check_offered(what: str, table: ExampleTable, example: NDArray[np.int32], column: NDArray[np.int32]) -> None:
    if len(example) != len(column):
        raise PlanError(f"{what}s name {len(example)} examples but {len(column)} supervisions")
    for axis, index, size in (("example", example, len(table)), ("supervision", column, len(table.supervisions))):
        if not np.issubdtype(np.asarray(index).dtype, np.integer):
            raise PlanError(f"{what}s must give the {axis} as integers, got {np.asarray(index).dtype}")
        outside = np.flatnonzero((index < 0) | (index >= size))
        if len(outside):
            first = int(outside[0])
            raise PlanError(f"{what} {first} names {axis} {index[first]}, but there are only {size}")
    missing = np.flatnonzero(~table.offered_NS[example, column])
    if len(missing):
        first = int(missing[0])
        name = table.supervisions[column[first]]
        raise PlanError(f"{what} {first} shows example {example[first]} under {name}, which it does not offer")


def _check_positive(what: str, value: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~(np.isfinite(value) & (value > 0)))
    if len(wrong):
        raise PlanError(f"{what} must be positive and finite, got {value[wrong[0]]} in row {int(wrong[0])}")


def _check_recipe(rows: str, recipe: Recipe, supervisions: tuple[str, ...], column: NDArray[np.int32]) -> None:
    """What can be said of a recipe without a student; its layers, ties and adapters are for the trainer to know."""
    if recipe.detached and not recipe.hidden and "lower" in recipe.components:
        raise PlanError(
            f"{rows}detached cuts the lower blocks off from text and logits, and hidden is 0, so nothing would train "
            "them; align some of them, or name components without lower"
        )
    if recipe.answer_weight == 0:
        thinks_S = np.array([Supervision.parse(name).thinks for name in supervisions])
        silent = np.flatnonzero(~thinks_S[column])
        if len(silent):
            name = supervisions[column[silent[0]]]
            raise PlanError(
                f"{rows}answer_weight is 0, but row {int(silent[0])} shows {name}, which is all answer: nothing of it "
                "would be trained on"
            )


def _check_probe(rows: str, table: ExampleTable, probe: ProbePlan) -> None:
    if not len(probe.example_P) or not (probe.modes or probe.supervisions):
        raise PlanError(f"{rows}the probe measures nothing; leave it None")
    if np.any((probe.example_P < 0) | (probe.example_P >= len(table))):
        raise PlanError(f"{rows}the probe names examples outside the {len(table)} of the probe table")
    for mode in probe.modes:
        if mode not in PROBE_MODES:
            raise PlanError(f"{rows}probe mode {mode!r} is not one of {', '.join(sorted(PROBE_MODES))}")
    for supervision in probe.supervisions:
        if supervision not in table.supervisions:
            raise PlanError(f"{rows}the probe asks for {supervision!r}; offered are {', '.join(table.supervisions)}")
