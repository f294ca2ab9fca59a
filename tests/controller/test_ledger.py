"""The account: what is reserved fits, what is spent was reserved, what is left returns; in every unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger import UNITS, OverspentError, Reservation, Spend, Unit
from curricula.types import Charge, Cost, Purpose
from tests.controller.worlds import fresh_ledger

AMOUNT = st.integers(0, 10**12)
UNIT = st.sampled_from(UNITS)


def _charge(purpose: Purpose, flops: int, tokens: int = 1) -> Charge:
    return Charge(purpose=purpose, flops=flops, positions=1, tokens=tokens)


@given(unit=UNIT, total=AMOUNT, ceiling=AMOUNT, flops=AMOUNT, tokens=AMOUNT, share=st.integers(1, 4))
def test_reservations_of_all_forks_fit_the_budget(
    unit: Unit, total: int, ceiling: int, flops: int, tokens: int, share: int
) -> None:
    reservation = fresh_ledger(total, unit).reserve(
        ceiling_flops=ceiling, measure=Cost(flops=flops, tokens=tokens), share=share
    )
    assert 0 <= reservation.train_flops <= ceiling
    assert reservation.train_flops == 0 or reservation.train > 0
    if reservation.train:
        assert share * (reservation.train + reservation.measure) <= total * (1 + 1e-9)


@given(unit=UNIT, total=st.integers(1, 10**12), share_used=st.floats(0, 1))
def test_what_a_stage_leaves_returns_to_the_budget(unit: Unit, total: int, share_used: float) -> None:
    ledger = fresh_ledger(total, unit)
    reservation = ledger.reserve(ceiling_flops=ledger.total_flops, measure=Cost())
    used = share_used * reservation.train
    flops = int(share_used * reservation.train_flops)
    seconds = {"seconds": used, "dollars": used / 0.02}.get(unit, 0.0)
    after = ledger.settle(reservation, [_charge("train", flops, int(used))], {"train": seconds})
    spent = {"flops": flops, "tokens": int(used)}.get(unit, used)
    assert after.remaining == pytest.approx(total - spent)


@given(unit=UNIT, stages=st.lists(st.tuples(AMOUNT, AMOUNT, st.floats(0, 1e6)), max_size=6), total=AMOUNT)
def test_all_units_are_recorded_and_one_binds(unit: Unit, stages: list[tuple[int, int, float]], total: int) -> None:
    ledger = fresh_ledger(total, unit)
    for flops, tokens, seconds in stages:
        ledger = ledger.charged([_charge("train", flops, tokens), _charge("evaluate", flops)], {"train": seconds})
    spent = ledger.total_spent
    assert spent.flops == sum(flops for flops, _, _ in stages)
    assert spent.tokens == sum(tokens for _, tokens, _ in stages)
    assert spent.seconds == pytest.approx(sum(seconds for _, _, seconds in stages))
    assert spent.dollars == pytest.approx(0.02 * spent.seconds)
    assert ledger.remaining == max(0, total - spent.of(unit))


@given(total=st.integers(1, 10**9), paid=st.integers(1, 10**9), flops=st.integers(1, 10**15))
def test_what_a_budget_comes_to_follows_what_was_paid_for_flops(total: int, paid: int, flops: int) -> None:
    fresh = fresh_ledger(total, "tokens")
    assert fresh.total_flops == 900 * total
    ledger = fresh.charged([_charge("train", flops, paid)], {})
    assert ledger.total_flops >= flops
    if paid >= total:
        assert ledger.total_flops == flops  # so that progress is 1
    else:
        assert ledger.total_flops == pytest.approx(flops * total / paid, abs=2)


def test_evaluation_is_recorded_and_not_charged() -> None:
    charges = [_charge("train", 70), _charge("probe", 20), _charge("evaluate", 500), _charge("features", 5)]
    ledger = fresh_ledger(100).charged(charges, {"train": 2.0, "evaluate": 9.0})
    assert (ledger.total_spent.flops, ledger.remaining) == (95, 5)
    assert {purpose: spend.flops for purpose, spend in ledger.spent.items()} == {
        "train": 70,
        "probe": 20,
        "features": 5,
        "evaluate": 500,
    }
    assert ledger.total_spent.seconds == 2.0
    assert ledger.spent["evaluate"] == Spend(flops=500, tokens=1, seconds=9.0, dollars=0.18)


@pytest.mark.parametrize("purpose", ["train", "probe", "features"])
@pytest.mark.parametrize("unit", ["flops", "tokens"])
def test_more_than_reserved_is_refused(unit: Unit, purpose: Purpose) -> None:
    reservation = Reservation(train_flops=50, measure_flops=10, train=50, measure=10)
    charge = _charge(purpose, 51) if unit == "flops" else _charge(purpose, 1, tokens=51)
    with pytest.raises(OverspentError):
        fresh_ledger(100, unit).settle(reservation, [charge], {})


def test_measurements_are_expected_at_their_own_speed_once_it_is_known() -> None:
    work = Cost(flops=9_000)
    ledger = fresh_ledger(100, "seconds")
    assert ledger.expected(work) == pytest.approx(0.1)
    assert ledger.expected(work, measuring=True) > ledger.expected(work)
    ledger = ledger.charged([_charge("train", 10**6), _charge("probe", 10**4)], {"train": 20.0, "probe": 5.0})
    assert ledger.expected(work) == pytest.approx(0.18)
    assert ledger.expected(work, measuring=True) == pytest.approx(4.5)
    dollars = fresh_ledger(2, "dollars")
    assert dollars.expected(work) == pytest.approx(0.1 * dollars.budget.dollars_per_second * 90_000 * 50 / 4_500_000)
