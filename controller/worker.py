"""One student in one process: opens a corpus, trains stages, answers questions. No Ray in here.

A worker is told who it is (`describe`), what to read (`open`) and how to work (`begin`), in that order; every later
request names the checkpoint it is about, so any worker can serve any request.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.tables import Identity, Settings, TokenCounts
from curricula.corpus import Corpus
from curricula.types import Charge, ProbeMode, Purpose
from evaluators.grading import Grader
from evaluators.probe import Answers
from trainers.adapters import add_adapters, merged_weights
from trainers.batches import Integers
from trainers.choices import choice_rows
from trainers.collate import Rows, check_logits
from trainers.generation import Generator
from trainers.jobs import NotFiniteError, StageError, StageJob, StageOutcome, StageProgress
from trainers.memory import PeakMemory
from trainers.objectives.teacher import check_teacher, load_white_box_teacher
from trainers.positions import most_positions, stated_positions
from trainers.pricing.shape import model_shape
from trainers.process import default_device, default_precision, set_up_process
from trainers.stage import StageTrainer
from trainers.student import Student, load_student, student_identity
from trainers.tokens import open_tokens

NAMED_ROWS = 32
"""How many rows of a step that went wrong are named."""


class StudentWorker:
    """The student, its white-box teacher if it has one, its trainer and its generator."""

    def __init__(
        self, *, student: str, seed: int, threads: int, cache_dir: Path, white_box_teacher: str | None = None
    ) -> None:
        """Load the student and, if one is named, its teacher.

        Raises:
            ValueError: there is no such model, or the teacher reads other tokens.
        """
        set_up_process(threads=threads)
        self.name, self.seed, self.cache_dir = student, seed, cache_dir
        self.student = self._fresh_student()
        self.shape = model_shape(self.student.model)
        self.memory = PeakMemory(self.student.model.device)
        self.teacher = None
        if white_box_teacher is not None:
            self.teacher = load_white_box_teacher(
                white_box_teacher,
                student=self.student,
                seed=seed,
                cache_dir=cache_dir,
                device=self.student.model.device,
            )

    def describe(self) -> Identity:
        """Who the student is, and its teacher."""
        return Identity(
            name=self.name,
            digest=student_identity(self.name, self.seed, self.cache_dir),
            shape=self.shape,
            positions=stated_positions(self.student.model.config) or 1024,
            device=self.student.model.device.type,
            precision=default_precision(),
            teacher=None if self.teacher is None else self.teacher.shape,
            teacher_digest=None
            if self.teacher is None
            else student_identity(self.teacher.name, self.seed, self.cache_dir),
        )

    def open(self, corpus_dir: Path, *, max_tokens: int) -> TokenCounts:
        """Tokenize a saved corpus, or find it tokenized.

        Raises:
            ValueError: a row may be longer, or a question is as long, as all that the student can read.
        """
        self.corpus = Corpus.load(corpus_dir)
        self.store = open_tokens(self.corpus, self.student.tokenizer, max_tokens=max_tokens, cache_dir=self.cache_dir)
        self._refuse_length(max_tokens)
        return TokenCounts(
            prompt_tokens_N=np.array(self.store.prompt_tokens_N),
            target_tokens_NS=np.array(self.store.target_tokens_NS),
            too_long_S=np.array(self.store.too_long_NS.sum(0), dtype=np.int64),
            think_tokens=len(self.store.think_prefix),
        )

    def _refuse_length(self, max_tokens: int) -> None:
        most = most_positions(self.student.model.config)
        if most is None:
            return
        if max_tokens > most:
            raise ValueError(f"student {self.name!r} reads at most {most} tokens: set --max_tokens {most}")
        asked_Q = np.concatenate([self.corpus.rows(split) for split in ("probe", "dev", "test")])
        tokens_Q = self.store.prompt_tokens_N[asked_Q] + len(self.store.think_prefix)
        if len(long := asked_Q[tokens_Q >= most]):
            first = int(long[0])
            raise ValueError(
                f"student {self.name!r} reads at most {most} tokens, which leaves no room to answer {len(long)} "
                f"questions of probe, dev and test, such as {self.corpus.examples['id'][first].as_py()} with "
                f"{self.store.prompt_tokens_N[first]}: leave them out of the corpus"
            )

    def begin(self, settings: Settings) -> None:
        """Put adapters into the student where it is to have them; build the trainer, generator and grader.

        Raises:
            ValueError: the student or its teacher computes its logits otherwise than training does, or a row is longer
                than the teacher reads.
        """
        check_logits(
            self.student.model,
            self.store,
            name=self.name,
            pad_id=self.student.pad_id,
            precision=settings.precision,
        )
        if self.teacher is not None:
            check_teacher(self.teacher, self.store, pad_id=self.student.pad_id)
        self.settings = settings
        adapters = settings.tuning.adapters
        if adapters is not None:
            assert settings.lora_alpha is not None  # resolved
            add_adapters(self.student.model, rank=adapters.rank, alpha=settings.lora_alpha, seed=settings.seed)
        self.generator = Generator(
            student=self.student,
            store=self.store,
            shape=self.shape,
            max_output_tokens=settings.max_output_tokens,
            micro_batch_tokens=settings.sizes.micro_batch_tokens,
            adapters=adapters,
        )
        self.grader = Grader(function=settings.grader, mathematics=settings.mathematics)
        self.trainer = StageTrainer(
            student=self.student,
            store=self.store,
            shape=self.shape,
            sizes=settings.sizes,
            schedule=settings.schedule,
            checkpoints=settings.checkpoints,
            seed=settings.seed,
            tuning=settings.tuning,
            precision=settings.precision,
            teacher=self.teacher,
        )

    def train(self, job: StageJob) -> StageOutcome:
        """Train one stage and save its checkpoint.

        Raises:
            StageError: it cannot be trained; what was not finite is named by question and supervision.
        """
        if job.start is None and self.trainer.held is not None:
            # A fork from the very beginning, on a worker that has trained already.
            self.student = self._fresh_student()
            self.begin(self.settings)
        self.memory.begin()
        try:
            outcome = self.trainer.train(job)
            return dataclasses.replace(outcome, peak_bytes=self.memory.since_begin())
        except NotFiniteError as error:
            bad, others = self._names(job, error.bad_rows), self._names(job, error.other_rows)
            kept = "nothing was saved" if job.start is None else f"checkpoint {job.start} is kept"
            raise StageError(
                f"the training {error.what} is not finite at {bad}{f', in a step with {others}' if others else ''}; "
                f"{kept}; lower --learning_rates, or look at these targets"
            ) from None

    def _names(self, job: StageJob, rows: Sequence[int]) -> str:
        """Plan rows as a person finds them in the corpus: id and supervision; the first of them, if they are many."""
        shown = list(rows[:NAMED_ROWS])
        ids = self.corpus.examples["id"].take(job.example_R[shown]).to_pylist()
        names = [self.corpus.supervisions[int(column)] for column in job.supervision_R[shown]]
        more = [f"{len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
        return ", ".join([*(f"{one} ({name})" for one, name in zip(ids, names, strict=True)), *more])

    def _fresh_student(self) -> Student:
        student = load_student(self.name, seed=self.seed, cache_dir=self.cache_dir)
        student.model.to(default_device())  # pyright: ignore[reportArgumentType] the stub takes the device for self
        return student

    def progress(self) -> StageProgress | None:
        """Where the running stage stands; safe to ask from another thread."""
        return self.trainer.progress

    def answer(
        self, checkpoint: str, examples: Sequence[int], mode: ProbeMode, purpose: Purpose
    ) -> tuple[Answers, Charge]:
        """Answer one batch of corpus examples and grade the answers.

        Raises:
            OSError: a process that grades cannot be started.
        """
        self.trainer.hold(checkpoint)
        generated = self.generator.generate_batch(examples, mode=mode, purpose=purpose)
        grades = self.grader(self.corpus, examples, generated.text_Q)
        answers = Answers(
            example_Q=np.array(examples, dtype=np.int64),
            text_Q=generated.text_Q,
            correct_Q=grades.correct_Q,
            parsed_Q=grades.parsed_Q,
            ungraded_Q=grades.ungraded_Q,
            output_tokens_Q=generated.output_tokens_Q,
            truncated_Q=generated.truncated_Q,
        )
        return answers, generated.charge

    def force(
        self, checkpoint: str, example_Q: Integers, supervision_Q: Integers, purpose: Purpose
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], Charge]:
        """Losses of rows under teacher forcing, and whether greedy decoding would write them."""
        self.trainer.hold(checkpoint)
        rows = Rows(store=self.store, example_R=example_Q, supervision_R=supervision_Q)
        forced = self.generator.force(rows, purpose=purpose)
        return forced.loss_Q, forced.exact_Q, forced.charge

    def choice_nats(
        self, checkpoint: str, examples: Sequence[int], texts_Q: Sequence[Sequence[str]]
    ) -> tuple[list[list[float]], Charge]:
        """Nats of writing each of some texts, and no more, right after each question; recorded as evaluation."""
        self.trainer.hold(checkpoint)
        rows = choice_rows(self.store, self.student.tokenizer, examples, texts_Q)
        forced = self.generator.force(rows, purpose="evaluate")
        nats_R = forced.loss_Q * rows.target_tokens_R
        ends = np.cumsum([len(texts) for texts in texts_Q])[:-1]
        return [part.tolist() for part in np.split(nats_R, ends)], forced.charge

    def answer_seconds(self, checkpoint: str, examples: Sequence[int]) -> tuple[list[float], list[Charge]]:
        """Seconds of answering each of these examples alone and freely, ungraded; recorded as evaluation.

        The first is answered once before, and not timed: the first pass in a process also chooses kernels and takes
        memory.
        """
        self.trainer.hold(checkpoint)
        seconds, charges = [], []
        for example in [*examples[:1], *examples]:
            began = time.monotonic()
            charges.append(self.generator.generate_batch([example], mode="free", purpose="evaluate").charge)
            seconds.append(time.monotonic() - began)
        return seconds[1:], charges

    def export(self, checkpoint: str, folder: Path, card: str) -> None:
        """Write the student as a Hugging Face checkpoint with a model card, adapters merged into its layers."""
        self.trainer.hold(checkpoint)
        self.student.model.save_pretrained(folder, state_dict=merged_weights(self.student.model))
        self.student.tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")

    def training_flops_per_second(self) -> float:
        """FLOPs of the ledger that this machine trains in a second: one real micro-batch, forward and backward."""
        return self.trainer.flops_per_second()

    def peak_bytes(self) -> int:
        """Most memory this process has held."""
        return self.memory.resident_bytes()
