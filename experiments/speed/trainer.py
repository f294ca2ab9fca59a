"""Our trainer beside plain TRL and a bare loop, as ratios of one run; what stands around it, in seconds.

Sides have a process each and take turns, round by round, on the same rows of the procedural corpus: one supervision
with similar lengths, and all supervisions mixed. The same weights, AdamW, fp32, clipping and about the same tokens a
step: TRL and the bare loop cut steps by rows, of which they take the number that comes nearest. TRL's `bare` column
keeps its own defaults. All have the same threads; what our workers ask of the C library's allocator is ours alone.
Then, with the tiny student: the seconds to the next stage's first step, the cold start of an actor, the controller's
share of a short run, planning at many rows, and two actors beside one. Figures are medians; the load stands beside
them, and ratios by CPU time beside those by the clock.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

from controller.actors import start_ray
from controller.config import PROCEDURAL, Where
from controller.session import PROCEDURAL_SEED
from curricula.corpus import Corpus
from curricula.procedural import generate
from experiments.speed.actors import ColdStart, cold_start, controller_share, pairs
from experiments.speed.bars import bars_table, speed_table, verdicts
from experiments.speed.figures import Measured, Planning, figures_of, machine
from experiments.speed.sides import TINY, Match, Process, RowSet, play

Part = Literal["speed", "next_stage", "planning", "actors"]
Status = Callable[[str], None]

TINY_STEP_FLOPS = 3 * 10**9  # one step of 512 tokens, generously
TRAIN_SHARE = 0.9  # of a procedural corpus's examples, about
MAX_TOKENS = 1024
POLICIES = ("Fixed", "Mixed", "Routed", "Adaptive")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    output: Path  # a JSON file for the figures
    only: Literal["all", "tiny", "smollm", "gpu"] = "all"  # students; gpu: SmolLM2 and 0.5 B, in bf16
    student: str | None = None  # SmolLM2-135M-Instruct: a folder, a hub id or a .gguf file; needed unless --only tiny
    parts: list[Part] = field(default_factory=lambda: ["speed", "next_stage", "planning", "actors"])  # what to measure
    rounds: int = 5  # of every side, and repeats of all else, whose median is told
    step_tokens: int = 512  # of one optimizer step, with the tiny student; its default in a run
    warmup_steps: int = 50  # of every side before its first round, with the tiny student; one with SmolLM2
    round_steps: int = 50  # with the tiny student: so many as TRL sorts by length at once, else rounds would differ
    large_round_steps: int = 2  # with SmolLM2
    gpu_step_tokens: int = 16_384  # of one optimizer step on a GPU
    threads: int = 1  # of each side with the tiny student
    large_threads: int = 2  # of each side with SmolLM2
    examples: int = 20_000  # of the procedural corpus
    rows: int = 20_000  # rows that a side draws from, and rows of the next stage
    stage_steps: int = 100  # of the next stage
    many_rows: int = 1_000_000  # the larger of the two sizes that planning is measured at
    few_rows: int = 10_000  # the smaller one, and training examples of the run whose controller is measured
    run_flops: float = 6e12  # of that run: the default of experiments.adaptive
    pair_flops: float = 5e11  # of one actor's stage where two are measured beside one
    work_dir: Path | None = None  # where corpora and runs are written, and removed again; a temporary folder where none

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")
        if self.only != "tiny" and self.student is None and "speed" in self.parts:
            raise ValueError("--student must name SmolLM2-135M-Instruct (a folder or a .gguf file); or --only tiny")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where this run of the benchmark keeps its things."""

    folder: Path
    corpus: Path
    few_corpus: Path

    @property
    def cache_dir(self) -> Path:
        """Tokens and converted students."""
        return self.folder / "cache"


def run(options: Options, console: Console) -> None:
    """Measure, write the figures, and show them."""
    load_before, began = os.getloadavg(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.work_dir, prefix="benchmark-") as name, console.status("") as line:
        measured = _measure(options, _place(Path(name), options), line.update)
    figures = figures_of(measured)
    written = {
        **dataclasses.asdict(figures),
        "bars": verdicts(figures),
        "rows": dataclasses.asdict(measured),
        "settings": dataclasses.asdict(options),
        "environment": {**machine(), "load_before": load_before, "load_after": os.getloadavg()},
        "benchmark_seconds": time.monotonic() - began,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(written, indent=2, default=str) + "\n", "utf-8")
    if measured.played:
        console.print(speed_table(measured.played))
    console.print(bars_table(figures))
    console.print(
        f"load before: {load_before[0]:.2f}, after: {os.getloadavg()[0]:.2f}; written: {options.output}", soft_wrap=True
    )


def _place(folder: Path, options: Options) -> Place:
    """Write the corpora."""
    place = Place(folder=folder, corpus=folder / "corpus", few_corpus=folder / "few")
    for path, examples in ((place.corpus, options.examples), (place.few_corpus, round(options.few_rows / TRAIN_SHARE))):
        made = generate(examples=examples, seed=PROCEDURAL_SEED, families=PROCEDURAL["procedural"])
        Corpus.build(made, name="procedural", strict=True).save(path)
    return place


