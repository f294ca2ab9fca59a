"""Where memory runs out: smaller micro-batches, the same step at the same price, and a plain refusal of one row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from tests.trainers.stages import TUNINGS, small_store, stage_job, stage_trainer
from trainers.batches import cut, pack
from trainers.collate import Batch
from trainers.jobs import StageError
from trainers.objectives import objective
from trainers.pricing.flops import ModelShape
from trainers.pricing.step_price import StepPrice
from trainers.sft import is_out_of_memory
from trainers.tokens import TokenStore

WHOLE = 2 * 10**9
CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


class SmallMemory:
    """Computes logits of at most so many positions, and fails like a device beyond them, half way through a model."""

    def __init__(self, positions: int, error: type[RuntimeError]) -> None:
        self.positions, self.error, self.failures = positions, error, 0
        self.compute = objective.supervised_logits

    def __call__(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Logits (H, V)."""
        if batch.input_ids.numel() > self.positions:
            self.failures += 1
            raise self.error(CPU_MESSAGE)
        return self.compute(model, batch)


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
@pytest.mark.parametrize("name", TUNINGS)
def test_a_step_is_done_again_in_halves_from_unchanged_weights(
    name: str, error: type[RuntimeError], store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = stage_job(store, ceiling_flops=WHOLE)
    plain = stage_trainer(store, tmp_path / "a", tuning=TUNINGS[name])
    whole = plain.train(job)
    assert whole.memory_micro_batch_tokens is None
    memory = SmallMemory(200, error)
    monkeypatch.setattr(objective, "supervised_logits", memory)
    small = stage_trainer(store, tmp_path / "b", tuning=TUNINGS[name])
    halved = small.train(job)
    assert 1 <= memory.failures <= 2  # and from then on it knows
    assert halved.memory_micro_batch_tokens is not None and halved.memory_micro_batch_tokens <= 300
    assert (halved.steps, halved.flops, halved.positions) == (whole.steps, whole.flops, whole.positions)
    assert halved.tokens == whole.tokens
    assert np.array_equal(halved.seen_R, whole.seen_R)
    assert halved.loss_sum_R == pytest.approx(whole.loss_sum_R, rel=1e-3)
    for ours, theirs in zip(small.student.model.parameters(), plain.student.model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)


def test_one_row_without_memory_is_refused_in_one_line(
    store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "supervised_logits", SmallMemory(10, RuntimeError))
    with pytest.raises(StageError, match=r"no memory for a micro-batch of one row of \d+ tokens") as caught:
        stage_trainer(store, tmp_path).train(stage_job(store, ceiling_flops=WHOLE))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "first").exists()


def test_other_errors_are_not_taken_for_it(store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(objective, "supervised_logits", broken)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        stage_trainer(store, tmp_path).train(stage_job(store, ceiling_flops=WHOLE))


def test_an_allocation_that_fails_on_a_cpu_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 900))
def test_parts_hold_every_row_once_and_cost_no_more_than_the_whole(targets: list[int], micro_batch_tokens: int) -> None:
    tokens_R = np.array(targets, dtype=np.int32)
    length_R = tokens_R.astype(np.int64) + 10
    [whole] = pack(np.arange(len(targets)), length_R, tokens_R.astype(np.int64), micro_batch_tokens=10**6)
    parts = cut(whole, tokens_R, micro_batch_tokens=micro_batch_tokens)
    assert np.concatenate([part.row_B for part in parts]).tolist() == whole.row_B.tolist()
    assert all(len(part.row_B) == 1 or part.length_B.sum() <= micro_batch_tokens for part in parts)
    assert all(part.groups[0][0] == 0 and part.groups[-1][1] == len(part.row_B) for part in parts)
    assert all(part.head_positions >= part.supervised_tokens == tokens_R[part.row_B].sum() for part in parts)
    shape = ModelShape(layers=2, block_weights=5000, attention_width=16, head_weights=800, parameters=5800)
    price = StepPrice(shape=shape)
    assert sum(part.positions for part in parts) == whole.positions
    assert sum(price.flops(part) for part in parts) <= price.flops(whole)
