"""Shorter traces beside the full ones: each method and ratio gives one supervision more.

python -m experiments.traces compress corpora/mine --output_dir corpora/mine-steps --method steps --scorer models/small
python -m experiments.traces compress corpora/mine --output_dir D --method truncated --match compressed:steps@0.3
python -m experiments.traces compress corpora/mine --output_dir D --method rewrite --base_url URL --model NAME

truncated   the beginning of a trace: the length-matched control
steps       whole steps left out, checks and repetitions first, then what tells least; never what carries the result
tokens      words left out that depend least on the answer
rewrite     an instruct model writes it shorter
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from controller.config import user_cache
from controller.traces.pipeline import transform_corpus
from curricula.stream.scan import Scan, scan_folder
from curricula.traces.shares import LengthRanks
from curricula.types import Cost, Supervision
from experiments.command_line import TINY_STUDENTS, nearest
from experiments.corpora.tables import dollars_text
from experiments.summary import flops_text
from trainers.compressors.spec import CompressorSpec, Method, Signal
from trainers.compressors.targets import Cuts, stands_for, trace_of
from trainers.teachers.sampling import LocalModel, Sampling
from trainers.teachers.server_teacher import ServerTeacher

SOURCE = "a corpus folder"
DEFAULT_RATIOS = (0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    source: str
    output_dir: Path  # the new corpus: everything of the old one, and the new targets
    method: Method  # truncated, steps, tokens or rewrite
    ratios: tuple[float, ...] = DEFAULT_RATIOS  # shares of a trace's tokens to keep, each in (0, 1)
    source_supervision: str = "reasoning"  # what to shorten; without a #teacher, of every teacher
    match: str | None = None  # truncated only: the supervision whose length to match row by row, in place of ratios
    by_difficulty: bool = False  # keep more of the longer traces of a task; the mean over it stays the ratio
    label: str | None = None  # stands for the method's name in the new supervisions
    scorer: str | None = None  # steps and tokens: a small causal language model (folder, hub id, .gguf file)
    signal: Signal = "entropy"  # steps: what a step tells is the sum of its tokens' entropies, or surprisals
    tokenizer: str = "tiny"  # truncated and rewrite: counts tokens; tiny counts characters
    base_url: str | None = None  # rewrite: a server that speaks OpenAI's chat completions
    model: str | None = None  # rewrite: its model; or, without a base_url, a local one (folder, hub id, .gguf file)
    attempts: int = 3  # rewrite: samples asked for until one can be used
    sampling: Sampling = field(default_factory=Sampling)  # rewrite: how they are drawn
    api_key_env: str = "OPENAI_API_KEY"  # rewrite: the environment variable that holds the server's key
    concurrency: int = 16  # rewrite: requests under way at once
    active_parameters: float | None = None  # rewrite: parameters the server uses per token; its FLOPs are 0 where none
    price_in: float = 0.0  # rewrite: dollars per million tokens read
    price_out: float = 0.0  # rewrite: dollars per million tokens written
    journal: Path | None = None  # rewrite: keeps what was written, to go on from; OUTPUT_DIR.rewrites.jsonl where none
    name: str | None = None  # of the new corpus; that of its folder where none
    workers: int = 1  # processes; 0 for this one; a rewrite has one at most
    threads: int = 1  # of each
    batch_examples: int = 64  # examples handled at once
    cache_dir: Path = field(default_factory=user_cache)  # where converted .gguf files are kept
    strict: bool = False  # refuse to leave anything out

    def __post_init__(self) -> None:
        for ratio in self.ratios:
            if not 0.0 < ratio < 1.0:
                raise ValueError(f"--ratios must lie in (0, 1), got {ratio}")
        if not self.ratios and self.match is None:
            raise ValueError("--ratios is empty; give one share to keep or more, such as --ratios '[0.3]'")
        if len({f"{ratio:g}" for ratio in self.ratios}) < len(self.ratios):
            raise ValueError(f"--ratios names one share twice: {list(self.ratios)}")
        Supervision.parse(self.source_supervision)
        if self.match is not None:
            Supervision.parse(self.match)
            if self.method != "truncated":
                raise ValueError(f"--match is for --method truncated, not for {self.method}")
        if min(self.threads, self.batch_examples, self.attempts) < 1 or self.workers < 0:
            raise ValueError("--threads, --batch_examples and --attempts must be 1 or more, --workers 0 or more")
        if self.output_dir.resolve() == Path(self.source).resolve():
            raise ValueError(f"--output_dir is the corpus that is read, {self.source}; give another folder")


def run(options: Options, console: Console) -> None:
    """Write the new corpus and show what came of it.

    Raises:
        ValueError: there is no such corpus, supervision or model; a server is out of reach; or more is lost than may.
        OSError: the output cannot be written.
    """
    source = Path(options.source)
    scan = scan_folder(source)
    lengths = _source_lengths(scan, options)
    spec = _spec(options, LengthRanks.of(lengths) if options.by_difficulty else None)
    if spec.scorer in TINY_STUDENTS:
        console.print(
            Text.assemble(("note", "yellow"), f" scorer {spec.scorer} was never trained: its choices mean nothing")
        )
    with Progress(
        TextColumn(f"compress {options.method}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=scan.example_rows)
        outcome = transform_corpus(
            source,
            options.output_dir,
            spec.build,
            name=options.name,
            workers=min(options.workers, 1) if options.method == "rewrite" else options.workers,
            batch_examples=options.batch_examples,
            strict=options.strict,
            progress=lambda rows, _: progress.update(bar, completed=rows),
        )
    made = _made(scan_folder(options.output_dir), {*_counts(scan)})
    sources = sum(len(of_task) for of_task in lengths.values())
    console.print(_table(outcome.written.name, options.source_supervision, sources, made))
    for reason, count in _new_losses(scan.dropped, outcome.written.dropped).items():
        console.print(Text.assemble(("left out", "yellow"), f" {count:,}: {reason}"))
    console.print(Text(f"written: {options.output_dir}"), soft_wrap=True)


def _spec(options: Options, ranks: LengthRanks | None) -> CompressorSpec:
    cuts = Cuts(
        source=options.source_supervision,
        ratios=() if options.match else options.ratios,
        match=options.match,
        ranks=ranks,
        label=options.label,
    )
    rewrites = options.method == "rewrite"
    beside = options.output_dir.with_name(f"{options.output_dir.name}.rewrites.jsonl")
    return CompressorSpec(
        method=options.method,
        cuts=cuts,
        cache_dir=options.cache_dir,
        scorer=options.scorer,
        signal=options.signal,
        tokenizer=options.tokenizer,
        teacher=_teacher(options) if rewrites else None,
        attempts=options.attempts,
        journal=(options.journal or beside) if rewrites else None,
        threads=options.threads,
    )


def _teacher(options: Options) -> ServerTeacher | LocalModel:
    """Who rewrites."""
    if options.model is None:
        raise ValueError(
            "--method rewrite needs --model: with --base_url the name of a server's model, without it a local "
            "instruct model (folder, hub id, .gguf file)"
        )
    if options.base_url is None:
        return LocalModel(
            name="",
            model=options.model,
            cache_dir=options.cache_dir,
            sampling=options.sampling,
            threads=options.threads,
        )
    return ServerTeacher(
        name="",
        base_url=options.base_url,
        model=options.model,
        sampling=options.sampling,
        api_key_env=options.api_key_env,
        concurrency=options.concurrency,
        active_parameters=options.active_parameters,
        price_in=options.price_in,
        price_out=options.price_out,
    )


def _counts(scan: Scan) -> Counter[str]:
    """Targets by supervision."""
    counts: Counter[str] = Counter()
    for batch in scan.targets(["supervision"]):
        counts.update(batch["supervision"].to_pylist())
    return counts


def _source_lengths(scan: Scan, options: Options) -> dict[str, array[int]]:
    """Characters of every trace that is to be shortened, by task.

    Raises:
        ValueError: no target is of that supervision, or of the one to match; those offered are named.
    """
    offered = _counts(scan)
    for flag, name in (("--source_supervision", options.source_supervision), ("--match", options.match)):
        if name is not None and not any(
            stands_for(Supervision.parse(name), Supervision.parse(other)) for other in offered
        ):
            raise ValueError(
                f"{flag}: corpus {scan.name!r} has no target under {name!r}{nearest(name, list(offered))}; it has "
                f"{', '.join(sorted(offered))}"
            )
    matching = _matching(options.source_supervision, offered)
    examples = enumerate(row for batch in scan.examples(["task", "answer"]) for row in batch.to_pylist())
    place, example = next(examples)
    lengths: defaultdict[str, array[int]] = defaultdict(lambda: array("i"))
    for batch in scan.targets(["example", "supervision", "text"]):
        for row in batch.to_pylist():
            while place < row["example"]:
                place, example = next(examples)
            if row["supervision"] in matching:
                lengths[example["task"]].append(len(trace_of(row["text"], example["answer"]) or ""))
    return lengths


def _matching(name: str, offered: Iterable[str]) -> set[str]:
    """Of the supervisions of a corpus those that a name stands for."""
    named = Supervision.parse(name)
    return {other for other in offered if stands_for(named, Supervision.parse(other))}


@dataclass(kw_only=True)
class _Made:
    """The targets of one new supervision."""

    token_ratios: list[float] = field(default_factory=list)
    char_ratios: list[float] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


def _made(scan: Scan, before: set[str]) -> dict[str, _Made]:
    """What a corpus has under supervisions that were not there before."""
    made: defaultdict[str, _Made] = defaultdict(_Made)
    for batch in scan.targets(
        ["supervision", "token_ratio", "char_ratio", "compress_flops", "compress_tokens", "compress_dollars"]
    ):
        for row in batch.to_pylist():
            if row["supervision"] in before:
                continue
            one = made[row["supervision"]]
            one.token_ratios.append(row["token_ratio"])
            one.char_ratios.append(row["char_ratio"])
            one.cost += Cost(
                flops=row["compress_flops"], tokens=row["compress_tokens"], dollars=row["compress_dollars"]
            )
    return dict(sorted(made.items()))


def _table(name: str, source: str, sources: int, made: Mapping[str, _Made]) -> Table:
    table = Table(
        title=Text(f"{name}: shortened from {sources:,} targets under {source}", style="table.title"),
        title_justify="left",
        caption="kept: median, and 10% to 90%, of kept over full; cost: of compressing, as each target takes alone",
        caption_justify="left",
    )
    table.add_column("supervision", overflow="fold")
    for column in ("targets", "tokens\nkept", "characters\nkept", "FLOPs", "tokens\nread", "dollars"):
        table.add_column(column, justify="right")
    for supervision, one in made.items():
        table.add_row(
            Text(supervision),
            f"{len(one.token_ratios):,}",
            _spread(one.token_ratios),
            _spread(one.char_ratios),
            flops_text(one.cost.flops),
            f"{one.cost.tokens:,}",
            dollars_text(one.cost.dollars),
        )
    if not made:
        table.add_row(Text("none"), "0", *[""] * 5)
    return table


def _spread(ratios: Sequence[float]) -> str:
    low, middle, high = np.quantile(np.array(ratios), (0.1, 0.5, 0.9))
    return f"{middle:.2f}\n{low:.2f}-{high:.2f}"


def _new_losses(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Losses by reason that a corpus has more than the one it was made from, the most frequent first."""
    more = {reason: count - before.get(reason, 0) for reason, count in after.items()}
    return dict(
        sorted(((reason, count) for reason, count in more.items() if count > 0), key=lambda one: (-one[1], one[0]))
    )
