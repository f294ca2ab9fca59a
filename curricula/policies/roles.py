"""Which supervision of a corpus plays which part: light, middle, deep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curricula.types import ExampleTable, Ints, Supervision, SupervisionKind

LIGHT: tuple[SupervisionKind, ...] = ("answer", "response", "short", "truncated", "compressed", "reasoning")
MIDDLE: tuple[SupervisionKind, ...] = ("compressed", "short", "response", "truncated", "reasoning", "answer")
DEEP: tuple[SupervisionKind, ...] = ("reasoning", "compressed", "truncated", "short", "response", "answer")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which supervision of a corpus plays which part, as columns of the S axis.

    Example: a corpus of answers and reasoning has no compressed kind, so its middle is the full trace.
        Roles(light=0, middle=1, deep=1)
    """

    light: int
    middle: int
    deep: int

    @property
    def columns(self) -> tuple[int, ...]:
        """The distinct ones."""
        return tuple(dict.fromkeys((self.light, self.middle, self.deep)))

    @classmethod
    def of(cls, table: ExampleTable) -> Roles:
        """The cheapest supervision of the first kind offered in each order of preference."""
        cost_S = table.mean_train_flops_S
        kind_S = [Supervision.parse(name).kind for name in table.supervisions]
        columns = [column for column in range(len(kind_S)) if np.isfinite(cost_S[column])]

        def cheapest(preference: tuple[SupervisionKind, ...]) -> int:
            return min(columns, key=lambda column: (preference.index(kind_S[column]), cost_S[column], column))

        return cls(light=cheapest(LIGHT), middle=cheapest(MIDDLE), deep=cheapest(DEEP))


def nearest_offered(table: ExampleTable, wanted_R: Ints, example_R: Ints, roles: Roles) -> Ints:
    """The wanted column where the row's example offers it, else the first of middle, light, deep and the cheapest.

    Returns:
        int32 of shape (R,); -1 where an example offers nothing at all.
    """
    offered_NS = table.offered_NS
    column_R = wanted_R.astype(np.int32)
    missing_M = np.flatnonzero(~offered_NS[example_R, wanted_R])
    column_R[missing_M] = -1
    cheap_first = np.argsort(table.mean_train_flops_S, kind="stable")
    for column in (roles.middle, roles.light, roles.deep, *cheap_first):
        offered_M = offered_NS[example_R[missing_M], column]
        column_R[missing_M[offered_M]] = column
        missing_M = missing_M[~offered_M]
    return column_R
