"""Ask a teacher: the same questions with its thinking on and off, the right completions kept.

python -m experiments.traces teach corpus.jsonl --output_dir D --base_url http://127.0.0.1:8000/v1 --model NAME
python -m experiments.traces teach gsm8k/ --output_dir D --local runs/x/student --temperature 0
python -m experiments.traces teach corpus.jsonl --output_dir D --base_url URL --model NAME --dry_run true

The corpus is then in D/corpus, what it cost in D/summary.json. The same command goes on with what was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from controller.actors import start_ray
from controller.config import Json, Where
from controller.traces.pairing import Pairing
from controller.traces.teachers import ActorTeacher, open_local
from controller.traces.teaching import CORPUS, SUMMARY, Teaching, TeachingConfig
from curricula.corpus import Corpus, open_corpus
from curricula.types import Cost
from experiments.corpora.asking import Options, local_model, server_teacher, teaching_config
from experiments.summary import flops_text
from trainers.teachers.server_teacher import ServerTeacher
from trainers.teachers.teacher import TeacherError

SOURCE = "a saved corpus, a .jsonl or .parquet file, or a GSM8K folder: questions with their answers"


def run(options: Options, console: Console) -> None:
    """The command.

    Raises:
        ValueError: the flags, the corpus or the folder cannot be used, or the teacher cannot be asked.
    """
    corpus, config = open_corpus(options.source), teaching_config(options)
    try:
        if options.dry_run:
            _price(options, config, corpus, console)
            return
        with Teaching(corpus, config, Path(options.output_dir)) as teaching:
            if teaching.answered:
                console.print(
                    f"going on: {teaching.answered:,} of {teaching.pairing.requests:,} requests are answered already"
                )
            if teaching.answered < teaching.pairing.requests:
                with _teacher(options, config) as teacher:
                    _ask(teaching, teacher, console)
            summary = teaching.finish()
        console.print(_table(summary))
        for note in _notes(options):
            console.print(note)
        folder = Path(options.output_dir)
        console.print(Text(f"corpus: {folder / CORPUS}   summary: {folder / SUMMARY}"), soft_wrap=True)
    except TeacherError as error:
        raise ValueError(f"{error}; what was answered is kept, and the same command goes on with it") from None


def _ask(teaching: Teaching, teacher: ServerTeacher | ActorTeacher, console: Console) -> None:
    """Ask for what is missing, under a progress bar."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        transient=True,
    )
    tokens, began = 0, time.monotonic()
    with bar:
        task = bar.add_task(
            teacher.name or "teacher", total=teaching.pairing.requests, completed=teaching.answered, figures="waiting"
        )
        for outcome in teaching.ask(teacher):
            tokens += outcome.cost.tokens
            speed = tokens / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=teaching.answered, figures=_figures(teaching.pairing, speed))


def _figures(pairing: Pairing, tokens_per_second: float) -> str:
    tallies = pairing.tallies.values()
    counts = {
        "kept": sum(tally.kept for tally in tallies),
        "rejected": sum(tally.rejected for tally in tallies),
        "refused": sum(tally.refused for tally in tallies),
    }
    dollars = sum(tally.cost.dollars for tally in tallies)
    parts = [f"{count:,} {name}" for name, count in counts.items()]
    return "  ".join([*parts, f"{tokens_per_second:,.0f} tokens/s", *([f"${dollars:,.2f}"] if dollars else [])])


@contextmanager
def _teacher(options: Options, config: TeachingConfig) -> Iterator[ServerTeacher | ActorTeacher]:
    """The teacher, ready to be asked.

    Raises:
        ValueError: a local model cannot be loaded, or cannot write both sides.
    """
    if options.local is None:
        yield server_teacher(options, config.plan.name)
        return
    settings = local_model(options, config.plan.name)
    start_ray(Where(output_dir=Path(options.output_dir), cache_dir=settings.cache_dir), threads=settings.threads)
    teacher = open_local(settings)
    try:
        if not teacher.toggles and len(config.plan.sides) > 1:
            raise ValueError(
                f"the chat template of {options.local} pays no heed to enable_thinking, so both sides would be the "
                "same; ask for one (--sides reasoning or --sides short), or give it a template that does"
            )
        yield teacher
    finally:
        teacher.close()


def _price(options: Options, config: TeachingConfig, corpus: Corpus, console: Console) -> None:
    """Print what it may take at most, asking nobody."""
    pairing = Pairing(corpus, config.plan)
    requests = [request for _, request in pairing.missing()]
    table = Table(title=Text(f"{corpus.name}: {len(pairing.asked):,} questions, at most"), title_justify="left")
    for name in ("side", "requests", "tokens read", "tokens written", "FLOPs", "dollars"):
        table.add_column(name, justify="left" if name == "side" else "right")
    whole = Cost()
    with _teacher(options, config) as teacher:
        for side in config.plan.sides:
            own = [request for request in requests if request.thinking == (side == "reasoning")]
            written = len(own) * options.max_tokens
            if isinstance(teacher, ActorTeacher):
                cost = teacher.ceiling(own)
            else:
                read = sum(teacher.estimated_tokens(len(request.prompt)) for request in own)
                cost = teacher.cost(prompt_tokens=read, output_tokens=written)
            whole += cost
            table.add_row(side, f"{len(own):,}", f"{cost.tokens - written:,}", f"{written:,}", *_costs(cost))
    table.add_section()
    table.add_row("both" if len(config.plan.sides) > 1 else "all", f"{len(requests):,}", "", "", *_costs(whole))
    console.print(table)
    if options.local is None:
        console.print(f"tokens read are estimated at {options.chars_per_token:g} characters each")
    for note in _notes(options):
        console.print(note)


def _costs(cost: Cost) -> list[str]:
    return [flops_text(cost.flops) if cost.flops else "0", f"{cost.dollars:,.2f}"]


def _notes(options: Options) -> list[str]:
    """What the costs leave out."""
    notes = []
    if options.local is None and options.active_parameters is None:
        notes.append("FLOPs are 0 because --active_parameters was not declared")
    if options.local is None and not (options.price_in or options.price_out):
        notes.append("dollars are 0 because --price_in and --price_out were not given")
    return notes


def _table(summary: Mapping[str, Json]) -> Table:
    """What summary.json says, side by side, with the reasons below."""
    table = Table(title="what the teacher wrote", title_justify="left", caption_justify="left")
    names = ("right", "rejected", "refused", "examples_kept")
    table.add_column("side")
    for name in ("right", "rejected", "refused", "kept", "tokens", "FLOPs", "dollars"):
        table.add_column(name, justify="right")
    reasons: list[str] = []
    sides = summary["sides_asked"]
    assert isinstance(sides, dict)
    for side, told in sides.items():
        match told:
            case {
                "spent": {"tokens": int(tokens), "flops": int(flops), "dollars": float(dollars)},
                "reasons": dict(counts),
                **rest,
            }:
                cost = Cost(flops=flops, tokens=tokens, dollars=dollars)
                table.add_row(side, *(f"{rest[name]:,}" for name in names), f"{tokens:,}", *_costs(cost))
                reasons += [f"{side}: {reason}: {count:,}" for reason, count in counts.items()]
    table.caption = Text("\n".join(reasons)) if reasons else None
    return table
