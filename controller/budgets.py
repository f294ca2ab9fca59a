"""A run's budget: what its config leaves open, what it comes to in other units, and the account of what is recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from controller.config import DOLLARS_PER_HOUR, Json, RunConfig
from controller.ledger import Budget, Ledger
from controller.record import TIMINGS, RunFolderError, busy_seconds
from curricula.types import ExampleTable, StageResult


def resolve_budget(config: RunConfig) -> RunConfig:
    """The budget and the prices, where nothing is said."""
    unit, total = config.budget
    return dataclasses.replace(
        config,
        total_flops=float(total) if unit == "flops" else None,
        dollars_per_hour=dict(sorted(_prices(config).items())),
    )


def dollars_per_second(config: RunConfig, device: str) -> float:
    """Price of one worker: of a GPU, or of as many cores as it has threads."""
    return _prices(config)[device] / 3600 * (1 if device == "cuda" else config.threads or 1)


def _prices(config: RunConfig) -> dict[str, float]:
    return {**DOLLARS_PER_HOUR, **(config.dollars_per_hour or {})}


def flops_per_token(train: ExampleTable) -> float:
    """Mean FLOPs of training on one unpadded token, over every target that is offered."""
    tokens_NS = train.prompt_tokens_N[:, None] + train.target_tokens_NS
    return float(np.nansum(train.train_flops_NS)) / max(1, int(tokens_NS[train.offered_NS].sum()))


def run_budget(config: RunConfig, train: ExampleTable, *, device: str, flops_per_second: float) -> Budget:
    """A run's budget, with what one unit of it is likely to buy before anything is known of the run.

    Args:
        flops_per_second: speed of training, measured; asked for by budgets in seconds or dollars alone.

    Raises:
        ValueError: a budget in dollars would never be spent, because its device costs nothing.
    """
    unit, total = config.budget
    price = dollars_per_second(config, device)
    if unit == "dollars" and not price:
        raise ValueError(
            f"a budget in dollars needs a price, and dollars_per_hour.{device} is 0; set it, or give total_seconds"
        )
    match unit:
        case "flops":
            rate = 1.0
        case "tokens":
            rate = flops_per_token(train)
        case "seconds":
            rate = flops_per_second
        case "dollars":
            rate = flops_per_second / price
    return Budget(unit=unit, total=total, flops_per_unit=rate, dollars_per_second=price)


def reopen_ledger(budget: Budget, history: Sequence[StageResult], timings: Iterable[Mapping[str, Json]]) -> Ledger:
    """The account of a recorded history.

    Raises:
        RunFolderError: the budget is spent by the clock, and a stage's seconds are not on record.
    """
    ledger = Ledger(budget=budget)
    for result, seconds in zip(history, busy_seconds(timings, history), strict=True):
        if seconds is None and budget.by_clock:
            raise RunFolderError(f"{TIMINGS} lacks the seconds of stage {result.checkpoint}; start a new run")
        ledger = ledger.charged(result.charges, seconds or {})
    return ledger
