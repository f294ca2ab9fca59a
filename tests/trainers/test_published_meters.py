"""The meters of papers, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.pricing.architectures import Dimensions
from trainers.pricing.config_shape import config_shape, dimensions
from trainers.pricing.published_meters import (
    hoffmann_decode_flops,
    hoffmann_forward_flops,
    hoffmann_generate_flops,
    hoffmann_prefill_flops,
    hoffmann_train_flops,
    six_n_d_flops,
    two_n_flops,
)

QWEN25 = {"model_type": "qwen2", "num_key_value_heads": 2, "max_window_layers": 21, "sliding_window": 32768}
QWEN25_05B = {
    **QWEN25,
    **{"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24},
    **{"num_attention_heads": 14, "tie_word_embeddings": True},
}
QWEN25_3B = {
    **QWEN25,
    **{"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36},
    **{"num_attention_heads": 16, "tie_word_embeddings": True},
}
QWEN25_7B = {
    **QWEN25,
    **{"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28},
    **{"num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False},
}
SMALL = Dimensions(vocabulary=100, hidden=8, mlp_width=32, layers=2, heads=2, key_value_heads=1, head_width=4)


@pytest.mark.parametrize(
    ("config", "parameters", "ratios"),
    [
        (QWEN25_05B, 494_032_768, (1.18, 1.31, 1.85)),
        (QWEN25_3B, 3_085_938_688, (0.95, 1.02, 1.32)),
        (QWEN25_7B, 7_615_616_512, (0.84, 0.89, 1.05)),
    ],
)
def test_published_formula_over_two_n(config: dict[str, object], parameters: int, ratios: tuple[float, ...]) -> None:
    assert config_shape(config).parameters == parameters
    size = dimensions(config)
    for length, ratio in zip((512, 2048, 8192), ratios, strict=True):
        assert hoffmann_forward_flops(size, length) / two_n_flops(parameters, length) == pytest.approx(ratio, abs=0.006)


def test_embeddings_and_logits_are_half_of_the_smallest_students_forward_cost() -> None:
    size = dimensions(QWEN25_05B)
    ends = 2 * (2 * 512 * 151936 * 896)
    assert ends / hoffmann_forward_flops(size, 512) == pytest.approx(0.47, abs=0.005)


def test_forward_by_hand() -> None:
    embedding = logits = 2 * 10 * 100 * 8
    attention = 6 * 10 * 8 * 8 + 2 * 10 * 10 * 8 + 3 * 10 * 10 * 2 + 2 * 10 * 10 * 8 + 2 * 10 * 8 * 8
    mlp = 4 * 10 * 8 * 32
    assert hoffmann_forward_flops(SMALL, 10) == embedding + 2 * (attention + mlp) + logits
    assert hoffmann_prefill_flops(SMALL, 10) == embedding + 2 * (attention + mlp) + 2 * 100 * 8


def test_decode_by_hand() -> None:
    attention = 6 * 8 * 8 + 2 * 10 * 8 + 3 * 10 * 2 + 2 * 10 * 8 + 2 * 8 * 8
    step = 2 * 8 * 100 + 2 * (attention + 4 * 8 * 32) + 2 * 8 * 100
    assert hoffmann_decode_flops(SMALL, 10) == step
    slow = hoffmann_prefill_flops(SMALL, 7) + sum(hoffmann_decode_flops(SMALL, 7 + i) for i in (1, 2, 3))
    assert hoffmann_generate_flops(SMALL, prompt_length=7, new_tokens=3) == slow


def test_training_is_three_forward_passes_over_every_sequence() -> None:
    length_N = np.array([5, 10, 3])
    assert hoffmann_train_flops(SMALL, length_N) == 3 * sum(hoffmann_forward_flops(SMALL, n) for n in (5, 10, 3))


def test_six_n_d_and_two_n() -> None:
    assert six_n_d_flops(1000, 50) == 300_000
    assert two_n_flops(1000, 50) == 100_000
    assert six_n_d_flops(10, np.array([1, 2])).tolist() == [60, 120]