def _measure(options: Options, place: Place, status: Status) -> Measured:
    measured = Measured(
        played=tuple(play(match, status) for match in _matches(options, place)) if "speed" in options.parts else (),
        next_stage_seconds=_next_stage(options, place, status) if "next_stage" in options.parts else {},
        planning=_planning(options, status) if "planning" in options.parts else (),
        many_rows=options.many_rows,
    )
    return _with_actors(measured, options, place, status) if "actors" in options.parts else measured


def _with_actors(measured: Measured, options: Options, place: Place, status: Status) -> Measured:
    """The same with what is measured on actors; Ray is started first, and not counted."""
    status("Ray starts")
    began = time.monotonic()
    start_ray(Where(output_dir=place.folder), threads=1)
    ray_start_seconds = time.monotonic() - began
    cold_starts = _cold_starts(options, place, status)
    status("the controller's share of a run")
    share = controller_share(
        place.few_corpus,
        student=TINY,
        total_flops=options.run_flops,
        folder=place.folder / "share",
        cache_dir=place.cache_dir,
    )
    status("two actors beside one")
    beside = (
        pairs(
            place.corpus,
            student=TINY,
            stage_flops=int(options.pair_flops),
            rounds=options.rounds,
            folder=place.folder / "pairs",
            cache_dir=place.cache_dir,
        )
        if (os.cpu_count() or 1) >= 2
        else ()
    )
    return dataclasses.replace(
        measured, ray_start_seconds=ray_start_seconds, cold_starts=cold_starts, share=share, pairs=beside
    )


def _matches(options: Options, place: Place) -> list[Match]:
    row_sets: tuple[RowSet, ...] = ("similar", "mixed")
    tiny = Match(
        student=TINY,
        rows="similar",
        corpus=place.corpus,
        cache_dir=place.cache_dir,
        max_tokens=MAX_TOKENS,
        max_rows=options.rows,
        step_tokens=options.step_tokens,
        micro_batch_tokens=8192,
        threads=options.threads,
        warmup_steps=options.warmup_steps,
        round_steps=options.round_steps,
        rounds=options.rounds,
    )
    if options.only == "gpu" and options.student is not None:
        smollm = dataclasses.replace(
            tiny,
            student=options.student,
            step_tokens=options.gpu_step_tokens,
            micro_batch_tokens=options.gpu_step_tokens,
            warmup_steps=5,
            round_steps=10,
            precision="bf16",
            side_by_side=False,  # their memory together would not fit one device
        )
        students = [smollm, dataclasses.replace(smollm, half_billion=True)]
        return [dataclasses.replace(student, rows=rows) for student in students for rows in row_sets]
    students = [] if options.only == "smollm" else [tiny]
    if options.only in ("all", "smollm") and options.student is not None:
        large = dataclasses.replace(
            tiny,
            student=options.student,
            step_tokens=2048,
            micro_batch_tokens=1024,
            threads=options.large_threads,
            warmup_steps=1,
            round_steps=options.large_round_steps,
            side_by_side=False,  # five students of this size with their moments do not fit a small machine
        )
        students.append(large)
    return [dataclasses.replace(student, rows=rows) for student in students for rows in row_sets]


def _next_stage(options: Options, place: Place, status: Status) -> dict[str, tuple[float, ...]]:
    """Seconds to the next stage's first step, repeat by repeat, by side."""
    found = {}
    for side in ("ours", "trl"):
        status(f"the next stage's first step, {side}")
        values = {
            "side": side,
            "student": TINY,
            "corpus": place.corpus,
            "cache_dir": place.cache_dir,
            "max_tokens": MAX_TOKENS,
            "rows": options.rows,
            "step_tokens": options.step_tokens,
            "micro_batch_tokens": 8192,
            "threads": options.threads,
            "stage_steps": options.stage_steps,
            "repeats": options.rounds,
        }
        flags = [part for name, value in values.items() for part in (f"--{name}", str(value))]
        with Process("trainers.yardsticks.next_stage", flags, threads=options.threads) as process:
            found[side] = tuple(float(str(answer["seconds"])) for answer in process.answers())
    return found


def _planning(options: Options, status: Status) -> tuple[Planning, ...]:
    """Every repeat, a process for each policy and number of rows."""
    found = []
    for rows in dict.fromkeys((options.few_rows, options.many_rows)):
        for policy in POLICIES:
            status(f"planning, {policy}, {rows:,} rows")
            flags = ["--policy", policy, "--rows", str(rows), "--repeats", str(options.rounds)]
            with Process("experiments.speed.planning", flags, threads=options.threads) as process:
                found += [Planning.read(answer, policy=policy, rows=rows) for answer in process.answers()]
    return tuple(found)


def _cold_starts(options: Options, place: Place, status: Status) -> tuple[ColdStart, ...]:
    """The first one also tokenizes the corpus."""
    found = []
    for turn in range(options.rounds + 1):
        status(f"cold start of an actor, {turn + 1} of {options.rounds + 1}")
        found.append(
            cold_start(
                place.corpus,
                student=TINY,
                step_flops=TINY_STEP_FLOPS,
                folder=place.folder / f"cold-{turn}",
                cache_dir=place.folder / "cold-cache",
            )
        )
    return tuple(found)
