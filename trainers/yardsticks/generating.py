"""One side of a comparison of generation, in a process of its own with exactly the threads it was given.

    python -m trainers.yardsticks.generating --side ours --student DIR --corpus DIR --cache_dir DIR --threads 1 ...

`ours` answers as a run does: requests of so many prompts by length, written by trainers/generation.py. `plain` is
transformers' `generate` on batches in the order of arrival. Both are greedy. Prints a line of JSON when it is warm,
then one for every line on its standard input. `bf16` prints one line, with what both write with weights in bf16, and
what `plain` does prompt by prompt. `train` makes the student that ends its answers, and saves it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig

from curricula.corpus import Corpus
from trainers.collate import Rows
from trainers.decoding.plain import no_habits
from trainers.generation import Generator
from trainers.measuring import prompt_batches
from trainers.pricing.shape import model_shape
from trainers.process import default_device, set_up_process
from trainers.student import Student, load_student
from trainers.tokens import TokenStore, open_tokens
from trainers.yardsticks.bare_loop import BareLoop
from trainers.yardsticks.clock import EndOfRoundsError, Lines

Side = Literal["ours", "plain", "bf16", "train"]
SEED = 0
TRAIN_ROWS = 16  # of a step
LEARNING_RATE = 2e-3
MAX_TOKENS = 1024
Answers = list[tuple[str, int]]
"""Text and number of tokens, the end token counted, of the answer to every prompt, in the order of arrival."""


def parser() -> argparse.ArgumentParser:
    """What this process is told."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--side", choices=get_args(Side), required=True)
    made.add_argument("--student", required=True)
    for name in ("--corpus", "--cache_dir"):
        made.add_argument(name, type=Path, required=True)
    made.add_argument("--threads", type=int, required=True)
    made.add_argument("--prompts", type=int, help="of the test split, the first so many")
    made.add_argument("--cap", type=int, help="of an answer, in tokens; the longest target's where none")
    made.add_argument("--request_rows", type=int, help="of ours")
    made.add_argument("--batch_rows", type=int, help="of the plain side")
    made.add_argument("--alone", type=int, help="prompts, the first so many, that bf16 also answers one by one")
    made.add_argument("--micro_batch_tokens", type=int, help="of prompts that are read at once")
    made.add_argument("--steps", type=int, help="to train")
    made.add_argument("--output", type=Path, help="a folder for the trained student")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    told = parser().parse_args(arguments)
    lines = Lines.of_this_process()
    set_up_process(threads=told.threads)
    student = load_student(told.student, seed=SEED, cache_dir=told.cache_dir)
    student.model.to(default_device())  # pyright: ignore[reportArgumentType] the stub takes the device for self
    corpus = Corpus.load(told.corpus)
    store = open_tokens(corpus, student.tokenizer, max_tokens=MAX_TOKENS, cache_dir=told.cache_dir)
    if told.side == "train":
        train(student, store, corpus.rows("train").astype(np.int64), steps=told.steps)
        student.model.save_pretrained(told.output)
        student.tokenizer.save_pretrained(told.output)
        return
    examples = corpus.rows("test")[: told.prompts].astype(np.int64)
    cap = told.cap or int(store.target_tokens_NS.max())
    generator = Generator(
        student=student,
        store=store,
        shape=model_shape(student.model),
        max_output_tokens=cap,
        micro_batch_tokens=told.micro_batch_tokens,
    )
    if told.side == "bf16":
        lines.tell(**answers_in_bf16(generator, examples, told))
        return
    answer = functools.partial(answer_as_a_run_does, generator, batch_rows=told.request_rows)
    if told.side == "plain":
        answer = functools.partial(answer_plainly, generator, batch_rows=told.batch_rows)
    answer(examples[:4])
    lines.tell(ready=True, prompts=len(examples), cap_tokens=cap)
    while True:
        try:
            lines.wait()
        except EndOfRoundsError:
            return
        wall, cpu = time.monotonic(), time.process_time()
        answers = answer(examples)
        lines.tell(
            seconds=time.monotonic() - wall,
            cpu_seconds=time.process_time() - cpu,
            output_tokens=[tokens for _, tokens in answers],
            digests=[hashlib.sha256(text.encode()).hexdigest()[:16] for text, _ in answers],
        )


def train(student: Student, store: TokenStore, examples: NDArray[np.int64], *, steps: int) -> None:
    """So many steps of a bare loop on every supervision of these examples, so that answers end."""
    place_R, supervision_R = np.nonzero(store.target_tokens_NS[examples] >= 0)
    rows = Rows(store=store, example_R=examples[place_R], supervision_R=supervision_R)
    left = iter(range(steps - 1))

    def step_done() -> None:
        if next(left, None) is None:
            raise EndOfRoundsError

    try:
        BareLoop(student, rows, batch_rows=TRAIN_ROWS, learning_rate=LEARNING_RATE, seed=SEED).train(step_done)
    except EndOfRoundsError:
        return


def answer_as_a_run_does(generator: Generator, examples: NDArray[np.int64], *, batch_rows: int) -> Answers:
    """Requests of prompts of similar length, at most `batch_rows` in each."""
    answers: Answers = [("", 0)] * len(examples)
    for batch_Q in prompt_batches(generator.store.prompt_tokens_N[examples], batch_rows=batch_rows):
        given = generator.generate_batch(examples[batch_Q].tolist(), mode="free", purpose="evaluate")
        for place, text, tokens in zip(batch_Q.tolist(), given.text_Q, given.output_tokens_Q.tolist(), strict=True):
            answers[place] = text, tokens
    return answers


def answers_in_bf16(generator: Generator, examples: NDArray[np.int64], told: argparse.Namespace) -> dict[str, Answers]:
    """What both sides write with weights in bf16, and `alone`: what the plain one does with one prompt at a time."""
    for parameter in generator.student.model.parameters():
        # Not all of the model: rotary angles stay as exact as where transformers loads one in bf16.
        parameter.data = parameter.data.to(torch.bfloat16)
    return {
        "ours": answer_as_a_run_does(generator, examples, batch_rows=told.request_rows),
        "plain": answer_plainly(generator, examples, batch_rows=told.batch_rows),
        "alone": answer_plainly(generator, examples[: told.alone], batch_rows=1),
    }


@torch.inference_mode()
def answer_plainly(generator: Generator, examples: NDArray[np.int64], *, batch_rows: int) -> Answers:
    """Batches in the order of arrival, padded on the left, each until the last of its answers has ended."""
    model, pad, end = generator.student.model.eval(), generator.student.pad_id, generator.student.end_id
    config = GenerationConfig(
        do_sample=False, max_new_tokens=generator.max_output_tokens, eos_token_id=end, pad_token_id=pad
    )
    answers: Answers = []
    for start in range(0, len(examples), batch_rows):
        prompts = [
            generator.store.prompt(example).tolist() for example in examples[start : start + batch_rows].tolist()
        ]
        length = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts], device=model.device)
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with no_habits(model):
            output = model.generate(input_ids=ids, attention_mask=mask.to(model.device), generation_config=config)  # pyright: ignore[reportCallIssue]
        for tokens in output[:, length:].tolist():
            written = tokens[: tokens.index(end)] if end in tokens else tokens
            answers.append((str(generator.student.tokenizer.decode(written)), len(written) + (end in tokens)))
    return answers


if __name__ == "__main__":
    main()
