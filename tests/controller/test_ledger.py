"""The account: what is reserved fits, what is spent was reserved, what is left returns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger import Ledger, OverspentError, flops_by_purpose
from curricula.types import Charge

AMOUNT = st.integers(0, 10**12)


@given(total=AMOUNT, ceiling=AMOUNT, measure=AMOUNT, share=st.integers(1, 4))
def test_reservations_of_all_forks_fit_the_budget(total: int, ceiling: int, measure: int, share: int) -> None:
    reservation = Ledger(total_flops=total, charges=()).reserve(
        ceiling_flops=ceiling, measure_flops=measure, share=share
    )
    assert 0 <= reservation.train_flops <= ceiling
    if reservation.train_flops:
        assert share * (reservation.train_flops + measure) <= total


@given(total=AMOUNT, share_used=st.floats(0, 1))
def test_what_a_stage_leaves_returns_to_the_budget(total: int, share_used: float) -> None:
    ledger = Ledger(total_flops=total, charges=())
    reservation = ledger.reserve(ceiling_flops=total, measure_flops=0)
    used = int(share_used * reservation.train_flops)
    after = ledger.settle(reservation, [Charge(purpose="train", flops=used, positions=1)])
    assert after.remaining_flops == total - used


def test_evaluation_is_recorded_and_not_charged() -> None:
    charges = (
        Charge(purpose="train", flops=70, positions=1),
        Charge(purpose="probe", flops=20, positions=1),
        Charge(purpose="evaluate", flops=500, positions=1),
        Charge(purpose="features", flops=5, positions=1),
    )
    ledger = Ledger(total_flops=100, charges=charges)
    assert (ledger.spent_flops, ledger.remaining_flops) == (95, 5)
    assert flops_by_purpose(charges) == {"train": 70, "probe": 20, "features": 5}


@pytest.mark.parametrize("purpose", ["train", "probe", "features"])
def test_more_than_reserved_is_refused(purpose: str) -> None:
    ledger = Ledger(total_flops=100, charges=())
    reservation = ledger.reserve(ceiling_flops=50, measure_flops=10)
    with pytest.raises(OverspentError):
        ledger.settle(reservation, [Charge(purpose=purpose, flops=51, positions=1)])  # pyright: ignore[reportArgumentType]
