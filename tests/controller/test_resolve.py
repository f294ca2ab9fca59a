"""What a config leaves open is filled from the student and the device, and from nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from controller.config import RunConfig
from controller.resolve import LORA_RATE_FACTOR, NEAREST_KIND, SIZE_CLASSES, base_rates, resolve_student, run_tuning
from controller.tables import Identity
from curricula.policies import Fixed
from curricula.types import SUPERVISION_KINDS
from trainers.pricing.flops import ModelShape
from trainers.pricing.tuning import EVERYTHING

CONFIG = RunConfig(policy=Fixed(supervision="answer"))
LORA_CONFIG = dataclasses.replace(CONFIG, lora_rank=8)


def _identity(*, parameters: int = 135_000_000, device: str = "cpu") -> Identity:
    shape = ModelShape(layers=2, block_weights=1000, attention_width=8, head_weights=300, parameters=parameters)
    precision = "bf16" if device == "cuda" else "fp32"
    return Identity(name="x", digest="", shape=shape, positions=4096, device=device, precision=precision)


def _rates(config: RunConfig, identity: Identity) -> dict[str, float]:
    rates = resolve_student(config, identity).learning_rates
    assert rates is not None
    return rates


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("config", [CONFIG, LORA_CONFIG], ids=["full", "lora"])
def test_what_was_filled_is_not_filled_again(config: RunConfig, device: str) -> None:
    once = resolve_student(config, _identity(device=device))
    assert once.precision == ("bf16" if device == "cuda" else "fp32")
    assert (once.lora_alpha is None) == (once.lora_rank is None)
    assert resolve_student(once, _identity(device="cpu")) == once


def test_what_was_said_stands() -> None:
    said = dataclasses.replace(LORA_CONFIG, lora_alpha=7.0, precision="bf16", micro_batch_tokens=99)
    filled = resolve_student(said, _identity())
    assert (filled.lora_alpha, filled.precision, filled.micro_batch_tokens) == (7.0, "bf16", 99)
    own = dataclasses.replace(LORA_CONFIG, learning_rates={"answer": 1e-5})
    assert _rates(own, _identity())["answer"] == 1e-5


def test_adapters_of_a_pretrained_student_are_trained_at_ten_times_the_rate() -> None:
    full, lora = _rates(CONFIG, _identity()), _rates(LORA_CONFIG, _identity())
    assert lora == pytest.approx({kind: LORA_RATE_FACTOR * rate for kind, rate in full.items()})


def test_a_tuning_says_what_the_config_does() -> None:
    assert run_tuning(CONFIG) == EVERYTHING
    tuning = run_tuning(dataclasses.replace(LORA_CONFIG, activation_checkpointing=True))
    assert tuning.adapters is not None and tuning.adapters.rank == 8
    assert tuning.recompute and not tuning.embeddings and not tuning.head


def test_a_kind_that_was_not_gridded_takes_the_rate_of_the_nearest() -> None:
    for size, parameters in zip(SIZE_CLASSES, (399_999, 999_999, 1_000_000, 7_000_000_000), strict=True):
        rates = base_rates(parameters)
        for kind in SUPERVISION_KINDS:
            assert rates[kind] == size.rates[kind if kind in size.rates else NEAREST_KIND[kind]]
