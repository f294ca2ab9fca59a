"""Stages that train parts of a student: the rest stays as it is, to the bit, and the price is what torch counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from curricula.recipe import COMPONENTS, Component, Recipe
from tests.trainers.stages import RATES, TUNINGS, stage_job, stage_trainer
from tests.trainers.stages import small_store as make_store
from tests.trainers.stores import random_store
from trainers.batches import BatchSizes
from trainers.checkpoint import load_state, trained_parameters
from trainers.collate import Batch, packed_pass, supervised_logits, token_losses
from trainers.components import component_parameters, decoder_blocks, trained_by
from trainers.jobs import StageError
from trainers.pricing.flop_residuals import (
    RANK,
    VOCABULARY,
    random_rows,
    small_config,
    small_model,
)
from trainers.pricing.linear_layers import ModelShape
from trainers.pricing.recipes import recipe_price
from trainers.pricing.shape import model_shape
from trainers.pricing.tuning import EVERYTHING, Adapters, Tuning, adapter_tuning
from trainers.schedule import Schedule
from trainers.stage import StageTrainer
from trainers.student import Student, load_student
from trainers.tokens import TokenStore

WHOLE = 4 * 10**9
LOWER: Recipe = Recipe(components=("lower",))
UPPER: Recipe = Recipe(components=("upper",))
SUBSETS = {
    "full": [LOWER, UPPER, Recipe(components=("embeddings", "head")), Recipe(components=("lower", "upper"))],
    "lora": [LOWER, UPPER],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return make_store(tmp_path_factory.mktemp("cache"))


def _component(parameter: str) -> Component:
    """Of a parameter of the smallest student, by its name: four blocks, tied embeddings."""
    if ".layers." in parameter:
        return "lower" if int(parameter.split(".layers.")[1].split(".")[0]) < 2 else "upper"
    return "embeddings" if "embed_tokens" in parameter else "head"


@pytest.mark.parametrize(
    ("name", "recipe"),
    [(name, recipe) for name, recipes in SUBSETS.items() for recipe in recipes],
    ids=lambda value: value if isinstance(value, str) else "+".join(value.components),
)
def test_what_a_recipe_does_not_name_keeps_every_bit_of_its_weights_and_moments(
    name: str, recipe: Recipe, store: TokenStore, tmp_path: Path
) -> None:
    trainer = stage_trainer(store, tmp_path, tuning=TUNINGS[name])
    trained = set(trained_parameters(trainer.student.model))
    first = trainer.train(stage_job(store, ceiling_flops=WHOLE, rate=RATES[name]))
    job = stage_job(store, ceiling_flops=WHOLE // 2, start=first, rate=RATES[name], recipe=recipe)
    second = trainer.train(job)
    assert second.steps > 1
    before, after = load_state(tmp_path / "first"), load_state(tmp_path / "second")
    assert before.tensors.keys() == after.tensors.keys() and before.frozen == after.frozen
    for tensor, value in after.tensors.items():
        named = _component(tensor) in recipe.components
        assert torch.equal(value, before.tensors[tensor]) is not named, tensor
    assert set(trained_parameters(trainer.student.model)) == trained
    assert load_state(tmp_path / "second").digest() == second.state_digest


def test_every_parameter_has_one_component_and_the_last_norm_is_the_heads() -> None:
    model = small_model(small_config("Llama"))
    names = {parameter: name for name, parameter in model.named_parameters()}
    parts = {
        component: {names[parameter] for parameter in parameters}
        for component, parameters in component_parameters(model).items()
    }
    assert parts["embeddings"] == {"model.embed_tokens.weight"}
    assert parts["head"] == {"model.norm.weight", "lm_head.weight"}
    assert all(name.startswith("model.layers.0.") for name in parts["lower"])  # the smaller half of three
    assert sum(len(part) for part in parts.values()) == len(names) == len(set().union(*parts.values()))
    positions = component_parameters(small_model(small_config("GPT-2")))["embeddings"]
    assert len(positions) == 2  # of tokens, which are the head too, and of positions


@pytest.mark.parametrize("name", TUNINGS)
def test_two_halves_of_a_recipe_equal_one_whole(name: str, store: TokenStore, tmp_path: Path) -> None:
    recipe = Recipe(components=("upper",), reasoning_weight=0.5)
    whole = stage_trainer(store, tmp_path / "whole", tuning=TUNINGS[name]).train(
        stage_job(store, ceiling_flops=WHOLE, rate=RATES[name], recipe=recipe)
    )
    halves = tmp_path / "halves"
    first = stage_trainer(store, halves, tuning=TUNINGS[name]).train(
        stage_job(store, ceiling_flops=WHOLE // 2, rate=RATES[name], recipe=recipe)
    )
    rest = stage_job(store, ceiling_flops=WHOLE - first.flops, start=first, rate=RATES[name], recipe=recipe)
    second = stage_trainer(store, halves, tuning=TUNINGS[name]).train(rest)
    assert 1 < first.steps < whole.steps == first.steps + second.steps
    assert second.state_digest == whole.state_digest


@pytest.mark.parametrize("name", TUNINGS)
def test_recomputation_beside_frozen_blocks_changes_no_bit(name: str, store: TokenStore, tmp_path: Path) -> None:
    outcomes = []
    for recompute in (False, True):
        tuning = dataclasses.replace(TUNINGS[name], recompute=recompute)
        trainer = stage_trainer(store, tmp_path / str(recompute), tuning=tuning)
        # So large a budget that the price does not move the schedule; and the same steps under both prices.
        job = stage_job(store, ceiling_flops=WHOLE, rate=RATES[name], recipe=UPPER, total_flops=10**15)
        steps, _ = trainer.plan(job, 0)
        outcomes.append(trainer.train(dataclasses.replace(job, ceiling_flops=sum(step.flops for step in steps[:2]))))
    kept, recomputed = outcomes
    assert kept.steps == recomputed.steps == 2
    assert kept.state_digest == recomputed.state_digest
    assert kept.flops < recomputed.flops


def test_a_stage_that_fails_gives_the_flags_back(
    store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = stage_trainer(store, tmp_path)
    trained = set(trained_parameters(trainer.student.model))

    def die(*arguments: object) -> torch.Tensor:
        assert set(trained_parameters(trainer.student.model)) < trained
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.trainer, "training_step", die)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(stage_job(store, ceiling_flops=WHOLE, recipe=LOWER))
    assert set(trained_parameters(trainer.student.model)) == trained


def _small_trainer(name: str, run: Tuning, folder: Path) -> StageTrainer:
    tokenizer = load_student("tiny-0.2m", seed=0, cache_dir=folder).tokenizer
    model = small_model(small_config(name))
    shape = model_shape(model)
    model = small_model(small_config(name), run.adapters)
    rng = np.random.default_rng(0)
    store = random_store(
        vocabulary=VOCABULARY,
        prompt_tokens=rng.integers(5, 40, 20).tolist(),
        target_tokens=rng.integers(2, 40, 20).tolist(),
    )
    return StageTrainer(
        student=Student(name="small", model=model, tokenizer=tokenizer),
        store=store,
        shape=shape,
        sizes=BatchSizes(step_tokens=300, micro_batch_tokens=400),
        schedule=Schedule(),
        checkpoints=folder,
        seed=0,
        tuning=run,
    )


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    ("name", "run"),
    [("Llama", EVERYTHING), ("Llama", adapter_tuning(rank=RANK)), ("SmolLM2 (grouped queries, tied)", EVERYTHING)],
    ids=["full", "lora", "tied"],
)
def test_a_stage_of_some_components_is_charged_what_torch_counts(
    name: str, run: Tuning, recompute: bool, tmp_path: Path
) -> None:
    recipes = [LOWER, UPPER, Recipe(components=("upper", "lower"))]
    if run.adapters is None and name == "Llama":
        recipes += [Recipe(components=(part,)) for part in ("embeddings", "head")]
        recipes += [Recipe(components=("embeddings", "lower")), Recipe(components=("upper", "head"), detached=True)]
    elif run.adapters is None:
        recipes += [Recipe(components=("embeddings", "upper", "head"), detached=cut) for cut in (False, True)]
    trainer = _small_trainer(name, dataclasses.replace(run, recompute=recompute), tmp_path)
    for recipe in recipes:
        trainer.held = None
        job = stage_job(trainer.store, ceiling_flops=6 * 10**8, rate=1e-3, recipe=recipe)
        with FlopCounterMode(display=False) as counter:
            outcome = trainer.train(job)
        assert outcome.steps
        assert outcome.flops == pytest.approx(counter.get_total_flops(), rel=0.01), recipe


def _deep_model(name: str, adapters: Adapters | None) -> PreTrainedModel:
    config = small_config(name)
    config.num_hidden_layers = 5
    return small_model(config, adapters)


def _loss(model: PreTrainedModel, batch: Batch, recipe: Recipe) -> torch.Tensor:
    """Text, and the squares of the aligned blocks' outputs at the supervised positions, summed."""
    blocks, states = decoder_blocks(model), []

    def keep(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        states.append(output)

    hooks = [blocks[number - 1].register_forward_hook(keep) for number, _ in recipe.layers]
    loss_H = token_losses(supervised_logits(model, batch), batch.label_H)
    for hook in hooks:
        hook.remove()
    loss = recipe.text * loss_H.sum() if recipe.text else torch.zeros(())
    for state in states:
        loss = loss + recipe.hidden * state.flatten(0, 1).index_select(0, batch.position_H).square().sum()
    return loss


def _aligned(
    *blocks: int, text: float = 1.0, detached: bool = True, components: Sequence[Component] = COMPONENTS
) -> Recipe:
    """A recipe that aligns some blocks of the student with whatever blocks of a teacher."""
    layers = tuple((block, block) for block in blocks)
    return Recipe(text=text, hidden=1.0, layers=layers, detached=detached, components=tuple(components))


ALIGNED = {
    "all, cut, at the cut": _aligned(2),
    "all, cut, below it": _aligned(1),
    "all, cut, on both sides": _aligned(1, 5),
    "all, not cut": _aligned(1, 4, detached=False),
    "upper and head, cut": _aligned(2, 4, components=("upper", "head")),
    "lower, cut": _aligned(2, components=("lower",)),
    "lower and head, cut": _aligned(1, components=("lower", "head")),
    "states alone, to the cut": _aligned(2, text=0.0, components=("embeddings", "lower")),
    "states alone, to the fourth": _aligned(4, text=0.0, detached=False, components=("lower", "upper")),
}


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("run", [EVERYTHING, adapter_tuning(rank=RANK)], ids=["full", "lora"])
@pytest.mark.parametrize("name", ["Llama", "GPT-2", "OLMo 2"])
def test_detached_and_aligned_blocks_cost_what_torch_counts(name: str, run: Tuning, recompute: bool) -> None:
    run = dataclasses.replace(run, recompute=recompute, marked_input=False)
    model, shape = _deep_model(name, run.adapters), model_shape(_deep_model(name, None))
    if recompute:
        model.activation_checkpointing_enable()
        model.disable_input_require_grads()
        model.train()
    micro_batch, batch = random_rows()
    for case, recipe in ALIGNED.items():
        parts = set(recipe.components)
        outside = parts & {"embeddings", "head"}
        if parts != set(COMPONENTS) and ((run.adapters is not None and outside) or (shape.tied and len(outside) == 1)):
            continue
        with trained_by(model, recipe), packed_pass(model, batch), FlopCounterMode(display=False) as counter:
            _loss(model, batch, recipe).backward()
        model.zero_grad()
        priced = recipe_price(recipe, shape=shape, run=run).flops(micro_batch)
        assert priced == pytest.approx(counter.get_total_flops(), rel=0.01), case


@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_what_is_cut_off_learns_from_its_own_states_alone(name: str) -> None:
    model, batch = _deep_model(name, None).eval(), random_rows()[1]
    lower, upper = (component_parameters(model)[part] for part in ("lower", "upper"))

    def gradients(recipe: Recipe, part: list[torch.nn.Parameter]) -> list[torch.Tensor]:
        model.zero_grad()
        with trained_by(model, recipe):
            return list(torch.autograd.grad(_loss(model, batch, recipe), part))

    both, states, text = _aligned(2), _aligned(2, text=0.0, detached=False), Recipe()
    for cut, alone in zip(gradients(both, lower), gradients(states, lower), strict=True):
        assert torch.equal(cut, alone) and cut.any()
    for cut, alone in zip(gradients(both, upper), gradients(text, upper), strict=True):
        assert torch.equal(cut, alone) and cut.any()
    uncut = gradients(_aligned(2, detached=False), lower)
    assert not any(torch.equal(one, cut) for one, cut in zip(uncut, gradients(both, lower), strict=True))


LLAMA = model_shape(small_model(small_config("Llama")))
TIED = model_shape(small_model(small_config("Qwen2")))
LORA = adapter_tuning(rank=RANK)
REFUSED = [
    (Recipe(components=("embeddings", "lower")), TIED, EVERYTHING, "its embeddings: name both or neither"),
    (Recipe(components=("upper", "head")), TIED, EVERYTHING, "components names head alone"),
    (Recipe(components=("upper", "head")), LLAMA, LORA, "components names head, but this run trains adapters"),
    (Recipe(components=("embeddings",), detached=True), LLAMA, EVERYTHING, "nothing would train embeddings"),
    (Recipe(detached=True), LLAMA, EVERYTHING, "nothing would train embeddings and lower: .* components upper, head"),
    (Recipe(detached=True), LLAMA, LORA, "nothing would train lower: .* name components embeddings, upper, head"),
    (_aligned(3), LLAMA, EVERYTHING, "nothing would train embeddings and lower"),
    (_aligned(1, text=0.0), LLAMA, EVERYTHING, "nothing would train upper and head"),
    (_aligned(4), LLAMA, EVERYTHING, "aligns block 4 of the student, which has blocks 1 to 3"),
    (LOWER, dataclasses.replace(LLAMA, layers=1, block_weights=LLAMA.block_weights // 3), EVERYTHING, "has one block"),
    (LOWER, dataclasses.replace(LLAMA, block=()), EVERYTHING, "only training all of it on text or logits has a price"),
]


@pytest.mark.parametrize(("recipe", "shape", "run", "message"), REFUSED, ids=[case[3][:30] for case in REFUSED])
def test_a_recipe_that_does_not_fit_the_student_is_refused(
    recipe: Recipe, shape: ModelShape, run: Tuning, message: str
) -> None:
    with pytest.raises(StageError, match=message):
        recipe_price(recipe, shape=shape, run=run)
