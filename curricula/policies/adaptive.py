"""The default: each task under the supervision that it learns from at the lowest price, compute where it fails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curricula.difficulty import fit_difficulty
from curricula.policies.roles import Roles, nearest_offered
from curricula.policies.slices import Slice, check_slices, next_slice
from curricula.policy import CurriculumPolicy
from curricula.probes import draw_probe, probe_reserve_flops
from curricula.types import ExampleTable, Floats, Ints, ProbePlan, RunState, StagePlan, TrainingLoss

DONE_NATS = 0.1
"""A whole target that costs less counts as learnt: it would be written right nine times in ten."""
OPEN_NATS = 2.5
"""A whole target that costs more is far from learnt: it would be written right less than one time in twelve."""


@dataclass(frozen=True, kw_only=True)
class Adaptive(CurriculumPolicy):
    """Starts every task on answers and compressed traces, keeps what it learns from, and deepens what stalls.

    How fast a task learns from a supervision is read off its own training losses, which cost nothing. With l the nats
    that a whole target costs on average, falling from l1 to l2 while f FLOPs went into it, what is left costs about

        price = f * ln(l2 / DONE_NATS) / ln(l1 / l2)

    if l goes on falling at that rate; the price is infinite where l does not fall.

        after the warm-up   light where its price is at most `light_bias` times that of middle, else middle
        from then on        one step deeper where l is above OPEN_NATS and fell by less than `stall` in two slices,
                            looked at twice running; those that fell least go to deep first, and only while the rest
                            of the budget holds `deep_share` for each task there

    Compute is shared out by need: tasks get FLOPs, and examples within a task get draws, in proportion to
    1 - p + `maintenance`, where p is the chance that the student already solves them, predicted by the difficulty
    classifier from a small probe after each slice. Nothing is dropped for good: what is not shown is forgotten.

    Light, middle and deep are those of `Roles`. Where tasks are withheld, all examples count as one. A corpus of one
    named task buys no probes, so its examples are all drawn alike.
    """

    slices: int = 16  # equal parts of the budget, one stage each
    warmup_slices: int = 3  # light and middle side by side
    light_bias: float = 1.5  # how much dearer light may be to learn: its answers are the cheapest to serve
    stall: float = 0.1  # share of its loss that a task must lose in two slices, in [0, 1]
    deep_share: float = 0.1  # of the budget, which learning one task from deep traces is expected to take
    maintenance: float = 0.15  # need of a solved example, where an unsolved one has 1 more; in (0, 1]
    probe_examples: int = 96  # measured after each slice but the last; fewer where probe_share buys fewer
    probe_share: float = 0.01  # of the whole budget, which one probe may reserve at most

    def __post_init__(self) -> None:
        check_slices("Adaptive", self.slices, self.probe_examples)
        if not 2 <= self.warmup_slices <= self.slices:
            raise ValueError(f"Adaptive: warmup_slices must lie in [2, slices={self.slices}], got {self.warmup_slices}")
        if not 0.0 <= self.light_bias < float("inf"):
            raise ValueError(f"Adaptive: light_bias must be finite and not negative, got {self.light_bias}")
        for name in ("stall", "deep_share", "maintenance", "probe_share"):
            value = float(vars(self)[name])
            if not 0.0 < value <= 1.0:
                raise ValueError(f"Adaptive: {name} must lie in (0, 1], got {value}")

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Works with any supervisions; raises nothing of its own."""
        piece = next_slice(state, shares=(1.0,), slices=self.slices)
        if piece is None:
            return None
        table, roles = state.train, Roles.of(state.train)
        probe = self._probe(state, piece)
        warm = len(state.history) < self.warmup_slices
        if warm:
            wanted = [
                np.full(len(table), column, dtype=np.int32) for column in dict.fromkeys((roles.light, roles.middle))
            ]
        else:
            wanted = [self._columns(state, roles)[table.task_N + 1]]
        example_R = np.tile(np.arange(len(table), dtype=np.int32), len(wanted))
        supervision_R = nearest_offered(table, np.concatenate(wanted), example_R, roles)
        kept_R = supervision_R >= 0
        example_R, supervision_R = example_R[kept_R], supervision_R[kept_R]
        return StagePlan(
            name=f"{'warm-up' if warm else 'adaptive'} {piece.number + 1}/{piece.of}",
            example_R=example_R,
            supervision_R=supervision_R,
            share_R=shares_by_need(table, example_R, supervision_R, self._need(state)),
            ceiling_flops=piece.budget_flops - probe_reserve_flops(state.probe, probe),
            probe=probe,
        )

    def _columns(self, state: RunState, roles: Roles) -> Ints:
        """The supervision of every task, those withheld first: replayed, stage by stage, from the losses so far."""
        names = ("(withheld)", *state.train.tasks)
        chosen = [self._after_warmup(state, name, roles) for name in names]
        spent = np.cumsum([result.spent_flops for result in state.history])
        for count in range(self.warmup_slices + 3, len(state.history) + 1):
            remaining_flops = state.total_flops - int(spent[count - 1])
            looks = [target_losses(state, name, chosen[place], count) for place, name in enumerate(names)]
            falls = [slowest_fall(look) for look in looks]
            stalled = sorted(
                (fall, place) for place, fall in enumerate(falls) if chosen[place] != roles.deep and fall < self.stall
            )
            for _, place in stalled:
                if chosen[place] == roles.light != roles.middle:
                    chosen[place] = roles.middle
                elif remaining_flops >= (chosen.count(roles.deep) + 1) * self.deep_share * state.total_flops:
                    chosen[place] = roles.deep
        return np.array(chosen, dtype=np.int32)

    def _after_warmup(self, state: RunState, task: str, roles: Roles) -> int:
        light, middle = (
            price_flops(target_losses(state, task, column, self.warmup_slices))
            for column in (roles.light, roles.middle)
        )
        return roles.light if light < float("inf") and light <= self.light_bias * middle else roles.middle

    def _need(self, state: RunState) -> Floats:
        difficulty = fit_difficulty(state)
        solved_N = np.zeros(len(state.train)) if difficulty is None else difficulty.p_solved_N(state.train)
        return 1.0 - solved_N + self.maintenance

    def _probe(self, state: RunState, piece: Slice) -> ProbePlan | None:
        if piece.last or len(state.probe.tasks) == 1:
            return None  # no later plan could use it, or there are no tasks to share compute between
        reserve_flops = int(min(self.probe_share * state.total_flops, piece.budget_flops / 4))
        return draw_probe(state, examples=self.probe_examples, reserve_flops=reserve_flops)


