"""What a probe may cost at worst, and which examples it measures next."""

from __future__ import annotations

import numpy as np

from curricula.types import ExampleTable, Floats, Ints, ProbeMode, ProbePlan, RunState

FORCED_SHARE = 1 / 3
"""Of one training pass: a teacher-forced loss needs the forward pass, training that and twice as much backward."""


def probe_reserve_flops(table: ExampleTable, probe: ProbePlan | None) -> int:
    """Worst case of one probe in FLOPs: every generation at its longest, every forced target once; 0 for None.

    Raises:
        ValueError: a supervision that no example of the probe table offers.
    """
    if probe is None:
        return 0
    return int(np.ceil(_cost_N(table, probe.modes, probe.supervisions)[probe.example_P].sum()))


def draw_probe(
    state: RunState,
    *,
    examples: int,
    reserve_flops: int,
    modes: tuple[ProbeMode, ...] = ("free",),
    supervisions: tuple[str, ...] = (),
    afresh: bool = True,
) -> ProbePlan | None:
    """Up to `examples` probe rows whose worst case fits `reserve_flops`; None where not one does.

    Rows are spread evenly over the tasks (where these are given) in an order that depends on `state.seed` alone.
    `afresh` continues after the rows probed so far, so that none repeats before all were seen; otherwise every call
    starts at the same first row, so that successive probes compare.
    """
    table = state.probe
    if examples < 1 or len(table) == 0:
        return None
    asked = sum(len(np.unique(result.probe.example_P)) for result in state.history if result.probe is not None)
    start = asked % len(table) if afresh else 0
    window_P = np.roll(_spread_order(table, state.seed), -start)[: min(examples, len(table))]
    affordable = np.cumsum(_cost_N(table, modes, supervisions)[window_P]) <= reserve_flops
    count = len(affordable) if affordable.all() else int(affordable.argmin())
    if count == 0:
        return None
    return ProbePlan(example_P=window_P[:count], modes=modes, supervisions=supervisions)


def _cost_N(table: ExampleTable, modes: tuple[ProbeMode, ...], supervisions: tuple[str, ...]) -> Floats:
    cost_N = table.answer_flops_N * len(modes)
    for supervision in supervisions:
        column = table.supervision_index(supervision)
        cost_N = cost_N + np.where(table.offered_NS[:, column], table.train_flops_NS[:, column] * FORCED_SHARE, 0.0)
    return cost_N


def _spread_order(table: ExampleTable, seed: int) -> Ints:
    # Every row's place in its own task's shuffled line; reading the lines abreast spreads any window over the tasks.
    shuffled_N = np.random.default_rng([seed, len(table)]).permutation(len(table))
    by_task_N = shuffled_N[np.argsort(table.task_N[shuffled_N], kind="stable")]
    task_N = table.task_N[by_task_N]
    first_N = np.searchsorted(task_N, task_N, side="left")
    place_N = np.arange(len(table)) - first_N
    return by_task_N[np.argsort(place_N, kind="stable")].astype(np.int32)
