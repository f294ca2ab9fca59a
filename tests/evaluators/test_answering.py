"""Draws of how a student answers: deterministic, paired, and as wide as what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from evaluators.answering import Answering, Figure, answering_from_figures, answering_from_questions, interval95
from trainers.pricing.flops import ModelShape, generate_flops

SHAPE = ModelShape(layers=3, block_weights=600_000, attention_width=128, head_weights=33_000, parameters=660_000)


def test_questions_are_drawn_deterministically_and_in_pairs() -> None:
    rng = np.random.default_rng(1)
    correct_KQ = rng.random((3, 200)) < 0.7
    output_KQ = rng.integers(1, 60, size=(3, 200)).astype(np.int32)
    prompt_Q = rng.integers(5, 30, size=200).astype(np.int32)

    def draw(correct: np.ndarray, seed: int) -> Answering:
        return answering_from_questions(
            SHAPE, correct_KQ=correct, output_tokens_KQ=output_KQ, prompt_tokens_Q=prompt_Q, seed=seed, draws=400
        )

    first, again, other = draw(correct_KQ, 0), draw(correct_KQ, 0), draw(correct_KQ, 1)
    assert np.array_equal(first.accuracy_D, again.accuracy_D)
    assert not np.array_equal(first.accuracy_D, other.accuracy_D)
    exact = np.mean(
        [
            generate_flops(SHAPE, rows=1, prompt_length=int(prompt_Q[q]), new_tokens=int(output_KQ[k, q]))
            for k in range(3)
            for q in range(200)
        ]
    )
    assert first.flops_D[0] == pytest.approx(exact)
    interval = interval95(first.accuracy_D)
    assert interval is not None
    assert interval[0] < correct_KQ.mean() < interval[1]
    # What one student has right, the other has wrong, question by question: their draws mirror each other.
    assert first.accuracy_D + draw(~correct_KQ, 0).accuracy_D == pytest.approx(np.ones(401))


def test_a_bootstrap_of_one_run_has_the_binomial_spread() -> None:
    correct_KQ = np.arange(400)[None, :] < 100
    ones = np.ones((1, 400), dtype=np.int32)
    drawn = answering_from_questions(
        None, correct_KQ=correct_KQ, output_tokens_KQ=ones, prompt_tokens_Q=ones[0], seed=0
    )
    assert drawn.accuracy_D[1:].std() == pytest.approx(math.sqrt(0.25 * 0.75 / 400), rel=0.08)
    assert not drawn.flops_D.any()


def test_stated_intervals_come_back() -> None:
    drawn = answering_from_figures(
        SHAPE,
        accuracy=Figure(value=0.9, ci95=(0.7, 0.95)),
        output_tokens=Figure(value=40, ci95=(30, 80)),
        prompt_tokens=20,
        seed=0,
        draws=20_000,
    )
    assert interval95(drawn.accuracy_D) == pytest.approx((0.7, 0.95), abs=0.01)
    assert interval95(drawn.output_tokens_D) == pytest.approx((30, 80), abs=1.5)
    assert np.median(drawn.accuracy_D) == pytest.approx(0.9, abs=0.003)
    assert np.corrcoef(drawn.accuracy_D, drawn.output_tokens_D)[0, 1] == pytest.approx(0, abs=0.03)
    assert (np.diff(drawn.flops_D[np.argsort(drawn.output_tokens_D)]) >= 0).all()


@pytest.mark.parametrize("runs", [2, 3, 4])
def test_few_runs_are_as_far_apart_as_t_over_seeds_says(runs: int) -> None:
    """Seeds that answer every question alike, so that questions add no spread of their own to speak of."""
    right_K = [0.4, 0.5, 0.45, 0.55][:runs]
    questions = 4000
    correct_KQ = np.array([np.arange(questions) % 20 < 20 * right for right in right_K])
    ones = np.ones((runs, questions), dtype=np.int32)
    output_KQ = np.array([ones[0] * (10 + place) for place in range(runs)], dtype=np.int32)
    drawn = answering_from_questions(
        SHAPE, correct_KQ=correct_KQ, output_tokens_KQ=output_KQ, prompt_tokens_Q=ones[0], seed=0, draws=4000
    )
    half = stdtrit(runs - 1, 0.975) * np.std(right_K, ddof=1) / math.sqrt(runs)
    expected = (max(0.0, np.mean(right_K) - half), min(1.0, np.mean(right_K) + half))
    assert interval95(drawn.accuracy_D) == pytest.approx(expected, abs=0.06 * half + 0.01)
    assert drawn.output_tokens_D.min() >= 10 and drawn.output_tokens_D.max() <= 9 + runs
