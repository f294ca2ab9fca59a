"""What is told of a run besides its scores: lost work and seconds."""

from __future__ import annotations

import numpy as np

from controller.config import Json
from controller.ledger import Budget
from controller.summary import lost_work, replay, target_costs, train_seconds
from curricula.columns import target_table
from curricula.rendering import think
from curricula.types import Cost, Target


def _attempt(ceiling_flops: int) -> dict[str, Json]:
    return {"event": "attempt", "ceiling_flops": ceiling_flops}


def _trained(*, tokens: int = 100, lost_workers: int = 0) -> dict[str, Json]:
    return {"event": "trained", "tokens": [tokens], "loop_seconds": [1.5, 2], "lost_workers": lost_workers}


RECORDED: dict[str, Json] = {"event": "recorded"}
FLOPS = Budget(unit="flops", total=10**9)


def test_an_attempt_that_was_recorded_is_not_lost() -> None:
    assert lost_work([_attempt(10), _trained(), RECORDED] * 2) == {"attempts": 0, "flops_at_most": 0}


def test_a_driver_killed_while_training_or_while_probing_lost_its_attempt() -> None:
    done = [_attempt(10), _trained(), RECORDED]
    assert lost_work([_attempt(7), *done]) == {"attempts": 1, "flops_at_most": 7}
    assert lost_work([_attempt(7), _trained(), *done]) == {"attempts": 1, "flops_at_most": 7}


def test_a_worker_that_died_lost_its_attempt() -> None:
    timings = [_attempt(10), _trained(lost_workers=2), RECORDED]
    assert lost_work(timings) == {"attempts": 2, "flops_at_most": 20}


def test_an_attempt_that_bought_no_step_was_none() -> None:
    timings = [_attempt(10), _trained(tokens=0), _attempt(12), _trained(), RECORDED, _attempt(1), _trained(tokens=0)]
    assert lost_work(timings) == {"attempts": 0, "flops_at_most": 0}


def test_seconds_of_all_loops_are_added() -> None:
    assert train_seconds([_attempt(10), _trained(), RECORDED, _trained()]) == 7.0


def test_what_ends_the_promise_of_a_replay_is_named() -> None:
    attempt: dict[str, Json] = {"event": "trained", "checkpoints": ["0003"], "memory_micro_batch_tokens": [None]}
    short: dict[str, Json] = {**attempt, "memory_micro_batch_tokens": [512]}
    assert replay("fp32", "cpu", [attempt, RECORDED], FLOPS) == {"bitwise": True, "ended_by": []}
    assert replay("bf16", "cpu", [attempt], FLOPS) == {"bitwise": False, "ended_by": ["trained in bf16"]}
    by_clock = replay("fp32", "cpu", [attempt], Budget(unit="dollars", total=1.0))
    assert not by_clock["bitwise"] and "a budget in dollars" in str(by_clock["ended_by"])
    told = replay("fp32", "cuda", [attempt, short], FLOPS)["ended_by"]
    assert told == ["trained on cuda", "memory ran out by stage 0003: micro-batches of 512 tokens at most"]


def test_a_completion_behind_several_targets_is_paid_once() -> None:
    thinking, plain = Cost(flops=100, tokens=10, dollars=0.5), Cost(flops=30, tokens=3, dollars=0.25)
    cut = Cost(flops=7, tokens=2, dollars=0.125)
    targets = (
        Target(supervision="short#a", text="7", teach=plain),
        Target(supervision="reasoning#a", text=think("3+4", "7"), teach=thinking),
        Target(supervision="compressed:steps@0.5#a", text=think("3", "7"), teach=thinking, compress=cut),
        Target(supervision="reasoning#b", text=think("4+3", "7"), teach=thinking),
    )
    table = target_table([targets, targets])
    every = target_costs(table, np.arange(8)[::-1])
    assert every == {
        "teach": Cost(flops=2 * 230, tokens=2 * 23, dollars=2 * 1.25),
        "compress": Cost(flops=14, tokens=4, dollars=0.25),
    }
    assert target_costs(table, np.array([], dtype=np.int64)) == {"teach": Cost(), "compress": Cost()}
