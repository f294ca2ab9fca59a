"""What the reader of a report states on the command line: prices, volumes, how answers are used, limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from curricula.types import BUDGET_PURPOSES
from evaluators.decision import Criterion, Limits
from evaluators.ownership import Terms
from evaluators.serving import Hardware, Once, Retries, SelfCorrection, TokenPrices, Usage
from experiments.findings.findings import FinishedRun, Reader

ASSUMED = Hardware(dollars_per_hour=3.0, peak_flops_per_second=2.5e14, utilisation=0.4)
"""Where the runs recorded no seconds: a GPU at 3 dollars an hour that reaches 1e14 FLOPs a second."""


@dataclass(frozen=True, kw_only=True)
class ReaderFlags:
    """The flags of a report's costs and decisions. docs/report.md says what stands where none is given."""

    dollars_per_hour: float | None = None  # of the machine that trains and serves; what the runs paid where none
    flops_per_second: float | None = None  # its peak; what the runs reached, in training and answering, where none
    utilisation: float = 0.4  # share of flops_per_second that is reached; only where that is given
    prompt_dollars_per_million_tokens: float | None = None  # serve behind an API at this price for what is read ...
    output_dollars_per_million_tokens: float | None = None  # ... and this one for what is written
    max_attempts: int = 1  # answers asked for until a checker accepts one
    repeats: float = 0.0  # share of queries whose attempts all get the first one's verdict; greedy decoding: 1
    check_dollars: float = 0.0  # of one check
    corrects: float | None = None  # self-correction: share of the wrong first answers that a second pass puts right
    spoils: float = 0.0  # share of the right first answers that it spoils
    error_dollars: float = 0.0  # price of a query whose last answer is wrong
    volumes: str | list[float] = "1e3,1e5,1e7"  # queries over a student's life, commas between
    criterion: Criterion = "dollars_per_correct"  # what decides: the cost of a correct answer, or the share right
    max_latency_seconds: float | None = None  # limit: of an answer, with all the passes that it takes on average
    max_memory_gib: float | None = None  # limit: of serving one answer
    max_budget_flops: float | None = None  # limit: of a training budget
    visible_reasoning: bool = False  # limit: whether answers have to show a think block


def reader_of(flags: ReaderFlags, runs: Sequence[FinishedRun]) -> Reader:
    """What the flags say, filled in from what the runs recorded.

    A FLOP costs what it cost the runs: the price of their workers' hours over the FLOPs done in them, in training for
    making and selecting, in answering dev and test for serving. A single answer of a lone user is slower than that.

    Raises:
        ValueError: a value is out of range, or flags exclude each other.
    """
    try:
        return Reader(
            terms=Terms(
                making=_hardware(flags, runs, BUDGET_PURPOSES),
                serving=_token_prices(flags) or _hardware(flags, runs, ("evaluate",)),
                usage=_usage(flags),
                error_dollars=flags.error_dollars,
            ),
            volumes=_volumes(flags.volumes),
            limits=Limits(
                max_latency_seconds=_limit("max_latency_seconds", flags.max_latency_seconds),
                max_memory_bytes=_whole(_limit("max_memory_gib", flags.max_memory_gib), 2**30),
                max_budget_flops=_whole(_limit("max_budget_flops", flags.max_budget_flops), 1),
                visible_reasoning=flags.visible_reasoning,
            ),
            criterion=flags.criterion,
        )
    except ValueError as error:
        raise ValueError(f"--{error}" if not str(error).startswith("--") else str(error)) from None


def _hardware(flags: ReaderFlags, runs: Sequence[FinishedRun], purposes: Sequence[str]) -> Hardware:
    spends = [
        run.summary.spent_by_purpose[name] for run in runs for name in purposes if name in run.summary.spent_by_purpose
    ]
    seconds, flops = math.fsum(spend.seconds for spend in spends), sum(spend.flops for spend in spends)
    dollars = math.fsum(spend.dollars for spend in spends)
    measured = ASSUMED
    if seconds > 0 and flops > 0:
        measured = Hardware(
            dollars_per_hour=3600 * dollars / seconds, peak_flops_per_second=flops / seconds, utilisation=1.0
        )
    return Hardware(
        dollars_per_hour=measured.dollars_per_hour if flags.dollars_per_hour is None else flags.dollars_per_hour,
        peak_flops_per_second=measured.peak_flops_per_second
        if flags.flops_per_second is None
        else flags.flops_per_second,
        utilisation=measured.utilisation if flags.flops_per_second is None else flags.utilisation,
    )


def _token_prices(flags: ReaderFlags) -> TokenPrices | None:
    prompt, output = flags.prompt_dollars_per_million_tokens, flags.output_dollars_per_million_tokens
    if prompt is None and output is None:
        return None
    if prompt is None or output is None:
        raise ValueError(
            "--prompt_dollars_per_million_tokens and --output_dollars_per_million_tokens are given together, or neither"
        )
    return TokenPrices(prompt_dollars_per_million_tokens=prompt, output_dollars_per_million_tokens=output)


def _usage(flags: ReaderFlags) -> Usage:
    if flags.corrects is not None and flags.max_attempts > 1:
        raise ValueError("--corrects (a second look) and --max_attempts (tries until right) exclude each other")
    if flags.corrects is not None:
        return SelfCorrection(corrects=flags.corrects, spoils=flags.spoils)
    if flags.max_attempts == 1:
        return Once()
    return Retries(max_attempts=flags.max_attempts, repeats=flags.repeats, check_dollars=flags.check_dollars)


def _volumes(given: str | Sequence[float]) -> tuple[float, ...]:
    parts = given.split(",") if isinstance(given, str) else given
    try:
        volumes = sorted({float(part) for part in parts})
    except ValueError:
        volumes = []
    if not volumes or not all(math.isfinite(volume) and volume > 0 for volume in volumes):
        raise ValueError(f"--volumes: expected numbers of queries above 0 with commas between, got {given!r}")
    return tuple(volumes)


def _limit(name: str, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError(f"--{name} must be above 0, got {value}")
    return value


def _whole(value: float | None, unit: int) -> int | None:
    return None if value is None else round(value * unit)
