"""`--dry_run true`: what a budget buys, before any of it is spent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from controller.budgets import flops_per_token, run_budget
from controller.config import RunConfig, Where
from controller.ledger import UNITS, Budget, Ledger, Spend
from controller.resolve import run_tuning
from controller.session import measured_speed, prepare, worker_settings
from controller.tables import build_table
from curricula.types import Cost, ExampleTable
from experiments.summary import amount_text, flops_text
from trainers.pricing.flops import ModelShape
from trainers.pricing.tuning import Tuning

STATE_BYTES_PER_PARAMETER = 12  # fp32 weight and two moments, of what is trained
KEPT_CHECKPOINTS = 3  # last, best by probe, and the one being written


def print_prices(config: RunConfig, where: Where, console: Console) -> None:
    """Print, for every supervision, FLOPs per token and the tokens, examples and seconds the budget buys; and disk."""
    # A trainer makes its folder of checkpoints when it is built, and there is to be no trace of this.
    with tempfile.TemporaryDirectory() as unused, prepare(config, where) as prepared:
        settings = worker_settings(prepared.config, Path(unused))
        prepared.crew.on_each(lambda worker: worker.begin(settings))
        speed = measured_speed(prepared)
        train, _ = build_table(
            prepared.corpus,
            "train",
            prepared.counts,
            shape=prepared.identity.shape,
            tuning=run_tuning(prepared.config),
            max_output_tokens=prepared.config.max_output_tokens or 1,
        )
        budget = run_budget(prepared.config, train, device=prepared.identity.device, flops_per_second=speed)
        console.print(prices(train, budget))
        parameters, threads = prepared.identity.shape.parameters, prepared.config.threads
        trained = trained_parameters(prepared.identity.shape, run_tuning(prepared.config))
        teacher = prepared.identity.teacher
        if teacher is not None:
            console.print(
                f"{prepared.config.white_box_teacher}, the white-box teacher: {teacher.parameters:,} parameters. Where "
                "a stage asks for its logits or hidden states, its forward passes are charged beside these prices."
            )
        disk = KEPT_CHECKPOINTS * STATE_BYTES_PER_PARAMETER * trained
        console.print(
            f"{prepared.config.student}: {parameters:,} parameters, {flops_text(speed)} FLOP/s measured here with "
            f"{threads} {'thread' if threads == 1 else 'threads'}: {amount_text(budget.total, budget.unit)} are about "
            f"{in_every_unit(budget, train, flops_per_second=speed)} of training, at "
            f"${3600 * budget.dollars_per_second:.3g} an hour. Disk: at most {disk / 1e6:,.0f} MB of checkpoints. "
            "Nothing was spent and no folder was written."
        )


def in_every_unit(budget: Budget, train: ExampleTable, *, flops_per_second: float) -> str:
    """What a budget comes to in the units that are not its own, if all of it were spent on training."""
    flops = Ledger(budget=budget).total_flops
    seconds = flops / flops_per_second
    estimate = Spend(
        flops=flops,
        tokens=round(flops / flops_per_token(train)),
        seconds=seconds,
        dollars=seconds * budget.dollars_per_second,
    )
    return ", ".join(amount_text(estimate.of(unit), unit) for unit in UNITS if unit != budget.unit)


def trained_parameters(shape: ModelShape, tuning: Tuning) -> int:
    """Parameters that a checkpoint holds: the adapters', or all."""
    if tuning.adapters is None:
        return shape.parameters
    return shape.layers * sum(tuning.adapters.rank * (layer.inputs + layer.outputs) for layer in shape.block)


def prices(train: ExampleTable, budget: Budget) -> Table:
    """One row a supervision: a budget spent on it alone."""
    ledger = Ledger(budget=budget)
    amount = amount_text(budget.total, budget.unit)
    table = Table(title=f"What a budget of {amount} buys, spent on one supervision alone")
    table.add_column("supervision", overflow="fold")
    for heading in ("examples", "tokens\nof each", "FLOPs\na token", "tokens\nbought", "passes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for column, name in enumerate(train.supervisions):
        offered_N = train.offered_NS[:, column]
        if not offered_N.any():
            continue
        tokens = float((train.prompt_tokens_N + train.target_tokens_NS[:, column])[offered_N].mean())
        flops = float(np.nanmean(train.train_flops_NS[:, column]))
        bought = budget.total / ledger.expected(Cost(flops=round(flops), tokens=round(tokens)))
        table.add_row(
            name,
            f"{int(offered_N.sum()):,}",
            f"{tokens:.0f}",
            flops_text(flops / tokens),
            f"{bought * tokens:,.0f}",
            f"{bought / int(offered_N.sum()):,.2f}",
        )
    return table
