"""Which supervision to choose: a matrix over task group, student, budget and query volume, from what was measured.

The criterion is the cost of a correct answer at the volume (the lowest), or the share answered right (the highest).
The rule: the best by its measured value is chosen if its 95% interval overlaps no other's. Otherwise the cell is not
decided by this data, and so it is where only one supervision was measured, or where a rival of the best has no interval
or fewer than `min_runs` runs: a single run's interval knows nothing of the luck of training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluators.answering import Answering, Figure, figure
from evaluators.ownership import Making, Student, Terms, ownership

Criterion = Literal["dollars_per_correct", "right"]
CellVerdict = Literal["decided", "tied", "too little data", "no rival", "none right", "none left"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A supervision as it was measured for one task group, student and budget.

    Example:
        Candidate(task_group="chains of 6 steps", student="tiny", budget_flops=6 * 10**12, supervision="short",
                  answering=..., making=..., questions=120, runs=3, output_tokens_p90=31.0, latency_seconds=0.2,
                  memory_bytes=2**30, visible_reasoning=True)
    """

    task_group: str  # kind and complexity, in words
    student: str  # its size is part of its name
    budget_flops: int
    supervision: str  # or a policy
    answering: Answering
    making: Making
    questions: int
    runs: int  # alike but for their seed
    output_tokens_p90: float
    latency_seconds: float | None = None  # of one answer alone; None: not measured
    memory_bytes: int | None = None  # of serving it; None: not measured
    visible_reasoning: bool

    def __post_init__(self) -> None:
        if self.questions < 1 or self.runs < 1:
            raise ValueError(
                f"{self.supervision} on {self.task_group} needs a question and a run at least, got {self.questions} "
                f"and {self.runs}"
            )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a user cannot go beyond; None and False: no limit.

    Example:
        Limits(max_latency_seconds=0.5, visible_reasoning=True)
    """

    max_latency_seconds: float | None = None  # of an answer, with all the passes that it takes on average
    max_memory_bytes: int | None = None
    max_budget_flops: int | None = None
    visible_reasoning: bool = False  # required


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A supervision within the limits, at the cell's volume."""

    supervision: str
    criterion: Figure
    right: Figure  # share of queries answered right in the end
    dollars_per_correct: Figure
    making_dollars: float
    serving_dollars_per_query: float
    output_tokens: Figure  # of one pass
    output_tokens_p90: float
    questions: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A supervision beyond a limit, and why."""

    supervision: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the matrix. `evaluators/sentences.py` says it in words."""

    task_group: str
    student: str
    budget_flops: int
    queries: float
    criterion: Criterion
    verdict: CellVerdict
    choice: str | None  # only where decided
    open: tuple[str, ...]  # the best, and those that this data does not tell from it
    evidence: tuple[Evidence, ...]  # the best first
    removed: tuple[Removed, ...]


def decide(
    candidates: Sequence[Candidate],
    terms: Terms,
    volumes: Sequence[float],
    *,
    limits: Limits | None = None,
    criterion: Criterion = "dollars_per_correct",
    min_runs: int = 2,
) -> tuple[Cell, ...]:
    """Every cell that was measured: (task group, student, budget) in the order in which they come, by volume.

    What making a student took stands whole in every cell: for a student that serves several task groups, hand in each
    group's share.

    Raises:
        ValueError: a supervision stands twice in a cell, or a volume is not positive.
    """
    for queries in volumes:
        if not (math.isfinite(queries) and queries > 0):
            raise ValueError(f"a decision needs a positive number of queries, got {queries}")
    groups: dict[tuple[str, str, int], list[Candidate]] = {}
    for candidate in candidates:
        group = groups.setdefault((candidate.task_group, candidate.student, candidate.budget_flops), [])
        if any(other.supervision == candidate.supervision for other in group):
            raise ValueError(
                f"{candidate.supervision} stands twice for {candidate.task_group}, {candidate.student} and "
                f"{candidate.budget_flops:g} FLOPs: put its runs together in one candidate"
            )
        group.append(candidate)
    return tuple(
        _cell(group, terms, queries, limits or Limits(), criterion, min_runs)
        for group in groups.values()
        for queries in volumes
    )


