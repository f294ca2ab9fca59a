"""One side of a speed comparison, in a process of its own with exactly the threads it was given.

    python -m trainers.yardsticks.measure --side ours --rows mixed --student tiny --corpus DIR --cache_dir DIR ...

Prints a line of JSON when it is warm, then one for every line on its standard input (trainers.yardsticks.clock).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from curricula.corpus import Corpus
from trainers.batches import BatchSizes
from trainers.collate import Rows
from trainers.jobs import Precision
from trainers.pricing.shape import model_shape
from trainers.process import default_device, set_up_process
from trainers.student import Student, load_student
from trainers.tokens import open_tokens
from trainers.yardsticks.bare_loop import BareLoop
from trainers.yardsticks.clock import EndOfRoundsError, Lines, RoundClock
from trainers.yardsticks.half_billion import half_billion
from trainers.yardsticks.plain_trl import PlainTrl, Variant
from trainers.yardsticks.planned import Planned
from trainers.yardsticks.rows import RowSet, choose_rows, lengths, mean_token_flops, rows_a_step

Side = Literal["ours", "trl_default", "trl_grouped", "trl_bare", "bare_loop"]
_VARIANTS: dict[Side, Variant] = {"trl_default": "default", "trl_grouped": "grouped", "trl_bare": "bare"}
LEARNING_RATE = 1e-3
SEED = 0


def parser() -> argparse.ArgumentParser:
    """What this process is told."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--side", choices=get_args(Side), required=True)
    made.add_argument("--rows", choices=get_args(RowSet), required=True)
    made.add_argument("--student", required=True)
    made.add_argument("--half_billion", action="store_true", help="its tokenizer, with a random 0.5 B Llama")
    made.add_argument("--precision", choices=get_args(Precision), required=True)
    for name in ("--corpus", "--cache_dir"):
        made.add_argument(name, type=Path, required=True)
    for name in ("--max_tokens", "--max_rows", "--step_tokens", "--micro_batch_tokens", "--threads"):
        made.add_argument(name, type=int, required=True)
    for name in ("--warmup_steps", "--round_steps", "--rounds"):
        made.add_argument(name, type=int, required=True)
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    told = parser().parse_args(arguments)
    lines = Lines.of_this_process()
    # What our workers ask of the C library is part of our speed: a plain script asks nothing of it.
    set_up_process(threads=told.threads, keep_freed_memory=told.side == "ours")
    student = load_student(told.student, seed=SEED, cache_dir=told.cache_dir)
    if told.half_billion:
        student = half_billion(student)
    student.model.to(default_device())  # pyright: ignore[reportArgumentType] the stub takes the device for self
    corpus = Corpus.load(told.corpus)
    store = open_tokens(corpus, student.tokenizer, max_tokens=told.max_tokens, cache_dir=told.cache_dir)
    rows = choose_rows(corpus, store, told.rows, limit=told.max_rows)
    with tempfile.TemporaryDirectory() as folder:
        side = _built(told, student, rows, Path(folder))
        lines.tell(
            rows=len(rows.example_R),
            mean_row_tokens=float(lengths(rows).mean()),
            longest_row_tokens=int(lengths(rows).max()),
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            parameters=student.model.num_parameters(),
            token_flops=mean_token_flops(rows, model_shape(student.model)),
            settings=side.settings if isinstance(side, PlainTrl) else None,
            planning_step_seconds=side.planning_step_seconds if isinstance(side, Planned) else 0.0,
        )
        clock = RoundClock(lines, warmup_steps=told.warmup_steps, round_steps=told.round_steps, counted=side.counted)
        try:
            side.train(clock.step_done)
        except EndOfRoundsError:
            return


def _built(told: argparse.Namespace, student: Student, rows: Rows, folder: Path) -> Planned | PlainTrl | BareLoop:
    side: Side = told.side
    if side == "ours":
        return Planned(
            student,
            rows,
            sizes=BatchSizes(step_tokens=told.step_tokens, micro_batch_tokens=told.micro_batch_tokens),
            steps=told.warmup_steps + told.rounds * told.round_steps,
            learning_rate=LEARNING_RATE,
            seed=SEED,
            output_dir=folder,
            precision=told.precision,
        )
    batch_rows = rows_a_step(rows, told.step_tokens)
    if side == "bare_loop":
        return BareLoop(
            student, rows, batch_rows=batch_rows, learning_rate=LEARNING_RATE, seed=SEED, precision=told.precision
        )
    return PlainTrl(
        student,
        rows,
        variant=_VARIANTS[side],
        batch_rows=batch_rows,
        learning_rate=LEARNING_RATE,
        seed=SEED,
        output_dir=folder,
        precision=told.precision,
    )


if __name__ == "__main__":
    main()
