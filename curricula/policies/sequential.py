"""Two supervisions one after the other, divided by examples rather than by FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

from curricula.policies.slices import check_slices
from curricula.policies.staged import Staged
from curricula.policy import CurriculumPolicy
from curricula.types import ExampleTable, RunState, StagePlan, Supervision


@dataclass(frozen=True, kw_only=True)
class Sequential(CurriculumPolicy):
    """`first`, then `then`, so that a given fraction of the examples drawn are `then`.

    The budget is in FLOPs, so the fraction f of examples becomes a share of FLOPs by the mean cost of one training
    pass under each, a for `first` and b for `then`. Of n examples drawn, f n cost b and (1 - f) n cost a:

        share of FLOPs under `then` = f b / (f b + (1 - f) a)

    Example: with a = 1 and b = 7, a quarter of the examples is 0.25 * 7 / (0.25 * 7 + 0.75 * 1) = 70% of the FLOPs.
    Padding is not in the table's costs, so the fraction drawn differs a little from the one asked for.
    """

    first: str = "answer"  # the spelling of a Supervision
    then: str = "reasoning"  # the spelling of a Supervision
    fraction_of_examples: float = 0.25  # of the examples drawn, those under `then`; in (0, 1)
    slices: int = 8  # parts of the budget in all, one stage each; either half has at least one
    probe_examples: int = 0  # measured freely after each slice, always the same ones; paid from the budget

    def __post_init__(self) -> None:
        Supervision.parse(self.first)
        Supervision.parse(self.then)
        check_slices("Sequential", self.slices, self.probe_examples)
        if not 0.0 < self.fraction_of_examples < 1.0:
            raise ValueError(
                f"Sequential: fraction_of_examples must lie in (0, 1), got {self.fraction_of_examples}; "
                "Fixed shows one supervision throughout"
            )

    def then_flops_share(self, table: ExampleTable) -> float:
        """The share of the budget, in (0, 1), that `then` takes so that its examples make up the fraction asked for.

        Raises:
            ValueError: no example offers one of the two; the message names those offered.
        """
        cost_S = table.mean_train_flops_S
        first_flops = (1.0 - self.fraction_of_examples) * cost_S[table.supervision_index(self.first)]
        then_flops = self.fraction_of_examples * cost_S[table.supervision_index(self.then)]
        return float(then_flops / (first_flops + then_flops))

    def next_stage(self, state: RunState) -> StagePlan | None:
        """Raises ValueError where no example offers one of the two supervisions."""
        share = self.then_flops_share(state.train)
        halves = Staged(
            stages=((self.first, 1.0 - share), (self.then, share)),
            slices=self.slices,
            probe_examples=self.probe_examples,
        )
        return halves.next_stage(state)
