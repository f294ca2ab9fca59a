"""Training in bf16: products only; what is kept, and what is measured, is fp32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainers.stages import RATES, TUNINGS, small_store, stage_job, stage_trainer
from trainers.checkpoint import load_state
from trainers.process import default_precision
from trainers.tokens import TokenStore

WHOLE = 8 * 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", TUNINGS)
def test_bf16_follows_fp32_and_keeps_fp32_weights_and_moments(name: str, store: TokenStore, tmp_path: Path) -> None:
    job = stage_job(store, ceiling_flops=WHOLE, rate=RATES[name])
    plain = stage_trainer(store, tmp_path / "a", tuning=TUNINGS[name]).train(job)
    trainer = stage_trainer(store, tmp_path / "b", tuning=TUNINGS[name], precision="bf16")
    gradients: set[torch.dtype] = set()
    for parameter in trainer.student.model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda weight: gradients.add(weight.grad.dtype))
    rough = trainer.train(job)
    assert gradients == {torch.float32}
    state = load_state(tmp_path / "b" / "first")
    assert {tensor.dtype for tensor in state.tensors.values()} == {torch.float32}
    assert rough.state_digest != plain.state_digest
    assert (rough.steps, rough.flops) == (plain.steps, plain.flops)
    assert rough.loss_sum_R.sum() == pytest.approx(plain.loss_sum_R.sum(), rel=0.01)


def test_a_cpu_promises_to_repeat_itself_unless_told_otherwise() -> None:
    assert torch.cuda.is_available() or default_precision() == "fp32"
