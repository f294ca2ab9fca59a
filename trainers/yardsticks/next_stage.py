"""How long it takes from the rows of a stage to its first step: our trainer, warm, and a TRL trainer built anew.

    python -m trainers.yardsticks.next_stage --side ours --student tiny --corpus DIR --cache_dir DIR ...

Every repeat has other rows of the mix of all supervisions. Ours gets rows of the token store, as the controller names
them, and plans a stage of about `--stage_steps` steps; TRL gets texts and prepares them, as a script does that builds
a trainer for a new set of rows. The model is loaded before the clock starts. Prints a line of JSON a repeat.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_trainer import SFTTrainer

from curricula.corpus import Corpus
from trainers.batches import BatchSizes
from trainers.collate import Rows
from trainers.pricing.shape import model_shape
from trainers.process import default_device, set_up_process
from trainers.schedule import Schedule
from trainers.stage import StageTrainer
from trainers.student import Student, load_student
from trainers.tokens import TokenStore, open_tokens, render_prompts
from trainers.yardsticks.clock import EndOfRoundsError, Lines
from trainers.yardsticks.measure import LEARNING_RATE, SEED
from trainers.yardsticks.plain_trl import FOR_EVER_STEPS, config
from trainers.yardsticks.planned import whole_stage
from trainers.yardsticks.rows import choose_rows, rows_a_step

Builder = Literal["ours", "trl"]


class FirstStep(TrainerCallback):
    """Stops the clock, and all that would follow, when the first step begins."""

    def __init__(self) -> None:
        self.began_at = 0.0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """The first step's rows are there."""
        self.began_at = time.monotonic()
        raise EndOfRoundsError


def parser() -> argparse.ArgumentParser:
    """What this process is told."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--side", choices=get_args(Builder), required=True)
    made.add_argument("--student", required=True)
    for name in ("--corpus", "--cache_dir"):
        made.add_argument(name, type=Path, required=True)
    for name in ("--max_tokens", "--rows", "--step_tokens", "--micro_batch_tokens", "--threads"):
        made.add_argument(name, type=int, required=True)
    for name in ("--stage_steps", "--repeats"):
        made.add_argument(name, type=int, required=True)
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    told = parser().parse_args(arguments)
    lines = Lines.of_this_process()
    set_up_process(threads=told.threads)
    student = load_student(told.student, seed=SEED, cache_dir=told.cache_dir)
    student.model.to(default_device())  # pyright: ignore[reportArgumentType] the stub takes the device for self
    corpus = Corpus.load(told.corpus)
    store = open_tokens(corpus, student.tokenizer, max_tokens=told.max_tokens, cache_dir=told.cache_dir)
    sizes = BatchSizes(step_tokens=told.step_tokens, micro_batch_tokens=told.micro_batch_tokens)
    rows_of = partial(choose_rows, corpus, store, "mixed", limit=told.rows)
    with tempfile.TemporaryDirectory() as folder:
        if told.side == "ours":
            stage = WarmStage(student, store, sizes, Path(folder), stage_steps=told.stage_steps)
            stage.seconds(rows_of(seed=told.repeats))  # warms it up, and is not told
            seconds = stage.seconds
        else:
            seconds = partial(plain_trl_seconds, student, corpus, folder=Path(folder), step_tokens=told.step_tokens)
        for repeat in range(told.repeats):
            rows = rows_of(seed=repeat)
            lines.tell(rows=len(rows.example_R), seconds=seconds(rows))


class WarmStage:
    """A StageTrainer that is there already."""

    def __init__(
        self, student: Student, store: TokenStore, sizes: BatchSizes, folder: Path, *, stage_steps: int
    ) -> None:
        self._trainer = StageTrainer(
            student=student,
            store=store,
            shape=model_shape(student.model),
            sizes=sizes,
            schedule=Schedule(),
            checkpoints=folder,
            seed=SEED,
        )
        self._stage_steps = stage_steps
        self._first = FirstStep()
        self._trainer.trainer.add_callback(self._first)

    def seconds(self, rows: Rows) -> float:
        """From a job to the beginning of its first step: planned, priced, and the loop set up."""
        probe = whole_stage(rows, ceiling_flops=1, learning_rate=LEARNING_RATE, seed=SEED, checkpoint="stage")
        _, step = self._trainer.plan(probe, 0)
        job = whole_stage(
            rows,
            ceiling_flops=step.flops * self._stage_steps,
            learning_rate=LEARNING_RATE,
            seed=SEED,
            checkpoint="stage",
        )
        self._trainer.held = None  # the last stage was broken off at its first step: nothing was trained
        began = time.monotonic()
        try:
            self._trainer.train(job)
        except EndOfRoundsError:
            return self._first.began_at - began
        raise AssertionError("the stage ended without a first step")


def plain_trl_seconds(student: Student, corpus: Corpus, rows: Rows, *, folder: Path, step_tokens: int) -> float:
    """From texts to the beginning of the first step: tokenized, prepared, the trainer built, the loop set up."""
    prompts = np.array(render_prompts(corpus, student.tokenizer), dtype=object)[rows.example_R]
    target_R = corpus.target_rows_NS()[rows.example_R, rows.supervision_R]
    dataset = Dataset.from_dict(
        {"prompt": prompts.tolist(), "completion": corpus.targets["text"].take(target_R).to_pylist()}
    )
    first = FirstStep()
    arguments = config(
        "default",
        output_dir=folder,
        batch_rows=rows_a_step(rows, step_tokens),
        learning_rate=LEARNING_RATE,
        seed=SEED,
        max_steps=FOR_EVER_STEPS,
    )
    began = time.monotonic()
    trainer = SFTTrainer(
        model=student.model,
        args=arguments,
        train_dataset=dataset,
        processing_class=student.tokenizer,
        callbacks=[first],
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train()
    except EndOfRoundsError:
        return first.began_at - began
    raise AssertionError("the trainer ended without a first step")


if __name__ == "__main__":
    main()
