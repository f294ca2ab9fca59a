"""A tiny teacher that is trained in seconds: its chat template toggles its thinking, and it mostly answers rightly."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.types import Example, Target
from tests.experiments.runs import wait_until
from trainers.batches import BatchSizes
from trainers.jobs import StageJob
from trainers.pricing.shape import model_shape
from trainers.process import set_up_process
from trainers.schedule import Schedule
from trainers.stage import StageTrainer
from trainers.student import load_student
from trainers.tokens import open_tokens

FAMILIES = ("last_digit",)
FLOPS = 3 * 10**11
SUFFIX = {True: " /think", False: " /no_think"}
TEMPLATE = "{{ messages[-1]['content'] }}{{ ' /think' if enable_thinking else ' /no_think' }}\n\n"
"""The prompt, the suffix that training knew, and a line break: a template's last one is dropped."""


def train_paired_teacher(folder: Path, cache_dir: Path) -> None:
    """Train a teacher and write it as a Hugging Face folder; about ten seconds on one core."""
    set_up_process(threads=1)
    examples = [
        Example(
            task=example.task,
            prompt=example.prompt + SUFFIX[thinking],
            answer=example.answer,
            targets=(Target(supervision=supervision, text=_text(example, kind)),),
            split="probe" if place == 0 else "train",
        )
        for place, example in enumerate(generate(examples=3000, seed=5, families=FAMILIES, transfer_share=0.0))
        for thinking, supervision, kind in ((True, "reasoning", "compressed"), (False, "short", "short"))
    ]
    corpus = Corpus.build(examples, name="paired")
    student = load_student("tiny-0.2m", seed=0, cache_dir=cache_dir)
    store = open_tokens(corpus, student.tokenizer, max_tokens=512, cache_dir=cache_dir)
    trainer = StageTrainer(
        student=student,
        store=store,
        shape=model_shape(student.model),
        sizes=BatchSizes(step_tokens=512, micro_batch_tokens=8192),
        schedule=Schedule(),
        checkpoints=cache_dir / "checkpoints",
        seed=0,
    )
    offered = np.argwhere(store.target_tokens_NS >= 0)
    job = StageJob(
        example_R=offered[:, 0],
        supervision_R=offered[:, 1],
        share_R=np.ones(len(offered)),
        loss_weight_R=None,
        rate_R=np.full(len(offered), 4e-3),
        ceiling_flops=FLOPS,
        spent_flops=0,
        total_flops=FLOPS,
        seed=0,
        start=None,
        start_digest=None,
        checkpoint="taught",
    )
    trainer.train(job)
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def _text(example: Example, supervision: str) -> str:
    return next(target.text for target in example.targets if target.supervision == supervision)


@contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    """`transformers serve` with a folder's model, until the block ends; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    binary = Path(sys.executable).with_name("transformers")
    flags = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(binary), "serve", str(folder), *flags],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: process.poll() is not None or _is_up(port), what="transformers serve")
        assert process.poll() is None, log.read_text()[-2000:]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
