"""Seconds of single answers, and which questions they are taken of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.latency import evenly, latency


def test_seconds_are_summed_up_by_median_and_the_one_that_nine_in_ten_keep() -> None:
    got = latency([5.0, 1.0, 2.0, 4.0, 3.0, 9.0, 7.0, 6.0, 8.0, 100.0], threads=2, device="cpu")
    assert (got.median_seconds, got.p90_seconds, got.answers) == (5.5, 9.0, 10)
    with pytest.raises(ValueError, match="no answers"):
        latency([], threads=1, device="cpu")


@given(st.integers(1, 300), st.integers(2, 40))
def test_questions_are_spread_from_the_first_to_the_last(questions: int, count: int) -> None:
    row_Q = np.arange(questions, dtype=np.int64) * 7
    rows = evenly(row_Q, count)
    assert len(rows) == min(questions, count)
    assert (rows[0], rows[-1]) == (row_Q[0], row_Q[-1])
    if len(rows) > 1:
        gaps = np.diff(rows) // 7
        assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1
