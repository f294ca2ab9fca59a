"""The one account of compute. A budget is never overspent: what may be spent is reserved before it is spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curricula.types import BUDGET_PURPOSES, Charge, Purpose


class OverspentError(RuntimeError):
    """Work cost more than was reserved for it: the meter or the planner is wrong, and the run must not go on."""


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What one stage may spend: a ceiling for training, the exact worst case of its measurements beside it.

    Example:
        Reservation(train_flops=9 * 10**11, measure_flops=10**10)
    """

    train_flops: int
    measure_flops: int  # probes and bought features


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A budget and what was charged to it.

    Example:
        Ledger(total_flops=4 * 10**12, charges=tuple(charge for result in history for charge in result.charges))
    """

    total_flops: int
    charges: tuple[Charge, ...]

    @property
    def spent_flops(self) -> int:
        """Charged to the budget."""
        return sum(charge.flops for charge in self.charges if charge.purpose in BUDGET_PURPOSES)

    @property
    def remaining_flops(self) -> int:
        """Left in the budget."""
        return self.total_flops - self.spent_flops

    def reserve(self, *, ceiling_flops: int, measure_flops: int, share: int = 1) -> Reservation:
        """Grant a stage as much of its ceiling as fits beside its measurements.

        Args:
            share: stages planned side by side, each of which may reserve this fraction of what is left.
        """
        left = self.remaining_flops // share - measure_flops
        return Reservation(train_flops=max(0, min(ceiling_flops, left)), measure_flops=measure_flops)

    def settle(self, reservation: Reservation, charges: Iterable[Charge]) -> Ledger:
        """The ledger after a stage; what it left of its reservation is free again.

        Raises:
            OverspentError: it spent more than it reserved.
        """
        new = tuple(charges)
        by_purpose = flops_by_purpose(new)
        measured = by_purpose["probe"] + by_purpose["features"]
        if by_purpose["train"] > reservation.train_flops or measured > reservation.measure_flops:
            raise OverspentError(
                f"a stage trained for {by_purpose['train']} of {reservation.train_flops} reserved FLOPs and measured "
                f"for {measured} of {reservation.measure_flops}"
            )
        return Ledger(total_flops=self.total_flops, charges=(*self.charges, *new))


def flops_by_purpose(charges: Iterable[Charge]) -> Mapping[Purpose, int]:
    """FLOPs of every budget purpose, zero where there were none."""
    totals = dict.fromkeys(BUDGET_PURPOSES, 0)
    for charge in charges:
        if charge.purpose in totals:
            totals[charge.purpose] += charge.flops
    return totals
