"""What a recipe comes to on a student: which parts are trained, where gradients enter and end. No torch in here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from curricula.recipe import COMPONENTS, Component, Recipe
from trainers.jobs import StageError
from trainers.pricing.linear_layers import ModelShape
from trainers.pricing.step_price import StepPrice
from trainers.pricing.tuning import GradientPaths, Tuning


def lower_blocks(layers: int) -> int:
    """How many of a student's blocks are `lower`: the first half, the smaller one where their number is odd."""
    return layers // 2


def recipe_price(recipe: Recipe, *, shape: ModelShape, run: Tuning) -> StepPrice:
    """What a stage with that recipe pays for its micro-batches.

    Args:
        run: what the run as a whole trains.

    Raises:
        StageError: this student cannot be trained by that recipe.
    """
    return StepPrice(shape=shape, tuning=stage_tuning(run, recipe, shape), paths=gradient_paths(recipe, shape))


def stage_tuning(run: Tuning, recipe: Recipe, shape: ModelShape) -> Tuning:
    """What a stage trains of what its run does.

    Raises:
        StageError: the student has no such parts, or not apart; or no loss of the recipe reaches one of them.
    """
    whole = set(recipe.components) == set(COMPONENTS)
    if not shape.block and not (whole and _from_the_head(recipe)):
        raise StageError(
            "the student's architecture is not one of those in trainers/pricing/architectures.py, so only training all "
            "of it on text or logits has a price: leave components and detached out of the recipe, and hidden"
        )
    if not whole:
        _check_parts(run, recipe, shape)
    _check_reached(run, recipe, shape)
    if whole:
        return run
    half, named = lower_blocks(shape.layers), recipe.components
    lower = range(half if "lower" in named else 0)
    upper = range(half if "upper" in named else shape.layers, shape.layers)
    return dataclasses.replace(run, embeddings="embeddings" in named, head="head" in named, blocks=(*lower, *upper))


def gradient_paths(recipe: Recipe, shape: ModelShape) -> GradientPaths:
    """Where the losses of a recipe send gradients.

    Raises:
        StageError: a block is aligned that the student does not have.
    """
    for block, _ in recipe.layers:
        if block > shape.layers:
            raise StageError(f"layers aligns block {block} of the student, which has blocks 1 to {shape.layers}")
    return GradientPaths(
        head=bool(recipe.text or recipe.logits),
        aligned=tuple(block for block, _ in recipe.layers),
        detached_block=lower_blocks(shape.layers) if recipe.detached else None,
    )


def _from_the_head(recipe: Recipe) -> bool:
    return not recipe.detached and not recipe.hidden


def _check_parts(run: Tuning, recipe: Recipe, shape: ModelShape) -> None:
    named = recipe.components
    outside = [name for name in named if name in ("embeddings", "head")]
    if run.adapters is not None and outside:
        raise StageError(
            f"components names {' and '.join(outside)}, but this run trains adapters, and they stand in the blocks: "
            "name lower or upper, or all four"
        )
    if shape.tied and ("embeddings" in named) != ("head" in named):
        raise StageError(
            f"components names {outside[0]} alone, but this student's head is its embeddings: name both or neither"
        )
    if set(named) == {"lower"} and not lower_blocks(shape.layers):
        raise StageError("components names lower alone, but this student has one block, which is upper")


def _check_reached(run: Tuning, recipe: Recipe, shape: ModelShape) -> None:
    reached = set(_reached(gradient_paths(recipe, shape), shape))
    apart: tuple[Component, ...] = ("lower", "upper") if run.adapters is not None else COMPONENTS
    lost = [name for name in apart if name in recipe.components and name not in reached]
    if lost:
        named = [name for name in COMPONENTS if name in recipe.components and name not in lost]
        raise StageError(
            f"nothing would train {' and '.join(lost)}: no loss of this recipe sends a gradient there"
            + (f"; name components {', '.join(named)}" if named else "")
        )


def _reached(paths: GradientPaths, shape: ModelShape) -> Iterator[Component]:
    """The components that a loss reaches; no blocks are always reached."""
    half = lower_blocks(shape.layers)
    into_blocks = paths.reach(0) and paths.detached_block != 0
    if into_blocks or (shape.tied and paths.head):
        yield "embeddings"
    if paths.reach(0) or not half:
        yield "lower"
    if paths.reach(half):
        yield "upper"
    if paths.head or (shape.tied and into_blocks):
        yield "head"
