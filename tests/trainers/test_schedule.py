"""The rate as a function of budget progress."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.schedule import Schedule


@given(st.floats(0, 1), st.sampled_from(["wsd", "cosine"]))
def test_factor_lies_between_zero_and_one(progress: float, kind: str) -> None:
    schedule = Schedule(kind="wsd" if kind == "wsd" else "cosine")
    assert 0 < schedule.factor(progress) <= 1


def test_wsd_rises_stays_and_falls_to_its_floor() -> None:
    schedule = Schedule(kind="wsd", warmup=0.1, decay=0.5, floor=0.1)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.1) == schedule.factor(0.49) == 1
    assert schedule.factor(0.75) == pytest.approx(0.55)
    assert schedule.factor(1.0) == pytest.approx(0.1)


def test_cosine_ends_at_its_floor_and_is_half_way_in_the_middle() -> None:
    schedule = Schedule(kind="cosine", warmup=0.0, decay=0.0, floor=0.2)
    assert schedule.factor(0.5) == pytest.approx(0.6)
    assert schedule.factor(1.0) == pytest.approx(0.2)


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"decay=0\.9"):
        Schedule(warmup=0.2, decay=0.9)
