"""Steps on rollouts: priced as they are computed, and drawn as text is."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from curricula.recipe import COMPONENTS, Component, Divergence
from tests.trainers.rollouts import (
    REVERSE,
    TUNED,
    one_step,
    random_stage,
)
from tests.trainers.stages import SEED
from trainers.batches import draw_rows
from trainers.pricing.flop_residuals import small_config, small_model
from trainers.pricing.shape import model_shape
from trainers.pricing.tuning import EVERYTHING
from trainers.rollouts.price import RolloutPrice, RolloutSize
from trainers.rollouts.steps import RolloutStep, rollout_steps, rows_per_step


def _added_product(_: torch.Size, left: torch.Size, right: torch.Size, *, out_shape: torch.Size) -> int:
    return 2 * left[0] * left[1] * right[1]


@pytest.mark.parametrize(
    ("name", "tuned", "divergence", "components"),
    [
        *(("Llama", tuned, "reverse", COMPONENTS) for tuned in TUNED),
        ("Llama", "full", "reverse", ("upper", "head")),
        ("Llama", "LoRA", "reverse", ("upper",)),
        ("SmolLM2 (grouped queries, tied)", "full", "forward", COMPONENTS),
        ("Llama", "full", "jensen_shannon", COMPONENTS),
        ("Gemma 2", "full", "reverse", COMPONENTS),
        ("GPT-2", "full", "reverse", COMPONENTS),
    ],
)
def test_a_stage_is_charged_what_torch_counts_and_never_less(
    name: str, tuned: str, divergence: Divergence, components: tuple[Component, ...], tmp_path: Path
) -> None:
    recipe = dataclasses.replace(REVERSE, divergence=divergence, components=components)
    trainer, job = random_stage(name, tmp_path, recipe=recipe, tuning=TUNED[tuned])
    # Gradients of the head are added up in place, by a product that torch's counter does not know.
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _added_product}) as counter:
        outcome = trainer.train(job)
    assert outcome.steps > 1
    assert outcome.flops == pytest.approx(counter.get_total_flops(), rel=0.001)
    assert outcome.flops >= counter.get_total_flops()


@pytest.mark.parametrize("name", ["full", "LoRA"])
def test_recomputed_activations_change_the_price_and_no_bit(name: str, tmp_path: Path) -> None:
    outcomes = []
    for tuned in (name, f"{name}, recomputing"):
        trainer, job = random_stage("Llama", tmp_path / tuned, tuning=TUNED[tuned])
        outcomes.append(trainer.train(one_step(trainer, job)))
    plain, recomputed = outcomes
    assert plain.steps == recomputed.steps == 1
    assert plain.state_digest == recomputed.state_digest
    assert plain.flops < recomputed.flops


def test_steps_take_the_rows_that_text_would_and_have_random_numbers_of_their_own() -> None:
    price = RolloutPrice(
        student=model_shape(small_model(small_config("Llama"))),
        teacher=model_shape(small_model(small_config("GPT-2"))),
        tuning=EVERYTHING,
        divergence="reverse",
    )
    prompts_R, share_R = np.arange(5, 25), np.linspace(1.0, 2.0, 20)
    assert rows_per_step(prompts_R, max_tokens=10, step_tokens=100) == 4
    assert rows_per_step(prompts_R, max_tokens=200, step_tokens=100) == 1

    def taken(drawn: int, count: int) -> list[RolloutStep]:
        steps = rollout_steps(
            prompt_tokens_R=prompts_R,
            share_R=share_R,
            rows=3,
            max_tokens=10,
            price=price,
            seed=SEED,
            key="plan",
            drawn=drawn,
        )
        return list(itertools.islice(steps, count))

    whole = taken(0, 30)
    order = itertools.chain.from_iterable(draw_rows(share_R, seed=SEED, key="plan", drawn=0))
    assert [row for step in whole for row in step.row_B.tolist()] == [int(row) for row in itertools.islice(order, 90)]
    assert [(step.row_B.tolist(), step.seed) for step in taken(15, 25)] == [
        (step.row_B.tolist(), step.seed) for step in whole[5:]
    ]
    assert len({step.seed for step in whole}) == 30
    for step in whole:
        size = RolloutSize(rows=3, prompt_length=int(prompts_R[step.row_B].max()), written_length=10, written_tokens=30)
        assert step.worst_flops == price.flops(size)
        smaller = dataclasses.replace(size, written_length=9, written_tokens=20)
        assert price.flops(smaller) < step.worst_flops
