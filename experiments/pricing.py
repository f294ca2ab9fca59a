"""`--dry_run true`: what a budget buys, before any of it is spent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from controller.config import RunConfig, Where
from controller.resolve import run_tuning
from controller.session import Prepared, prepare, worker_settings
from controller.tables import build_table
from experiments.summary import flops_text, seconds_text
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
        # Side by side, as they would train; the slowest is the one to wait for.
        speed = min(prepared.crew.on_each(lambda worker: worker.training_flops_per_second()))
        console.print(prices(prepared))
        parameters, threads = prepared.identity.shape.parameters, prepared.config.threads
        trained = trained_parameters(prepared.identity.shape, run_tuning(prepared.config))
        disk = KEPT_CHECKPOINTS * STATE_BYTES_PER_PARAMETER * trained
        console.print(
            f"{prepared.config.student}: {parameters:,} parameters, {flops_text(speed)} FLOP/s measured here with "
            f"{threads} {'thread' if threads == 1 else 'threads'}: about "
            f"{seconds_text(config.total_flops / speed)} of training. Disk: at most {disk / 1e6:,.0f} MB of "
            "checkpoints. Nothing was spent and no folder was written."
        )


def trained_parameters(shape: ModelShape, tuning: Tuning) -> int:
    """Parameters that a checkpoint holds: the adapters', or all."""
    if tuning.adapters is None:
        return shape.parameters
    return shape.layers * sum(tuning.adapters.rank * (layer.inputs + layer.outputs) for layer in shape.block)


def prices(prepared: Prepared) -> Table:
    """One row a supervision: a budget spent on it alone."""
    config = prepared.config
    train, _ = build_table(
        prepared.corpus,
        "train",
        prepared.counts,
        shape=prepared.identity.shape,
        tuning=run_tuning(config),
        max_output_tokens=config.max_output_tokens or 1,
    )
    table = Table(title=f"What {flops_text(config.total_flops)} FLOPs buy, spent on one supervision alone")
    table.add_column("supervision", overflow="fold")
    for heading in ("examples", "tokens\nof each", "FLOPs\na token", "tokens\nbought", "passes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for column, name in enumerate(train.supervisions):
        offered_N = train.offered_NS[:, column]
        if not offered_N.any():
            continue
        tokens = float((train.prompt_tokens_N + train.target_tokens_NS[:, column])[offered_N].mean())
        flops = float(np.nanmean(train.train_flops_NS[:, column]))
        bought = config.total_flops / flops
        table.add_row(
            name,
            f"{int(offered_N.sum()):,}",
            f"{tokens:.0f}",
            flops_text(flops / tokens),
            f"{bought * tokens:,.0f}",
            f"{bought / int(offered_N.sum()):,.2f}",
        )
    return table
