"""The one account of compute. A budget is never overspent: what may be spent is reserved before it is spent.

A budget has one unit, in which it binds; all four are recorded. FLOPs and tokens are counted exactly, beforehand.
Seconds are the clock's, and dollars a price times them: there a reservation is an estimate, and what was begun in time
may end after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from curricula.types import BUDGET_PURPOSES, Charge, Cost, Purpose
from trainers.jobs import Allowance

Unit = Literal["flops", "tokens", "seconds", "dollars"]
UNITS: tuple[Unit, ...] = ("flops", "tokens", "seconds", "dollars")
UNIT_NAMES: Mapping[Unit, str] = {"flops": "FLOPs", "tokens": "tokens", "seconds": "seconds", "dollars": "dollars"}

MEASURING_SPEED = 0.1
"""Of training's FLOPs a second: what generating is taken to reach until it was measured. Better too little: a
reservation gives back what is not used."""


class OverspentError(RuntimeError):
    """Work cost more than was reserved for it: the meter or the planner is wrong, and the run must not go on."""


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What was used of something, in every unit.

    Example:
        Spend(flops=3 * 10**12, tokens=800_000, seconds=61.5, dollars=0.0009)
    """

    flops: int = 0
    tokens: int = 0  # unpadded
    seconds: float = 0.0  # of workers; of several side by side each counts
    dollars: float = 0.0

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            flops=self.flops + other.flops,
            tokens=self.tokens + other.tokens,
            seconds=self.seconds + other.seconds,
            dollars=self.dollars + other.dollars,
        )

    def of(self, unit: Unit) -> float:
        """The amount in one unit."""
        amounts: dict[Unit, float] = {
            "flops": self.flops,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "dollars": self.dollars,
        }
        return amounts[unit]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may spend, in one unit.

    Example:
        Budget(unit="seconds", total=600.0, flops_per_unit=4e10, dollars_per_second=1.4e-5)
    """

    unit: Unit
    total: float  # a whole number of FLOPs or tokens
    flops_per_unit: float = 1.0  # what one unit is likely to buy, before anything was spent
    dollars_per_second: float = 0.0  # of one worker

    @property
    def by_clock(self) -> bool:
        """Whether it is spent by time passing."""
        return self.unit in ("seconds", "dollars")

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.total:.3g} {UNIT_NAMES[self.unit]}"


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What one stage may spend: a ceiling for training, and the worst case of its measurements beside it.

    In FLOPs always, in which the plan is made; and in the budget's unit, by the clock an estimate.

    Example:
        Reservation(train_flops=9 * 10**11, measure_flops=10**10, train=9 * 10**11, measure=10**10)
    """

    train_flops: int
    measure_flops: int  # probes and bought features
    train: float
    measure: float


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A budget and what was spent, by purpose.

    Example:
        Ledger(budget=Budget(unit="flops", total=4 * 10**12), spent={"train": Spend(flops=10**12)})
    """

    budget: Budget
    spent: Mapping[Purpose, Spend] = field(default_factory=dict)

    @property
    def total_spent(self) -> Spend:
        """Charged to the budget."""
        return _sum(self.spent[purpose] for purpose in BUDGET_PURPOSES if purpose in self.spent)

    @property
    def remaining(self) -> float:
        """Left in the budget, in its unit; never below 0, though a clock may have passed it."""
        return max(0, self.budget.total - self.total_spent.of(self.budget.unit))

    @property
    def total_flops(self) -> int:
        """What the budget comes to in FLOPs: of another unit an estimate, by what the run paid for FLOPs so far."""
        if self.budget.unit == "flops":
            return int(self.budget.total)
        spent = self.total_spent
        paid = spent.of(self.budget.unit)
        rate = spent.flops / paid if paid and spent.flops else self.budget.flops_per_unit
        return max(1, spent.flops + int(self.remaining * rate))

    @property
    def training_flops_per_second(self) -> float:
        """Speed of training in this run; as measured before it, while there was none."""
        spent = self.spent.get("train", Spend())
        if spent.flops and spent.seconds:
            return spent.flops / spent.seconds
        seconds_per_unit = 1.0 if self.budget.unit == "seconds" else 1.0 / self.budget.dollars_per_second
        return self.budget.flops_per_unit / seconds_per_unit

    def reserve(self, *, ceiling_flops: int, measure: Cost, share: int = 1) -> Reservation:
        """Grant a stage as much of its ceiling as fits beside its measurements.

        Args:
            measure: FLOPs and tokens of the measurements at their worst.
            share: stages planned side by side, each of which may reserve this fraction of what is left.
        """
        worst = self.expected(measure, measuring=True)
        part = self.remaining / share if self.budget.by_clock else self.remaining // share
        train = max(0, part - worst)
        if self.budget.unit == "flops":
            train = min(ceiling_flops, train)
        return Reservation(
            train_flops=int(train) if self.budget.unit == "flops" else ceiling_flops if train else 0,
            measure_flops=measure.flops,
            train=train,
            measure=worst,
        )

    def expected(self, work: Cost, *, measuring: bool = False) -> float:
        """What work of known FLOPs and tokens takes, in the budget's unit; by the clock an estimate."""
        if self.budget.unit == "flops":
            return work.flops
        if self.budget.unit == "tokens":
            return work.tokens
        speed = self.training_flops_per_second
        if measuring:
            done = _sum(self.spent.get(purpose, Spend()) for purpose in ("probe", "features"))
            speed = done.flops / done.seconds if done.flops and done.seconds else MEASURING_SPEED * speed
        seconds = work.flops / speed
        return seconds if self.budget.unit == "seconds" else seconds * self.budget.dollars_per_second

    def allowance(self, reservation: Reservation) -> Allowance | None:
        """What a trainer has to keep to beside the ceiling in FLOPs: tokens, or seconds; nothing of FLOPs."""
        if self.budget.unit == "flops":
            return None
        spent = self.total_spent.of(self.budget.unit)
        if self.budget.unit == "tokens":
            return Allowance(unit="tokens", ceiling=reservation.train, spent=spent, total=self.budget.total)
        units = 1.0 if self.budget.unit == "seconds" else self.budget.dollars_per_second  # of a second
        return Allowance(
            unit="seconds",
            ceiling=reservation.train / units,
            spent=spent / units,
            total=self.budget.total / units,
            flops_per_second=self.training_flops_per_second,
        )

    def settle(self, reservation: Reservation, charges: Sequence[Charge], seconds: Mapping[Purpose, float]) -> Ledger:
        """The ledger after a stage; what it left of its reservation is free again.

        Raises:
            OverspentError: it spent more FLOPs than it reserved, or more tokens of a budget in tokens.
        """
        new = spend_by_purpose(charges, seconds, dollars_per_second=self.budget.dollars_per_second)
        trained, measured = new["train"], new["probe"] + new["features"]
        _check("FLOPs", trained.flops, reservation.train_flops, measured.flops, reservation.measure_flops)
        if self.budget.unit == "tokens":
            _check("tokens", trained.tokens, reservation.train, measured.tokens, reservation.measure)
        return self.charged(charges, seconds)

    def charged(self, charges: Sequence[Charge], seconds: Mapping[Purpose, float]) -> Ledger:
        """The ledger after a stage of the record."""
        new = spend_by_purpose(charges, seconds, dollars_per_second=self.budget.dollars_per_second)
        return dataclasses.replace(
            self, spent={purpose: self.spent.get(purpose, Spend()) + amount for purpose, amount in new.items()}
        )


def _check(unit: str, trained: float, train: float, measured: float, measure: float) -> None:
    if trained > train or measured > measure:
        raise OverspentError(
            f"a stage trained for {trained} of {train} reserved {unit} and measured for {measured} of {measure}"
        )


def spend_by_purpose(
    charges: Iterable[Charge], seconds: Mapping[Purpose, float], *, dollars_per_second: float
) -> dict[Purpose, Spend]:
    """What charges and the seconds beside them come to: every budget purpose, and whatever else was charged."""
    spent: dict[Purpose, Spend] = dict.fromkeys(BUDGET_PURPOSES, Spend())
    for charge in charges:
        spent[charge.purpose] = spent.get(charge.purpose, Spend()) + Spend(flops=charge.flops, tokens=charge.tokens)
    for purpose, amount in seconds.items():
        spent[purpose] = spent.get(purpose, Spend()) + Spend(seconds=amount, dollars=amount * dollars_per_second)
    return spent


def _sum(spends: Iterable[Spend]) -> Spend:
    return sum(spends, Spend())
