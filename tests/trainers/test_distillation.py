"""A stage with a teacher: its losses are what they are said to be, it learns, costs what torch counts, and replays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from curricula.recipe import Recipe
from tests.trainers.stages import LORA, small_store, stage_job, stage_trainer
from trainers.batches import MicroBatch
from trainers.collate import Batch, Rows, collate
from trainers.jobs import StageError, StageJob
from trainers.objectives.alignment import projection
from trainers.objectives.distillation import recipe_objective
from trainers.objectives.objective import Losses, text_losses
from trainers.pricing.tuning import EVERYTHING, Tuning
from trainers.stage import StageTrainer
from trainers.tokens import IGNORED_LABEL, TokenStore

WHOLE = 30 * 10**9
TEACHER = "tiny-3m"  # of another width than the student
RECIPES = {
    "logits": Recipe(text=0.0, logits=1.0),
    "hidden": Recipe(text=0.0, hidden=1.0, layers=((1, 2), (2, 3)), components=("embeddings", "lower", "head")),
    "apart": Recipe(text=0.0, logits=1.0, hidden=1.0, layers=((2, 3),), detached=True, divergence="reverse"),
    "all": Recipe(text=0.5, logits=2.0, hidden=3.0, layers=((4, 1),), divergence="jensen_shannon", temperature=2.0),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


def _batch(trainer: StageTrainer, job: StageJob) -> tuple[MicroBatch, Batch]:
    """The first micro-batch of a job."""
    planned = trainer.plan(job, 0)[0][0].micro_batches[0]
    rows = Rows(store=trainer.store, example_R=job.example_R, supervision_R=job.supervision_R)
    return planned, collate(rows, planned, pad_id=0, device=torch.device("cpu"))


def _losses(trainer: StageTrainer, recipe: Recipe, batch: Batch) -> Losses:
    model = trainer.student.model.eval()
    return recipe_objective(recipe, teacher=trainer.teacher, student=model, seed=3)(model, batch)


def _seen(model: PreTrainedModel, ids: list[int], prompt_tokens: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits and all hidden states where the target is predicted, by the model's own forward pass over one row."""
    output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    where = slice(prompt_tokens - 1, len(ids) - 1)
    return output.logits[0, where], [state[0, where] for state in output.hidden_states]


def test_the_loss_is_the_weighted_sum_of_text_divergence_and_distance(store: TokenStore, tmp_path: Path) -> None:
    """The slow obvious twin: row by row, the head everywhere, states as the model itself hands them out."""
    trainer = stage_trainer(store, tmp_path, teacher=TEACHER)
    assert trainer.teacher is not None
    job = stage_job(store, ceiling_flops=WHOLE)
    recipe = Recipe(text=0.5, logits=2.0, hidden=3.0, layers=((1, 3), (2, 2)), divergence="reverse", temperature=2.0)
    planned, batch = _batch(trainer, job)
    ours = _losses(trainer, recipe, batch)
    matrix = projection(teacher_width=256, student_width=64, seed=3, device=torch.device("cpu"))
    assert matrix is not None
    expected = []
    for row in planned.row_B.tolist():
        prompt = store.prompt(int(job.example_R[row])).tolist()
        target = store.target(int(job.example_R[row]), int(job.supervision_R[row])).tolist()
        with torch.no_grad():
            logits, states = _seen(trainer.student.model, prompt + target, len(prompt))
            teacher_logits, teacher_states = _seen(trainer.teacher.model, prompt + target, len(prompt))
        nats = F.cross_entropy(logits, torch.tensor(target), reduction="none")
        log_q, log_p = F.log_softmax(logits / 2, -1), F.log_softmax(teacher_logits / 2, -1)
        divergence = 4 * (log_q.exp() * (log_q - log_p)).sum(-1)
        distance = torch.stack(
            [
                (_unit(states[mine]) - _unit(teacher_states[theirs] @ matrix)).square().mean(-1)
                for mine, theirs in recipe.layers
            ]
        ).mean(0)
        expected.append(0.5 * nats + 2 * divergence + 3 * distance)
    assert torch.allclose(ours.loss_H[batch.label_H != IGNORED_LABEL], torch.cat(expected), rtol=1e-4, atol=1e-4)
    assert (ours.loss_H[batch.label_H == IGNORED_LABEL] == 0).all()


def _unit(state: torch.Tensor) -> torch.Tensor:
    return state / state.square().mean(-1, keepdim=True).sqrt()


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_reported_is_the_nats_of_the_target_whatever_is_learnt_from(
    name: str, store: TokenStore, tmp_path: Path
) -> None:
    trainer = stage_trainer(store, tmp_path, teacher=TEACHER)
    _, batch = _batch(trainer, stage_job(store, ceiling_flops=WHOLE))
    losses = _losses(trainer, RECIPES[name], batch)
    assert torch.allclose(losses.nats_H, text_losses(trainer.student.model, batch).nats_H)
    assert not losses.nats_H.requires_grad and losses.loss_H.requires_grad


