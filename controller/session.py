"""A run from its flags to its folder: opens the student and the corpus, runs the loop, tests, and sums up."""

from __future__ import annotations

import dataclasses
import difflib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from controller.actors import Crew, WorkerSpec, start_ray
from controller.budgets import reopen_ledger, resolve_budget, run_budget
from controller.config import PROCEDURAL, Json, RunConfig, Where, config_dict
from controller.controller import latest, run
from controller.ledger import Ledger
from controller.record import RunFolder
from controller.resolve import resolve_corpus, resolve_student, resolve_threads, run_tuning
from controller.students import Doing, Students
from controller.tables import Identity, Settings, TokenCounts, build_table
from curricula.corpus import Corpus, open_corpus
from curricula.procedural import generate
from curricula.types import RunState, Split, StageResult
from evaluators.user_grader import check_grader
from trainers.batches import BatchSizes

PROCEDURAL_EXAMPLES = 20_000
PROCEDURAL_SEED = 0  # of the corpus, not of the run: every run is tested on the same questions
LIBRARIES = ("torch", "transformers", "trl", "peft", "numpy", "scikit-learn")


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """A run with everything it needs open."""

    config: RunConfig  # resolved
    where: Where
    corpus: Corpus
    counts: TokenCounts
    identity: Identity
    crew: Crew
    folder: RunFolder
    students: Students
    state: RunState
    ledger: Ledger  # of the state's history


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A student and a corpus, open and measured, before anything is spent or written to a run folder."""

    config: RunConfig  # resolved
    corpus: Corpus
    counts: TokenCounts
    identity: Identity
    crew: Crew


def named_corpus(name: str, *, strict: bool) -> Corpus:
    """A corpus that is made here, or one on disk.

    Raises:
        ValueError: there is none of that name; the nearest valid one is given.
    """
    if name in PROCEDURAL:
        examples = generate(examples=PROCEDURAL_EXAMPLES, seed=PROCEDURAL_SEED, families=PROCEDURAL[name])
        return Corpus.build(examples, name=name, strict=strict)
    if not Path(name).exists() and "/" not in name and "." not in name:
        near = difflib.get_close_matches(name, PROCEDURAL, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no corpus {name!r}: give {', '.join(PROCEDURAL)} or a path{hint}")
    return open_corpus(name, strict=strict)


@contextmanager
def prepare(config: RunConfig, where: Where) -> Iterator[Prepared]:
    """Start the actors and, while they load, build the corpus; then tokenize it and fill the config.

    Raises:
        ValueError: the grader, the student, its teacher or the corpus cannot be used, or the workers need more cores
            than there are.
    """
    if config.grader is not None:
        check_grader(config.grader)
    config = resolve_budget(resolve_threads(config))
    assert config.threads is not None
    start_ray(where, threads=config.threads)
    spec = WorkerSpec(
        student=config.student,
        white_box_teacher=config.white_box_teacher,
        seed=config.seed,
        threads=config.threads,
        cache_dir=where.cache_dir.absolute(),
    )
    crew = Crew(spec, workers=where.num_workers)
    try:
        corpus = named_corpus(config.corpus, strict=config.strict)
        corpus_dir = keep_corpus(corpus, spec.cache_dir)
        _check_splits(corpus, config)
        identity = crew.map([lambda worker: worker.describe()])[0]
        config = resolve_student(config, identity)
        max_tokens = config.max_tokens or 0
        counts = crew.set_up(lambda worker: worker.open(corpus_dir, max_tokens=max_tokens))
        config = resolve_corpus(config, counts)
        yield Prepared(config=config, corpus=corpus, counts=counts, identity=identity, crew=crew)
    finally:
        crew.close()


def keep_corpus(corpus: Corpus, cache_dir: Path) -> Path:
    """The folder that workers read a corpus from, saved unless it is there; runs that start together may save one."""
    folder = cache_dir / "corpora" / corpus.fingerprint
    if folder.exists():
        return folder
    aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    corpus.save(aside)
    try:
        aside.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(aside)  # another run was first, with the same content
    return folder


def _check_splits(corpus: Corpus, config: RunConfig) -> None:
    """Refuse before anything is spent what would only fail at the end."""
    for split in ("train", *evaluated_splits(config)):
        if not len(corpus.rows(split)):
            raise ValueError(f"corpus {config.corpus!r} has no examples in its {split} split; give it more examples")


def evaluated_splits(config: RunConfig) -> tuple[Split, ...]:
    """The held-out splits that a run ends with: dev always, test where it is asked for."""
    return ("dev", "test") if config.final_split == "test" else ("dev",)


@contextmanager
def open_session(config: RunConfig, where: Where, *, resume: bool, doing: Doing) -> Iterator[Session]:
    """Everything of a run, open; a resumed one with its history.

    Raises:
        ValueError: the student, the corpus, or the folder cannot be used, or the configuration changed.
    """
    where = dataclasses.replace(where, output_dir=where.output_dir.absolute())
    folder = RunFolder.open(where.output_dir, resume=resume)
    try:
        with prepare(config, where) as prepared:
            config = prepared.config
            folder.begin(run_identity(prepared), config_dict(config))
            settings = worker_settings(config, folder.checkpoints)
            prepared.crew.set_up(lambda worker: worker.begin(settings))
            yield _session(prepared, where, folder, doing)
    finally:
        folder.close()


def worker_settings(config: RunConfig, checkpoints: Path) -> Settings:
    """How workers of this run work."""
    assert (
        config.step_tokens and config.micro_batch_tokens and config.max_output_tokens and config.precision
    )  # resolved
    return Settings(
        sizes=BatchSizes(step_tokens=config.step_tokens, micro_batch_tokens=config.micro_batch_tokens),
        schedule=config.schedule,
        max_output_tokens=config.max_output_tokens,
        checkpoints=checkpoints,
        seed=config.seed,
        tuning=run_tuning(config),
        lora_alpha=config.lora_alpha,
        precision=config.precision,
        grader=config.grader,
        # An answer to a sum is its value, not the sum again; and what is made here has one way of writing it.
        mathematics=config.corpus not in PROCEDURAL,
    )


def run_identity(prepared: Prepared) -> dict[str, Json]:
    """All that must be the same for a resume: the config, and what its names stand for."""
    return {
        "config": config_dict(prepared.config),
        "corpus_fingerprint": prepared.corpus.fingerprint,
        "student_digest": prepared.identity.digest,
        "teacher_digest": prepared.identity.teacher_digest,
        "tasks": list(prepared.corpus.tasks),
        "probe_tasks": prepared.corpus.examples["task"].take(prepared.corpus.rows("probe")).to_pylist(),
        "supervisions": list(prepared.corpus.supervisions),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _session(prepared: Prepared, where: Where, folder: RunFolder, doing: Doing) -> Session:
    config, corpus, counts, identity = prepared.config, prepared.corpus, prepared.counts, prepared.identity
    assert config.max_output_tokens and config.micro_batch_tokens and config.learning_rates  # resolved
    tuning = run_tuning(config)
    train, train_row_N = build_table(
        corpus, "train", counts, shape=identity.shape, tuning=tuning, max_output_tokens=config.max_output_tokens
    )
    probe, probe_row_N = build_table(
        corpus, "probe", counts, shape=identity.shape, tuning=tuning, max_output_tokens=config.max_output_tokens
    )
    history = folder.rewind()
    speed = measured_speed(prepared) if config.budget[0] in ("seconds", "dollars") else 0.0
    budget = run_budget(config, train, device=identity.device, flops_per_second=speed)
    ledger = reopen_ledger(budget, history, folder.timings())
    doing.budget = budget
    students = Students(
        crew=prepared.crew,
        corpus=corpus,
        counts=counts,
        shape=identity.shape,
        adapters=tuning.adapters,
        train_table=train,
        train_row_N=train_row_N,
        probe_row_N=probe_row_N,
        seed=config.seed,
        learning_rates=config.learning_rates,
        max_output_tokens=config.max_output_tokens,
        batch_answers=config.batch_answers,
        micro_batch_tokens=config.micro_batch_tokens,
        folder=folder,
        doing=doing,
    )
    state = RunState(
        train=train,
        probe=probe,
        total_flops=ledger.total_flops,
        history=history,
        checkpoints=folder.existing(history),
        seed=config.seed,
    )
    return Session(
        config=config,
        where=where,
        corpus=corpus,
        counts=counts,
        identity=identity,
        crew=prepared.crew,
        folder=folder,
        students=students,
        state=state,
        ledger=ledger,
    )


def measured_speed(prepared: Prepared) -> float:
    """FLOPs a second that a worker trains, all side by side as in a run; the slowest is the one to wait for."""
    return min(prepared.crew.on_each(lambda worker: worker.training_flops_per_second()))


def spend(session: Session) -> RunState:
    """Run the loop until the budget is spent."""
    session.folder.note(
        event="loop",
        stages_done=len(session.state.history),
        dollars_per_second=session.ledger.budget.dollars_per_second,
    )
    return run(
        policy=session.config.policy,
        state=session.state,
        ledger=session.ledger,
        trainer=session.students,
        evaluator=session.students,
        record=session.folder,
    )


def final_stage(state: RunState) -> StageResult:
    """The stage whose student the run ends with.

    Raises:
        ValueError: the run has no stage.
    """
    last = latest(state.history)
    if last is None:
        raise ValueError("the run has no stage")
    return last