def _cell(
    group: Sequence[Candidate], terms: Terms, queries: float, limits: Limits, criterion: Criterion, min_runs: int
) -> Cell:
    removed: list[Removed] = []
    left: list[Evidence] = []
    for candidate in group:
        student = Student(name=candidate.supervision, making=candidate.making, answering=candidate.answering)
        owned = ownership(student, terms, queries)
        reason = _beyond(candidate, limits, owned.passes)
        if reason is not None:
            removed.append(Removed(supervision=candidate.supervision, reason=reason))
            continue
        left.append(
            Evidence(
                supervision=candidate.supervision,
                criterion=owned.dollars_per_correct if criterion == "dollars_per_correct" else owned.right,
                right=owned.right,
                dollars_per_correct=owned.dollars_per_correct,
                making_dollars=sum(owned.making_dollars.values()),
                serving_dollars_per_query=(owned.serving_dollars.value or 0.0) / queries,
                output_tokens=figure(candidate.answering.output_tokens_D),
                output_tokens_p90=candidate.output_tokens_p90,
                questions=candidate.questions,
                runs=candidate.runs,
            )
        )
    ranked = sorted(left, key=lambda each: (_loss(each.criterion.value, criterion), each.supervision))
    verdict, still_open = _verdict(ranked, criterion, min_runs)
    return Cell(
        task_group=group[0].task_group,
        student=group[0].student,
        budget_flops=group[0].budget_flops,
        queries=queries,
        criterion=criterion,
        verdict=verdict,
        choice=ranked[0].supervision if verdict == "decided" else None,
        open=still_open,
        evidence=tuple(ranked),
        removed=tuple(removed),
    )


def _verdict(ranked: Sequence[Evidence], criterion: Criterion, min_runs: int) -> tuple[CellVerdict, tuple[str, ...]]:
    """The verdict, and what is still open: the best with all that cannot be told from it."""
    if not ranked:
        return "none left", ()
    best, *rivals = ranked
    everyone = tuple(each.supervision for each in ranked)
    if all(not each.right.value for each in ranked):
        return "none right", everyone
    if not rivals:
        return "no rival", everyone
    unknown = [each for each in ranked if each.runs < min_runs or _bounds(each, criterion) is None]
    if best in unknown:
        return "too little data", everyone
    close = [each for each in rivals if each in unknown or not _clear(best, each, criterion)]
    if not close:
        return "decided", (best.supervision,)
    names = (best.supervision, *(each.supervision for each in close))
    return ("too little data" if all(each in unknown for each in close) else "tied"), names


def _clear(best: Evidence, rival: Evidence, criterion: Criterion) -> bool:
    """Whether the best's interval ends before the rival's begins."""
    of_best, of_rival = _bounds(best, criterion), _bounds(rival, criterion)
    return of_best is not None and of_rival is not None and of_best[1] < of_rival[0]


def _bounds(each: Evidence, criterion: Criterion) -> tuple[float, float] | None:
    """The interval, from good to bad, as something to be kept low."""
    if each.criterion.ci95 is None:
        return None
    low, high = each.criterion.ci95
    return (-high, -low) if criterion == "right" else (low, high)


def _loss(value: float | None, criterion: Criterion) -> float:
    if value is None:
        return math.inf
    return -value if criterion == "right" else value


def _beyond(candidate: Candidate, limits: Limits, passes: Figure) -> str | None:
    """Why a candidate is beyond the limits; None if it is not. What is limited and was not measured is beyond."""
    if limits.visible_reasoning and not candidate.visible_reasoning:
        return "shows no reasoning, which is required"
    if limits.max_budget_flops is not None and candidate.budget_flops > limits.max_budget_flops:
        return f"was trained on {candidate.budget_flops:g} operations, over the limit of {limits.max_budget_flops:g}"
    if limits.max_latency_seconds is not None:
        if candidate.latency_seconds is None:
            return "has no measured response time, which is limited"
        seconds = candidate.latency_seconds * (passes.value or 1.0)
        if seconds > limits.max_latency_seconds:
            return f"takes {seconds:.3g} seconds an answer, over the limit of {limits.max_latency_seconds:.3g}"
    if limits.max_memory_bytes is not None:
        if candidate.memory_bytes is None:
            return "has no measured memory, which is limited"
        if candidate.memory_bytes > limits.max_memory_bytes:
            needs, limit = candidate.memory_bytes / 2**30, limits.max_memory_bytes / 2**30
            return f"needs {needs:.3g} GiB of memory, over the limit of {limit:.3g}"
    return None
