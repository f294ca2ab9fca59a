"""The loop's trainer and evaluator on a crew of Ray actors: plans become jobs, answers become outcomes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.actors import Crew
from controller.controller import Measured, Order, Trained
from controller.ledger import Budget
from controller.record import RunFolder
from controller.tables import TokenCounts
from curricula.corpus import Corpus
from curricula.types import Charge, Cost, ExampleTable, ProbeMode, ProbePlan, Purpose, StagePlan, TrainingLoss
from evaluators.accuracy import Outputs
from evaluators.probe import Answers, assemble, outputs
from trainers.batches import Integers
from trainers.jobs import StageJob, StageOutcome, row_rates
from trainers.measuring import force_flops, generation_ceiling_flops, prompt_batches
from trainers.pricing.flops import ModelShape
from trainers.pricing.tuning import Adapters


@dataclass(kw_only=True)
class Doing:
    """What the crew does now, for people who watch."""

    phase: str = "starting"
    stage: str = ""
    mix: Mapping[str, float] | None = None  # share of sampled examples
    budget: Budget | None = None  # None until all is open
    spent: float = 0.0  # before this stage, in the budget's unit
    probe_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Students:
    """Trains and measures by asking actors. Implements the loop's Trainer and Evaluator."""

    crew: Crew
    corpus: Corpus
    counts: TokenCounts
    shape: ModelShape
    adapters: Adapters | None  # that the student carries
    train_table: ExampleTable
    train_row_N: NDArray[np.int64]  # corpus row of each training example
    probe_row_N: NDArray[np.int64]
    seed: int
    learning_rates: Mapping[str, float]
    max_output_tokens: int
    batch_answers: int
    micro_batch_tokens: int
    folder: RunFolder
    doing: Doing

    def train(self, orders: Sequence[Order]) -> list[Trained]:
        """Train a round's stages side by side."""
        self.doing.phase, self.doing.stage = "training", ", ".join(order.plan.name for order in orders)
        self.doing.mix = planned_mix(orders[0].plan, self.corpus.supervisions)
        allowance = orders[0].allowance
        self.doing.spent = orders[0].spent_flops if allowance is None else allowance.spent
        self.folder.note(
            event="attempt",
            checkpoints=[order.checkpoint for order in orders],
            ceiling_flops=sum(order.train_flops for order in orders),
        )
        lost, began = self.crew.lost, time.monotonic()
        jobs = [self._job(order) for order in orders]
        outcomes, seconds = self.crew.timed([lambda worker, job=job: worker.train(job) for job in jobs])
        self.folder.note(
            event="trained",
            checkpoints=[order.checkpoint for order in orders],
            seconds=time.monotonic() - began,
            loop_seconds=[outcome.train_seconds for outcome in outcomes],
            tokens=[outcome.tokens for outcome in outcomes],
            lost_workers=self.crew.lost - lost,
            memory_micro_batch_tokens=[outcome.memory_micro_batch_tokens for outcome in outcomes],
            peak_bytes=[outcome.peak_bytes for outcome in outcomes],
        )
        return [
            self._trained(order.plan, outcome, busy_seconds)
            for order, outcome, busy_seconds in zip(orders, outcomes, seconds, strict=True)
        ]

    def measure_ceiling(self, plan: StagePlan) -> Cost:
        """The most that the plan's probe and scores can cost, as they will be batched."""
        total = Cost()
        if plan.probe is not None:
            row_P = self.probe_row_N[plan.probe.example_P]
            for mode in plan.probe.modes:
                prompt_tokens_P = self.counts.prompt_tokens_N[row_P]
                prefix_tokens = self.counts.think_tokens if mode == "think" else 0
                flops = generation_ceiling_flops(
                    self.shape,
                    prompt_tokens_P,
                    batch_rows=self.batch_answers,
                    max_output_tokens=self.max_output_tokens,
                    prefix_tokens=prefix_tokens,
                    adapters=self.adapters,
                )
                answer_tokens = prefix_tokens + self.max_output_tokens
                total += Cost(flops=flops, tokens=int(prompt_tokens_P.sum()) + len(row_P) * answer_tokens)
            for name in plan.probe.supervisions:
                _, row_Q, column_Q = self._forced_rows(plan.probe, name)
                total += self._force_cost(row_Q, column_Q)
        if plan.score_example_M is not None and plan.score_supervision_M is not None:
            total += self._force_cost(self.train_row_N[plan.score_example_M], plan.score_supervision_M)
        return total

    def measure(self, plan: StagePlan, checkpoint: str) -> Measured:
        """Probe and score as the plan asks."""
        began = time.monotonic()
        self.doing.phase = "probing"
        charges: list[Charge] = []
        seconds: dict[Purpose, float] = {}
        probe, score_M, ungraded = None, None, 0
        if plan.probe is not None:
            generated, forced = [], []
            for mode in plan.probe.modes:
                row_P = self.probe_row_N[plan.probe.example_P]
                answers, charge, busy_seconds = self.answer(checkpoint, row_P, mode, "probe")
                seconds["probe"] = seconds.get("probe", 0.0) + busy_seconds
                generated.append((mode, plan.probe.example_P, answers))
                charges.append(charge)
                ungraded += sum(map(bool, answers.ungraded_Q))
                if mode == "free":
                    self.doing.probe_accuracy = float(answers.correct_Q.mean())
            for name in plan.probe.supervisions:
                example_P, row_Q, column_Q = self._forced_rows(plan.probe, name)
                if len(row_Q):
                    (loss_Q, exact_Q, charge), busy_seconds = self._force(checkpoint, row_Q, column_Q, "probe")
                    seconds["probe"] = seconds.get("probe", 0.0) + busy_seconds
                    forced.append((name, example_P, loss_Q, exact_Q))
                    charges.append(charge)
            probe = assemble(generated=generated, forced=forced)
        if plan.score_example_M is not None and plan.score_supervision_M is not None:
            row_M = self.train_row_N[plan.score_example_M]
            (loss_M, _, charge), busy_seconds = self._force(checkpoint, row_M, plan.score_supervision_M, "features")
            seconds["features"] = busy_seconds
            score_M = loss_M.astype(np.float32)
            charges.append(charge)
        if charges:
            took = time.monotonic() - began
            self.folder.note(event="measured", checkpoint=checkpoint, seconds=took, ungraded=ungraded)
        return Measured(probe=probe, score_M=score_M, charges=_sum_by_purpose(charges), seconds=seconds)

    def evaluate(self, checkpoint: str, row_Q: NDArray[np.int64]) -> tuple[Outputs, Answers, Charge, float]:
        """Answer a held-out split freely; recorded, not charged. Its charge, and the seconds of workers."""
        self.doing.phase = "testing"
        answers, charge, seconds = self.answer(checkpoint, row_Q, "free", "evaluate")
        return outputs(self.corpus, answers), answers, charge, seconds

    def answer(
        self, checkpoint: str, row_Q: NDArray[np.int64], mode: ProbeMode, purpose: Purpose
    ) -> tuple[Answers, Charge, float]:
        """Answers in the order asked, whatever the batches and whoever computed them; and the seconds of workers."""
        batches = prompt_batches(self.counts.prompt_tokens_N[row_Q], batch_rows=self.batch_answers)
        parts, seconds = self.crew.timed(
            [
                lambda worker, batch=batch: worker.answer(checkpoint, row_Q[batch].tolist(), mode, purpose)
                for batch in batches
            ]
        )
        back_Q = np.argsort(np.concatenate(batches))
        texts = [text for answers, _ in parts for text in answers.text_Q]
        whys = [why for answers, _ in parts for why in answers.ungraded_Q]
        merged = Answers(
            example_Q=row_Q,
            text_Q=tuple(texts[place] for place in back_Q),
            correct_Q=np.concatenate([answers.correct_Q for answers, _ in parts])[back_Q],
            parsed_Q=np.concatenate([answers.parsed_Q for answers, _ in parts])[back_Q],
            ungraded_Q=tuple(whys[place] for place in back_Q),
            output_tokens_Q=np.concatenate([answers.output_tokens_Q for answers, _ in parts])[back_Q],
            truncated_Q=np.concatenate([answers.truncated_Q for answers, _ in parts])[back_Q],
        )
        return merged, _sum_by_purpose([charge for _, charge in parts])[0], sum(seconds)

    def _force(
        self, checkpoint: str, row_Q: NDArray[np.int64], column_Q: Integers, purpose: Purpose
    ) -> tuple[tuple[NDArray[np.float64], NDArray[np.bool_], Charge], float]:
        answers, seconds = self.crew.timed([lambda worker: worker.force(checkpoint, row_Q, column_Q, purpose)])
        return answers[0], seconds[0]

    def _forced_rows(
        self, probe: ProbePlan, name: str
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        column = self.corpus.supervisions.index(name)
        row_P = self.probe_row_N[probe.example_P]
        offered_P = self.counts.target_tokens_NS[row_P, column] >= 0
        row_Q = row_P[offered_P]
        return probe.example_P[offered_P], row_Q, np.full(len(row_Q), column, dtype=np.int64)

    def _force_cost(self, row_Q: NDArray[np.int64], column_Q: Integers) -> Cost:
        prompt_tokens_Q = self.counts.prompt_tokens_N[row_Q]
        target_tokens_Q = self.counts.target_tokens_NS[row_Q, column_Q]
        flops = force_flops(
            self.shape,
            prompt_tokens_Q,
            target_tokens_Q,
            micro_batch_tokens=self.micro_batch_tokens,
            adapters=self.adapters,
        )
        return Cost(flops=flops, tokens=int(prompt_tokens_Q.sum() + target_tokens_Q.sum()))

    def _job(self, order: Order) -> StageJob:
        plan = order.plan
        supervision_R = plan.supervision_R.astype(np.int64)
        rate_R = row_rates(self.corpus.supervisions, self.learning_rates, supervision_R)
        return StageJob(
            example_R=self.train_row_N[plan.example_R],
            supervision_R=supervision_R,
            share_R=plan.share_R.astype(np.float64),
            loss_weight_R=None if plan.loss_weight_R is None else plan.loss_weight_R.astype(np.float64),
            rate_R=rate_R * plan.recipe.rate_multiplier,
            ceiling_flops=order.train_flops,
            spent_flops=order.spent_flops,
            total_flops=order.total_flops,
            allowance=order.allowance,
            seed=self.seed,
            start=order.start,
            start_digest=order.start_digest,
            checkpoint=order.checkpoint,
            recipe=plan.recipe,
        )

    def _trained(self, plan: StagePlan, outcome: StageOutcome, seconds: float) -> Trained:
        return Trained(
            steps=outcome.steps,
            next_step=Cost(flops=outcome.next_step_flops, tokens=outcome.next_step_tokens),
            charge=Charge(purpose="train", flops=outcome.flops, positions=outcome.positions, tokens=outcome.tokens),
            seconds=seconds,
            state_digest=outcome.state_digest,
            losses=training_losses(plan, self.train_table, outcome),
            mix=trained_mix(plan, self.corpus.supervisions, outcome),
            seen_R=outcome.seen_R,
            loss_R=outcome.loss_R,
        )


def planned_mix(plan: StagePlan, supervisions: Sequence[str]) -> dict[str, float]:
    """Share of sampled examples under each supervision, the largest first."""
    share_S = np.bincount(plan.supervision_R, weights=plan.share_R, minlength=len(supervisions)) / plan.share_R.sum()
    order_S = np.argsort(-share_S, kind="stable")
    return {supervisions[int(column)]: float(share_S[column]) for column in order_S if share_S[column] > 0}


def trained_mix(
    plan: StagePlan, supervisions: Sequence[str], outcome: StageOutcome
) -> tuple[tuple[str, int, int], ...]:
    """(supervision, examples drawn, train FLOPs) of a stage; FLOPs are split by tokens."""
    size = len(supervisions)
    drawn_S = np.bincount(plan.supervision_R, weights=outcome.seen_R, minlength=size).astype(np.int64)
    positions_S = np.bincount(plan.supervision_R, weights=outcome.positions_R, minlength=size)
    flops_S = np.rint(positions_S * (outcome.flops / max(outcome.positions_R.sum(), 1))).astype(np.int64)
    return tuple((supervisions[s], int(drawn_S[s]), int(flops_S[s])) for s in range(size) if drawn_S[s])


def training_losses(plan: StagePlan, table: ExampleTable, outcome: StageOutcome) -> tuple[TrainingLoss, ...]:
    """Mean training loss by (task, supervision), in the order of the tables' names."""
    tasks, supervisions = len(table.tasks), len(table.supervisions)
    group_R = (table.task_N[plan.example_R].astype(np.int64) + 1) * supervisions + plan.supervision_R
    size = (tasks + 1) * supervisions
    seen_G = np.bincount(group_R, weights=outcome.seen_R, minlength=size)
    tokens_G = np.bincount(group_R, weights=outcome.tokens_R, minlength=size)
    nats_G = np.bincount(group_R, weights=outcome.loss_sum_R, minlength=size)
    positions_G = np.bincount(group_R, weights=outcome.positions_R, minlength=size)
    names = ("(withheld)", *table.tasks)
    return tuple(
        TrainingLoss(
            task=names[group // supervisions],
            supervision=table.supervisions[group % supervisions],
            examples=int(seen_G[group]),
            supervised_tokens=int(tokens_G[group]),
            loss=float(nats_G[group] / tokens_G[group]),
            flops=round(float(positions_G[group]) * (outcome.flops / outcome.positions_R.sum())),
        )
        for group in np.flatnonzero(seen_G).tolist()
    )


def _sum_by_purpose(charges: Sequence[Charge]) -> tuple[Charge, ...]:
    purposes: dict[Purpose, None] = dict.fromkeys(charge.purpose for charge in charges)
    return tuple(
        Charge(
            purpose=purpose,
            flops=sum(charge.flops for charge in charges if charge.purpose == purpose),
            positions=sum(charge.positions for charge in charges if charge.purpose == purpose),
            tokens=sum(charge.tokens for charge in charges if charge.purpose == purpose),
        )
        for purpose in purposes
    )
