"""Checks every target's final answer against its example's, and keeps the verdict beside it.

python -m experiments.traces verify corpora/mine --output_dir corpora/mine-verified
python -m experiments.traces verify corpora/mine --output_dir D --keep_wrong true --workers 2

An answer is right as text, as a number, as a choice, or as mathematics. Targets whose answer is wrong or missing are
left out, or kept with their verdict. What cannot be decided stays "declared" where its source called it right, and is
"unchecked" otherwise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from controller.traces.pipeline import transform_corpus
from curricula.stream.scan import scan_folder
from curricula.types import VERDICTS, Verdict
from evaluators.accuracy import wilson
from evaluators.verdicts import FAULTS, Verifier
from experiments.summary import accuracy_text

SOURCE = "a corpus folder"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of the command."""

    source: str
    output_dir: Path  # the new corpus: the old one with verdicts, without what is wrong
    keep_wrong: bool = False  # keep targets that are wrong or give no answer, with their verdict
    mathematics: bool = True  # compare as mathematics what texts, numbers and choices cannot decide
    deadline_seconds: float = 5.0  # processor time of one such comparison; what takes longer is not decided
    name: str | None = None  # of the new corpus; that of the old one where none
    workers: int = 0  # processes of one core each; 0 for this one
    batch_examples: int = 256  # examples handled at once
    strict: bool = False  # refuse to leave anything out

    def __post_init__(self) -> None:
        if not 0.0 < self.deadline_seconds < float("inf"):
            raise ValueError(f"--deadline_seconds must be positive, got {self.deadline_seconds}")
        if self.batch_examples < 1 or self.workers < 0:
            raise ValueError("--batch_examples must be 1 or more, --workers 0 or more")
        if self.output_dir.resolve() == Path(self.source).resolve():
            raise ValueError(f"--output_dir is the corpus that is read, {self.source}; give another folder")


def run(options: Options, console: Console) -> None:
    """Write the corpus with its verdicts and show what they are.

    Raises:
        ValueError: there is no such corpus, or more is lost than may.
        OSError: the output cannot be written, or the process that compares mathematics cannot be started.
    """
    source = Path(options.source)
    make_step = partial(
        Verifier,
        keep_wrong=options.keep_wrong,
        mathematics=options.mathematics,
        deadline_seconds=options.deadline_seconds,
    )
    with Progress(
        TextColumn("verify"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=None)
        outcome = transform_corpus(
            source,
            options.output_dir,
            make_step,
            name=options.name,
            workers=options.workers,
            batch_examples=options.batch_examples,
            strict=options.strict,
            progress=lambda rows, total: progress.update(bar, completed=rows, total=total),
        )
    written = outcome.written
    counts = count_verdicts(options.output_dir, written.dropped)
    console.print(verdict_table(written.name, counts))
    for reason, count in written.dropped.items():
        console.print(Text.assemble(("left out", "yellow"), f" {count:,}: {reason}"))
    if 2 * sum(written.targets.values()) < sum(of_one.total() for of_one in counts.values()):
        console.print("[yellow]note[/yellow] more than half of the targets were left out")
    kept = f"{written.examples:,} of {outcome.rows:,} examples in {outcome.seconds:.1f} s"
    console.print(Text(f"written: {options.output_dir}, {kept}"), soft_wrap=True)


def count_verdicts(directory: Path, dropped: dict[str, int]) -> dict[str, Counter[Verdict]]:
    """Targets by supervision and verdict: those of a verified corpus, and those that were left out of it."""
    counts: dict[str, Counter[Verdict]] = {}
    for batch in scan_folder(directory).targets(["supervision", "verdict"]):
        pairs = zip(batch["supervision"].to_pylist(), batch["verdict"].to_pylist(), strict=True)
        for (supervision, verdict), count in Counter(pairs).items():
            counts.setdefault(supervision, Counter())[verdict] += count
    for verdict, fault in FAULTS.items():
        for reason, count in dropped.items():
            supervision, _, said = reason.partition(": ")
            if said == fault:
                counts.setdefault(supervision, Counter())[verdict] += count
    return counts


def verdict_table(name: str, counts: dict[str, Counter[Verdict]]) -> Table:
    """Every verdict's share of a supervision's targets, with its uncertainty."""
    title = Text(f"{name}: verdicts", style="table.title")
    table = Table(title=title, title_justify="left", caption="share: with a 95% interval (Wilson)")
    table.add_column("supervision")
    table.add_column("verdict")
    table.add_column("targets", justify="right")
    table.add_column("share of the supervision's", justify="right")
    for supervision, of_supervision in counts.items():
        table.add_section()
        total = of_supervision.total()
        first = supervision
        for verdict in VERDICTS:
            count = of_supervision[verdict]
            if count:
                share = accuracy_text(count / total, wilson(count, total))
                table.add_row(first, verdict.replace("_", " "), f"{count:,}", share)
                first = ""
    return table