def target_losses(state: RunState, task: str, column: int, stages: int) -> list[TrainingLoss]:
    """The training losses of a task under a supervision in the first `stages` stages, one for each it was shown in."""
    supervision = state.train.supervisions[column]
    return [
        loss
        for result in state.history[:stages]
        for loss in result.losses
        if loss.task == task and loss.supervision == supervision
    ]


def target_nats(loss: TrainingLoss) -> float:
    """Mean training loss of one whole target, in nats."""
    return loss.loss * loss.supervised_tokens / loss.examples


def price_flops(looks: list[TrainingLoss]) -> float:
    """FLOPs until a target costs DONE_NATS, by the last two looks; infinite where it does not get cheaper."""
    if len(looks) < 2:
        return float("inf")
    before, after = target_nats(looks[-2]), target_nats(looks[-1])
    if after <= DONE_NATS:
        return 0.0
    if after >= before:
        return float("inf")
    flops = (looks[-2].flops + looks[-1].flops) / 2  # between the middles of the two stages
    return flops * float(np.log(after / DONE_NATS) / np.log(before / after))


def slowest_fall(looks: list[TrainingLoss]) -> float:
    """The larger of the last two `two_slice_fall`s: a task must stand still twice running to count as stalled."""
    return max(two_slice_fall(looks), two_slice_fall(looks[:-1]))


def two_slice_fall(looks: list[TrainingLoss]) -> float:
    """Share of its loss that a target lost over the last two slices; 1 where it is cheap enough, or not known."""
    if len(looks) < 3 or target_nats(looks[-1]) < OPEN_NATS:
        return 1.0
    return 1.0 - target_nats(looks[-1]) / target_nats(looks[-3])


def shares_by_need(table: ExampleTable, example_R: Ints, supervision_R: Ints, need_N: Floats) -> Floats:
    """Sampling shares with which every task gets FLOPs, and every example of it draws, in proportion to need."""
    group_R = table.task_N[example_R] * len(table.supervisions) + supervision_R
    _, group_R = np.unique(group_R, return_inverse=True)
    need_R = need_N[example_R]
    flops_R = need_R * table.train_flops_NS[example_R, supervision_R]
    drawn_G, flops_G = np.bincount(group_R, weights=need_R), np.bincount(group_R, weights=flops_R)
    # FLOPs of a draw differ between groups: dividing by their mean makes a group's FLOPs follow its need.
    return need_R / (flops_G / drawn_G)[group_R]
