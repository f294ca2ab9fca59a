"""A probe's parts put together."""

from __future__ import annotations

import numpy as np

from evaluators.probe import Answers, assemble


def test_a_probe_whose_examples_offer_nothing_asked_for_is_empty() -> None:
    outcomes = assemble(generated=[], forced=[])
    assert len(outcomes.example_P) == len(outcomes.condition_P) == len(outcomes.solved_P) == len(outcomes.loss_P) == 0


def test_generated_rows_have_tokens_and_forced_rows_losses() -> None:
    answers = Answers(
        example_Q=np.array([40, 41]),
        text_Q=("7", "8"),
        correct_Q=np.array([True, False]),
        parsed_Q=np.ones(2, dtype=bool),
        ungraded_Q=("", "ValueError: no number in it"),
        output_tokens_Q=np.array([2, 3], dtype=np.int32),
        truncated_Q=np.zeros(2, dtype=bool),
    )
    probed = np.array([0, 1], dtype=np.int32)
    forced = ("answer", probed[1:], np.array([0.5]), np.array([True]))
    outcomes = assemble(generated=[("free", probed, answers)], forced=[forced])
    assert outcomes.example_P.tolist() == [0, 1, 1]
    assert outcomes.condition_P == ("free", "free", "answer")
    assert outcomes.solved_P.tolist() == [True, False, True]
    assert outcomes.output_tokens_P.tolist() == [2, 3, -1]
    assert np.isnan(outcomes.loss_P[:2]).all()
    assert outcomes.loss_P[2] == 0.5