@pytest.mark.parametrize(
    ("name", "tuning"), [*((name, EVERYTHING) for name in RECIPES), ("all", LORA), ("apart", Tuning(recompute=True))]
)
def test_a_stage_with_a_teacher_costs_what_torch_counts(
    name: str, tuning: Tuning, store: TokenStore, tmp_path: Path
) -> None:
    trainer = stage_trainer(store, tmp_path, teacher=TEACHER, tuning=tuning)
    assert trainer.teacher is not None
    for model in (trainer.student.model, trainer.teacher.model):
        model.set_attn_implementation("eager")  # the counter sees no other on a CPU
    job = stage_job(store, ceiling_flops=WHOLE // 4, recipe=RECIPES[name])
    with FlopCounterMode(display=False) as counter:
        outcome = trainer.train(job)
    assert outcome.steps >= 1
    assert outcome.flops == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("name", RECIPES)
def test_a_stage_with_a_teacher_learns_replays_and_leaves_the_teacher_as_it_was(
    name: str, store: TokenStore, tmp_path: Path
) -> None:
    recipe = RECIPES[name]
    trainer = stage_trainer(store, tmp_path / "whole", teacher=TEACHER)
    assert trainer.teacher is not None
    teacher_before = {key: weight.clone() for key, weight in trainer.teacher.model.state_dict().items()}
    job = stage_job(store, ceiling_flops=WHOLE, recipe=recipe)
    _, batch = _batch(trainer, job)
    before = _losses(trainer, recipe, batch).loss_H.sum().item()
    whole = trainer.train(job)
    assert _losses(trainer, recipe, batch).loss_H.sum().item() < 0.9 * before
    assert all(torch.equal(weight, teacher_before[key]) for key, weight in trainer.teacher.model.state_dict().items())

    first = stage_trainer(store, tmp_path / "halves", teacher=TEACHER).train(
        dataclasses.replace(job, ceiling_flops=WHOLE // 2)
    )
    rest = stage_job(store, ceiling_flops=WHOLE - first.flops, start=first, recipe=recipe)
    assert 1 < first.steps < whole.steps
    cold = stage_trainer(store, tmp_path / "halves", teacher=TEACHER)
    assert cold.train(rest).state_digest == whole.state_digest


def test_a_teacher_that_is_not_asked_costs_nothing_and_changes_no_bit(store: TokenStore, tmp_path: Path) -> None:
    job = stage_job(store, ceiling_flops=WHOLE // 10)
    alone = stage_trainer(store, tmp_path / "alone").train(job)
    beside = stage_trainer(store, tmp_path / "beside", teacher=TEACHER).train(job)
    assert (beside.flops, beside.state_digest) == (alone.flops, alone.state_digest)


def test_recomputed_activations_change_no_bit_of_what_a_teacher_taught(store: TokenStore, tmp_path: Path) -> None:
    digests = []
    for recompute in (False, True):
        tuning = Tuning(recompute=recompute, marked_input=False)
        trainer = stage_trainer(store, tmp_path / str(recompute), teacher=TEACHER, tuning=tuning)
        job = stage_job(store, ceiling_flops=WHOLE, total_flops=10**15, recipe=RECIPES["all"])
        steps, _ = trainer.plan(job, 0)
        digests.append(trainer.train(dataclasses.replace(job, ceiling_flops=steps[0].flops)).state_digest)
    assert digests[0] == digests[1]


def test_bf16_reaches_the_teacher_too(store: TokenStore, tmp_path: Path) -> None:
    trainer = stage_trainer(store, tmp_path, teacher=TEACHER)
    _, batch = _batch(trainer, stage_job(store, ceiling_flops=WHOLE))
    exact = _losses(trainer, RECIPES["all"], batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = _losses(trainer, RECIPES["all"], batch)
    assert rounded.loss_H.dtype == torch.float32
    assert not torch.equal(rounded.loss_H, exact.loss_H)
    assert torch.allclose(rounded.loss_H.sum(), exact.loss_H.sum(), rtol=0.03)


@pytest.mark.parametrize(
    ("teacher", "recipe", "message"),
    [
        (None, RECIPES["logits"], "asks for a teacher's logits, .* name one with --white_box_teacher"),
        (None, RECIPES["hidden"], "asks for a teacher's hidden states"),
        (TEACHER, Recipe(hidden=1.0, layers=((1, 5),)), "aligns block 5 of teacher 'tiny-3m', which has blocks 1 to 4"),
    ],
)
def test_a_recipe_that_the_run_cannot_serve_is_refused_before_anything_is_trained(
    teacher: str | None, recipe: Recipe, message: str, store: TokenStore, tmp_path: Path
) -> None:
    trainer = stage_trainer(store, tmp_path, teacher=teacher)
    with pytest.raises(StageError, match=message):
        trainer.train(stage_job(store, ceiling_flops=WHOLE, recipe=recipe))
    assert trainer.held is None and not (tmp_path / "first").exists()
