"""A stage as one line of stages.jsonl and a file of arrays, and back."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import cast

import numpy as np

from controller.config import Json
from curricula.recipe import Recipe, Rollouts
from curricula.types import Charge, ProbeOutcomes, Purpose, StageResult, TrainingLoss


def encode(result: StageResult, *, forks: int, arrays_digest: str) -> dict[str, Json]:
    """A stage as one JSON object. Row arrays stand in the stage's .npz file, by digest here; losses are exact."""
    probe = result.probe
    return {
        "index": result.index,
        "round": result.round,
        "forks": forks,
        "name": result.name,
        "plan_digest": result.plan_digest,
        "start": result.start,
        "checkpoint": result.checkpoint,
        "state_digest": result.state_digest,
        "steps": result.steps,
        "charges": [
            {"purpose": c.purpose, "flops": c.flops, "positions": c.positions, "tokens": c.tokens}
            for c in result.charges
        ],
        "losses": [
            {
                "task": loss.task,
                "supervision": loss.supervision,
                "examples": loss.examples,
                "supervised_tokens": loss.supervised_tokens,
                "loss": loss.loss,
                "flops": loss.flops,
            }
            for loss in result.losses
        ],
        "mix": [list(part) for part in result.mix],
        "probe": None
        if probe is None
        else {
            "example": probe.example_P.tolist(),
            "condition": list(probe.condition_P),
            "solved": [int(solved) for solved in probe.solved_P],
            "output_tokens": probe.output_tokens_P.tolist(),
            "loss": [None if np.isnan(loss) else loss for loss in probe.loss_P.tolist()],
        },
        "recipe": recipe_changes(result.recipe),
        "arrays_digest": arrays_digest,
    }


def decode(line: Mapping[str, Json], arrays: Mapping[str, np.ndarray]) -> StageResult:
    """The stage that `encode` wrote."""
    # The casts here and below name what encode() wrote.
    charges = cast(list[dict[str, Json]], line["charges"])
    losses = cast(list[dict[str, Json]], line["losses"])
    probe = cast(dict[str, list[Json]] | None, line["probe"])
    scored = "score_M" in arrays
    return StageResult(
        index=cast(int, line["index"]),
        round=cast(int, line["round"]),
        name=cast(str, line["name"]),
        plan_digest=cast(str, line["plan_digest"]),
        start=cast(str | None, line["start"]),
        checkpoint=cast(str, line["checkpoint"]),
        state_digest=cast(str, line["state_digest"]),
        steps=cast(int, line["steps"]),
        charges=tuple(_charge(charge) for charge in charges),
        losses=tuple(_loss(loss) for loss in losses),
        mix=tuple((str(name), int(n), int(f)) for name, n, f in cast(list[tuple[str, int, int]], line["mix"])),
        example_R=arrays["example_R"],
        supervision_R=arrays["supervision_R"],
        seen_R=arrays["seen_R"],
        loss_R=arrays["loss_R"],
        probe=None
        if probe is None
        else ProbeOutcomes(
            example_P=np.array(probe["example"], dtype=np.int32),
            condition_P=tuple(str(name) for name in probe["condition"]),
            solved_P=np.array(probe["solved"], dtype=bool),
            output_tokens_P=np.array(probe["output_tokens"], dtype=np.int32),
            loss_P=np.array([np.nan if loss is None else loss for loss in probe["loss"]], dtype=np.float64),
        ),
        score_M=arrays["score_M"] if scored else None,
        score_example_M=arrays["score_example_M"] if scored else None,
        score_supervision_M=arrays["score_supervision_M"] if scored else None,
        recipe=_recipe(cast(Mapping[str, Json], line.get("recipe", {}))),  # older lines have none
    )


def recipe_changes(recipe: Recipe) -> dict[str, Json]:
    """The fields of a recipe that are not their defaults, by name."""
    plain = dataclasses.asdict(Recipe())
    fields = dataclasses.asdict(recipe)
    return {name: cast(Json, value) for name, value in fields.items() if value != plain[name]}


def _recipe(fields: Mapping[str, Json]) -> Recipe:
    changes: dict[str, object] = dict(fields)
    if "components" in fields:
        changes["components"] = tuple(cast(list[str], fields["components"]))
    if "layers" in fields:
        changes["layers"] = tuple((student, teacher) for student, teacher in cast(list[list[int]], fields["layers"]))
    if "rollouts" in fields:
        rollouts = cast(dict[str, object], fields["rollouts"])
        changes["rollouts"] = dataclasses.replace(Rollouts(max_tokens=1), **rollouts)
    return dataclasses.replace(Recipe(), **changes)


def _charge(charge: Mapping[str, Json]) -> Charge:
    return Charge(
        purpose=cast(Purpose, charge["purpose"]),
        flops=cast(int, charge["flops"]),
        positions=cast(int, charge["positions"]),
        tokens=cast(int, charge["tokens"]),
    )


def _loss(loss: Mapping[str, Json]) -> TrainingLoss:
    return TrainingLoss(
        task=cast(str, loss["task"]),
        supervision=cast(str, loss["supervision"]),
        examples=cast(int, loss["examples"]),
        supervised_tokens=cast(int, loss["supervised_tokens"]),
        loss=cast(float, loss["loss"]),
        flops=cast(int, loss["flops"]),
    )


def row_arrays(result: StageResult) -> dict[str, np.ndarray]:
    """What is kept of a stage row by row, by name."""
    arrays: dict[str, np.ndarray] = {
        "example_R": result.example_R,
        "supervision_R": result.supervision_R,
        "seen_R": result.seen_R,
        "loss_R": result.loss_R,
    }
    if result.score_M is not None and result.score_example_M is not None and result.score_supervision_M is not None:
        arrays["score_M"] = result.score_M
        arrays["score_example_M"] = result.score_example_M
        arrays["score_supervision_M"] = result.score_supervision_M
    return arrays


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 of names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\0".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
