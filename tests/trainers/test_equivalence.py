"""Equivalent ways of training give one loss trajectory: bit for bit on a CPU in fp32, but for how a step is summed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainers.stages import RATES, TUNINGS, stage_job, stage_trainer
from tests.trainers.stages import small_store as make_store
from tests.trainers.stores import random_store
from trainers.batches import BatchSizes, Step
from trainers.jobs import StageOutcome
from trainers.stage import StageTrainer
from trainers.tokens import TokenStore

WHOLE = 8 * 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return make_store(tmp_path_factory.mktemp("cache"))


def _step_losses(trainer: StageTrainer, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list that every step's loss is put into, from now on."""
    losses: list[float] = []
    compute = trainer.trainer.training_step

    def training_step(model: torch.nn.Module, inputs: dict[str, Step], items: int | None = None) -> torch.Tensor:
        loss = compute(model, inputs, items)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(trainer.trainer, "training_step", training_step)
    return losses


@pytest.mark.parametrize("name", TUNINGS)
def test_two_halves_equal_one_whole_warm_or_cold_and_killed_or_not(
    name: str, store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning, rate = TUNINGS[name], RATES[name]
    trainer = stage_trainer(store, tmp_path / "whole", tuning=tuning)
    one_line = _step_losses(trainer, monkeypatch)
    whole = trainer.train(stage_job(store, ceiling_flops=WHOLE, rate=rate))
    warm = stage_trainer(store, tmp_path / "halves", tuning=tuning)
    warm_line = _step_losses(warm, monkeypatch)
    first = warm.train(stage_job(store, ceiling_flops=WHOLE // 2, rate=rate))
    rest = stage_job(store, ceiling_flops=WHOLE - first.flops, start=first, rate=rate)
    second = warm.train(rest)
    assert 1 < first.steps < whole.steps == first.steps + second.steps
    assert warm_line == one_line
    assert second.state_digest == whole.state_digest
    assert np.array_equal(first.seen_R + second.seen_R, whole.seen_R)
    assert first.flops + second.flops == whole.flops <= WHOLE

    killed = stage_trainer(store, tmp_path / "halves", tuning=tuning)
    killed_line = _step_losses(killed, monkeypatch)

    def die(step: int) -> None:
        compute = killed.trainer.training_step

        def training_step(model: torch.nn.Module, inputs: dict[str, Step], items: int | None = None) -> torch.Tensor:
            if len(killed_line) == step:
                raise KeyboardInterrupt
            return compute(model, inputs, items)

        monkeypatch.setattr(killed.trainer, "training_step", training_step)

    die(step=1)
    with pytest.raises(KeyboardInterrupt):
        killed.train(rest)
    cold = stage_trainer(store, tmp_path / "halves", tuning=tuning)
    cold_line = _step_losses(cold, monkeypatch)
    assert cold.train(rest).state_digest == whole.state_digest
    assert cold_line == one_line[first.steps :]
    assert killed_line == cold_line[:1]


@pytest.mark.parametrize("name", TUNINGS)
def test_eight_rows_at_once_equal_four_and_four_over_a_hundred_steps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At rates at which training does not amplify rounding; at ten times these it grows to 1e-3 of the loss."""
    store = random_store(vocabulary=200, prompt_tokens=[10] * 60, target_tokens=[6] * 60)
    rate = {"full": 3e-4, "lora": 1e-3}[name]
    lines = []
    for micro_batch_tokens in (128, 64):
        sizes = BatchSizes(step_tokens=128, micro_batch_tokens=micro_batch_tokens)
        trainer = stage_trainer(store, tmp_path / str(micro_batch_tokens), tuning=TUNINGS[name], sizes=sizes)
        line = _step_losses(trainer, monkeypatch)
        job = stage_job(store, ceiling_flops=10**11, rate=rate)
        steps, _ = trainer.plan(job, 0)
        assert {len(batch.row_B) for step in steps for batch in step.micro_batches} == {micro_batch_tokens // 16}
        ceiling = sum(step.flops for step in steps[:100])
        trainer.train(stage_job(store, ceiling_flops=ceiling, rate=rate))
        lines.append(np.array(line))
    assert len(lines[0]) == len(lines[1]) == 100
    assert lines[0] == pytest.approx(lines[1], rel=1e-5)
    assert lines[0][-1] < lines[0][0]


class SavedTensors:
    """Counts what a forward pass keeps for its backward pass."""

    def __init__(self) -> None:
        self.elements = 0

    def note(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count one tensor, and keep it as it is."""
        self.elements += tensor.numel()
        return tensor


@pytest.mark.parametrize("name", TUNINGS)
def test_recomputed_activations_change_the_price_and_no_bit(name: str, store: TokenStore, tmp_path: Path) -> None:
    tuning = TUNINGS[name]
    recompute = dataclasses.replace(tuning, recompute=True, marked_input=False)
    kept: dict[bool, int] = {}
    outcomes: dict[bool, StageOutcome] = {}
    for saving in (False, True):
        trainer = stage_trainer(store, tmp_path / str(saving), tuning=recompute if saving else tuning)
        # So large a budget that the price does not move the schedule.
        job = stage_job(store, ceiling_flops=WHOLE, rate=RATES[name], total_flops=10**15)
        steps, _ = trainer.plan(job, 0)
        saved = SavedTensors()
        with torch.autograd.graph.saved_tensors_hooks(saved.note, lambda tensor: tensor):
            outcomes[saving] = trainer.train(
                dataclasses.replace(job, ceiling_flops=sum(step.flops for step in steps[:3]))
            )
        kept[saving] = saved.elements
    assert outcomes[True].steps == outcomes[False].steps == 3
    assert outcomes[True].state_digest == outcomes[False].state_digest
    assert outcomes[True].flops > 1.2 * outcomes[False].flops
    assert kept[True] < 0.5 * kept[False]
