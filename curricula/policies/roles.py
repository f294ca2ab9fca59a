"""Which supervision of a corpus plays which part: light, middle, deep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curricula.policies.slices import mean_train_flops_S
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
        cost_S = mean_train_flops_S(table)
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
    offered_RS = table.offered_NS[example_R]
    column_R = np.where(offered_RS[np.arange(len(example_R)), wanted_R], wanted_R, -1)
    cheap_first = np.argsort(mean_train_flops_S(table), kind="stable")
    for column in (roles.middle, roles.light, roles.deep, *cheap_first):
        column_R = np.where((column_R < 0) & offered_RS[:, column], column, column_R)
    return column_R.astype(np.int32)
