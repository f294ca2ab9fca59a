"""Our generation beside plain `generate`, as ratios of one run, and the share of answers that are the same.

Both sides answer the same prompts greedily in fp32, each in a process of its own, and take turns round by round. Ours
as a run does: requests of --request_rows prompts by length. The other one calls transformers' `generate` on batches of
--batch_rows in the order of arrival. `tiny` answers test questions of the procedural corpus, after a short training
that teaches it to end its answers (kept for the next time); SmolLM2 those of GSM8K. Tokens a second are medians over
rounds, end tokens counted; ratios by CPU time stand beside those by the clock, and the load beside both.

Then once more with weights in bf16, untimed: which answers are those of plain `generate`, to the prompts one by one and
in its batches, and how many of either side's are right.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from controller.config import PROCEDURAL, user_cache
from controller.session import PROCEDURAL_SEED
from curricula.corpus import Corpus, open_corpus
from curricula.procedural import generate
from experiments.speed.bf16 import InBf16, bf16_table, in_bf16
from experiments.speed.figures import machine
from experiments.speed.sides import TINY, Process

MODULE = "trainers.yardsticks.generating"
SIDES = ("ours", "plain")
LEAST_RATIO = 2.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    output: Path  # a JSON file for the figures
    only: Literal["all", "tiny", "smollm"] = "all"
    student: str | None = None  # SmolLM2-135M-Instruct: a folder, a hub id or a .gguf file; needed unless --only tiny
    gsm8k: Path | None = None  # a folder with GSM8K's train.jsonl and test.jsonl; needed unless --only tiny
    rounds: int = 3  # of both sides, whose median is told
    batch_rows: int = 16  # of the plain side
    request_rows: int = 128  # of ours; the default of a run
    threads: int = 1  # of each side with tiny
    large_threads: int = 2  # of each side with SmolLM2
    prompts: int = 256  # of the procedural corpus
    large_prompts: int = 96  # of GSM8K
    large_alone: int = 32  # of those, that plain generate in bf16 also answers one by one; of tiny's all
    large_cap: int = 256  # output tokens of an answer to those, at most; of tiny its longest target's
    train_steps: int = 400  # of 16 rows, with which tiny learns to end its answers
    examples: int = 4000  # of the procedural corpus
    cache_dir: Path = dataclasses.field(default_factory=user_cache)  # for the trained student and tokens

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")
        if self.only != "tiny" and (self.student is None or self.gsm8k is None):
            raise ValueError(
                "--student must name SmolLM2-135M-Instruct (a folder or a .gguf file) and --gsm8k a folder with "
                "GSM8K's files; or --only tiny"
            )


@dataclass(frozen=True, kw_only=True)
class Match:
    """What both sides answer."""

    name: Literal["tiny", "smollm"]
    student: str
    corpus: Path  # saved
    prompts: int
    alone: int  # of them, the first so many, that plain generate in bf16 also answers one by one
    cap: int | None  # of output tokens; the longest target's where none
    threads: int
    micro_batch_tokens: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """One side's answers to all prompts."""

    student: str
    side: str
    seconds: float  # of the wall clock
    cpu_seconds: float  # of this process, all threads; what others do on the machine hardly shows in it
    output_tokens: tuple[int, ...]  # of each answer, end token counted
    digests: tuple[str, ...]  # of each answer's tokens

    @property
    def tokens_per_second(self) -> float:
        """By the wall clock."""
        return sum(self.output_tokens) / self.seconds

    @property
    def tokens_per_cpu_second(self) -> float:
        """By the processor's clock."""
        return sum(self.output_tokens) / self.cpu_seconds


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the rounds come to, by student."""

    ratios: dict[str, float]  # our tokens a second over plain generate's
    ratios_by_cpu_time: dict[str, float]
    identical: dict[str, float]  # share of answers that are the same in every round of both sides
    tokens_per_second: dict[str, dict[str, float]]  # by side


def run(options: Options, console: Console) -> None:
    """Measure, write the figures, and show them."""
    load_before, began = os.getloadavg(), time.monotonic()
    rounds: list[Round] = []
    told: dict[str, dict[str, object]] = {}
    in_bf16: dict[str, InBf16] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, console.status("") as line:
        for match in _matches(options, Path(folder), console):
            line.update(f"{match.name}: both sides load")
            found, said = _play(match, options)
            rounds += found
            told[match.name] = said
            line.update(f"{match.name}: in bf16")
            in_bf16[match.name] = _in_bf16(match, options)
    figures = figures_of(rounds)
    written = {
        **dataclasses.asdict(figures),
        "identical_bf16": {name: one.identical for name, one in in_bf16.items()},
        "identical_bf16_batches": {name: one.identical_to_batches for name, one in in_bf16.items()},
        "plain_bf16_itself": {name: one.plain_itself for name, one in in_bf16.items()},
        "accuracy_bf16": {name: dataclasses.asdict(one.accuracy) for name, one in in_bf16.items()},
        "bars": {name: "pass" if ratio >= LEAST_RATIO else "MISS" for name, ratio in figures.ratios.items()},
        "told": told,
        "rows": [dataclasses.asdict(one) for one in rounds],
        "settings": dataclasses.asdict(options),
        "environment": {**machine(), "load_before": load_before, "load_after": os.getloadavg()},
        "benchmark_seconds": time.monotonic() - began,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(written, indent=2, default=str) + "\n", "utf-8")
    console.print(_table(figures, rounds))
    console.print(bf16_table(in_bf16))
    console.print(
        f"load before: {load_before[0]:.2f}, after: {os.getloadavg()[0]:.2f}; written: {options.output}", soft_wrap=True
    )


def _matches(options: Options, folder: Path, console: Console) -> list[Match]:
    """Write the corpora, and train the tiny student unless that was done before."""
    found = []
    if options.only != "smollm":
        made = generate(examples=options.examples, seed=PROCEDURAL_SEED, families=PROCEDURAL["procedural"])
        corpus = Corpus.build(made, name="procedural", strict=True)
        corpus.save(folder / "procedural")
        match = Match(
            name="tiny",
            student=TINY,
            corpus=folder / "procedural",
            prompts=options.prompts,
            alone=options.prompts,
            cap=None,
            threads=options.threads,
            micro_batch_tokens=8192,
        )
        found.append(dataclasses.replace(match, student=str(_trained(match, corpus.fingerprint, options))))
    if options.only != "tiny" and options.student is not None and options.gsm8k is not None:
        open_corpus(options.gsm8k).save(folder / "gsm8k")
        found.append(
            Match(
                name="smollm",
                student=options.student,
                corpus=folder / "gsm8k",
                prompts=options.large_prompts,
                alone=options.large_alone,
                cap=options.large_cap,
                threads=options.large_threads,
                micro_batch_tokens=1024,
            )
        )
    return found


def _trained(match: Match, fingerprint: str, options: Options) -> Path:
    """The folder of the student that was trained on this corpus for so many steps."""
    kept = options.cache_dir / "benchmark" / f"tiny-{fingerprint[:16]}-{options.train_steps}"
    if kept.is_dir():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="making-") as aside:
        flags = ["--steps", str(options.train_steps), "--output", str(Path(aside) / "student")]
        with Process(MODULE, [*_flags("train", match, options), *flags], threads=match.threads) as process:
            process.answers()
        (Path(aside) / "student").rename(kept)
    return kept


def _flags(side: str, match: Match, options: Options) -> list[str]:
    values = {
        "side": side,
        "student": match.student,
        "corpus": match.corpus,
        "cache_dir": options.cache_dir,
        "threads": match.threads,
        "prompts": match.prompts,
        "alone": match.alone,
        "request_rows": options.request_rows,
        "batch_rows": options.batch_rows,
        "micro_batch_tokens": match.micro_batch_tokens,
        **({} if match.cap is None else {"cap": match.cap}),
    }
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def _play(match: Match, options: Options) -> tuple[list[Round], dict[str, object]]:
    """All rounds of one student, and what its sides said of the task."""
    rounds: list[Round] = []
    processes: dict[str, Process] = {}
    said: dict[str, object] = {}
    try:
        for side in SIDES:
            processes[side] = Process(MODULE, _flags(side, match, options), threads=match.threads)
            said = processes[side].answer()
        for _ in range(options.rounds):
            rounds += [_round(match.name, side, processes[side].ask()) for side in SIDES]
    finally:
        for process in processes.values():
            process.close()
    return rounds, said


def _in_bf16(match: Match, options: Options) -> InBf16:
    """What comes of weights in bf16."""
    with Process(MODULE, _flags("bf16", match, options), threads=match.threads) as process:
        (said,) = process.answers()
    # What is made here has one way of writing an answer, and a sum written again is none.
    return in_bf16(said, Corpus.load(match.corpus), mathematics=match.name != "tiny")


def _round(student: str, side: str, answer: dict[str, object]) -> Round:
    tokens, digests = answer["output_tokens"], answer["digests"]
    assert isinstance(tokens, list) and isinstance(digests, list)
    return Round(
        student=student,
        side=side,
        seconds=float(str(answer["seconds"])),
        cpu_seconds=float(str(answer["cpu_seconds"])),
        output_tokens=tuple(tokens),
        digests=tuple(digests),
    )


def figures_of(rounds: list[Round]) -> Figures:
    """Medians over rounds, and ratios of them; an answer is the same if every round of both sides gave it."""
    ratios, by_cpu, identical, speeds = {}, {}, {}, {}
    for student in dict.fromkeys(one.student for one in rounds):
        sides = {side: [one for one in rounds if (one.student, one.side) == (student, side)] for side in SIDES}
        wall = {side: statistics.median(one.tokens_per_second for one in own) for side, own in sides.items()}
        cpu = {side: statistics.median(one.tokens_per_cpu_second for one in own) for side, own in sides.items()}
        answers = [one.digests for own in sides.values() for one in own]
        same = [len(set(given)) == 1 for given in zip(*answers, strict=True)]
        ratios[student], by_cpu[student] = wall["ours"] / wall["plain"], cpu["ours"] / cpu["plain"]
        identical[student], speeds[student] = statistics.mean(same), wall
    return Figures(ratios=ratios, ratios_by_cpu_time=by_cpu, identical=identical, tokens_per_second=speeds)


def _table(figures: Figures, rounds: list[Round]) -> Table:
    table = Table(title="greedy answers, output tokens a second, medians", title_justify="left")
    table.add_column("student", no_wrap=True)
    for heading in ("answers", "tokens\neach", "plain\ngenerate", "ours", "ratio", "by CPU\ntime", "same", "bar"):
        table.add_column(heading, justify="right")
    for name, ratio in figures.ratios.items():
        tokens = next(one.output_tokens for one in rounds if one.student == name)
        table.add_row(
            *(name, str(len(tokens)), f"{statistics.mean(tokens):.1f}"),
            *(f"{figures.tokens_per_second[name][side]:,.0f}" for side in ("plain", "ours")),
            *(f"{ratio:.2f}", f"{figures.ratios_by_cpu_time[name]:.2f}", f"{figures.identical[name]:.1%}"),
            f"at least {LEAST_RATIO:g}: {'pass' if ratio >= LEAST_RATIO else 'MISS'}",
        )
    return table
