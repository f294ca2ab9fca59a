"""Stages of a budget that is not in FLOPs: tokens never beyond their ceiling, seconds to within a step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.trainers.stages import RATES, small_store, stage_job, stage_trainer
from trainers.jobs import Allowance
from trainers.schedule import Schedule
from trainers.tokens import TokenStore

WHOLE = 8 * 10**9


class Clock:
    """Moves a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        self.now += 1.0
        return self.now


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return small_store(tmp_path_factory.mktemp("cache"))


def test_a_stage_ends_by_the_clock_and_counts_the_steps_it_took(store: TokenStore, tmp_path: Path) -> None:
    clock = Clock()
    trainer = stage_trainer(store, tmp_path / "a", clock=clock)
    allowance = Allowance(unit="seconds", ceiling=24.0, spent=10.0, total=60.0, flops_per_second=1e12)
    job = stage_job(store, ceiling_flops=WHOLE, allowance=allowance)
    planned, _ = trainer.plan(job, 0)
    outcome = trainer.train(job)
    assert 1 <= outcome.steps < len(planned)
    taken = planned[: outcome.steps]
    assert outcome.flops == sum(step.flops for step in taken)
    assert outcome.tokens == sum(step.tokens for step in taken)
    assert outcome.positions == sum(step.positions for step in taken) >= outcome.positions_R.sum()
    assert outcome.seen_R.sum() == sum(step.rows for step in taken) == next(iter(trainer.drawn.values()))
    assert clock.now <= 24.0 + 2.0  # the look at the end of the last step, and the one after the checkpoint
    plain = stage_trainer(store, tmp_path / "b").train(stage_job(store, ceiling_flops=outcome.flops))
    assert plain.steps == outcome.steps
    assert (plain.seen_R == outcome.seen_R).all()


def test_a_step_for_which_there_is_no_time_is_not_begun(store: TokenStore, tmp_path: Path) -> None:
    trainer = stage_trainer(store, tmp_path, clock=Clock())
    allowance = Allowance(unit="seconds", ceiling=5.0, spent=0.0, total=5.0, flops_per_second=1e6)
    outcome = trainer.train(stage_job(store, ceiling_flops=WHOLE, allowance=allowance))
    assert outcome.steps == outcome.flops == 0
    assert outcome.next_step_flops > 5e6
    assert trainer.held is None and not (tmp_path / "first").exists()


def test_tokens_never_pass_their_ceiling_and_the_rate_follows_them(store: TokenStore, tmp_path: Path) -> None:
    trainer = stage_trainer(store, tmp_path)
    allowance = Allowance(unit="tokens", ceiling=2000, spent=6000, total=8000)
    job = stage_job(store, ceiling_flops=10**12, allowance=allowance)
    steps, following = trainer.plan(job, 0)
    outcome = trainer.train(job)
    assert outcome.tokens == sum(step.tokens for step in steps) <= 2000 < outcome.tokens + following.tokens
    assert outcome.next_step_tokens == following.tokens
    rate = trainer.trainer.running.rate
    spent = 6000
    for number, step in enumerate(steps):
        assert rate(number) == pytest.approx(RATES["full"] * Schedule().factor(spent / 8000))
        spent += step.tokens


def test_the_rate_of_a_budget_in_seconds_reaches_the_floor_at_its_end(store: TokenStore, tmp_path: Path) -> None:
    clock = Clock()
    trainer = stage_trainer(store, tmp_path, clock=clock)
    allowance = Allowance(unit="seconds", ceiling=12.0, spent=50.0, total=60.0, flops_per_second=1e12)
    trainer.train(stage_job(store, ceiling_flops=WHOLE, allowance=allowance))
    floor = RATES["full"] * Schedule().floor
    assert trainer.trainer.running.rate(0) == pytest.approx(floor)
    clock.now += 100.0
    assert trainer.trainer.running.rate(0) == pytest.approx(floor)


def test_an_allowance_that_does_not_bind_changes_nothing(store: TokenStore, tmp_path: Path) -> None:
    job = stage_job(store, ceiling_flops=WHOLE // 4)
    plain = stage_trainer(store, tmp_path / "a").train(job)
    steps, _ = stage_trainer(store, tmp_path / "b").plan(job, 0)
    tokens = sum(step.tokens for step in steps)
    early = dataclasses.replace(job, allowance=Allowance(unit="tokens", ceiling=tokens, spent=0, total=10**9))
    outcome = stage_trainer(store, tmp_path / "b").train(early)
    assert (outcome.steps, outcome.flops, outcome.tokens) == (plain.steps, plain.flops, plain.tokens)
    assert (outcome.seen_R == plain.seen_R).all()
