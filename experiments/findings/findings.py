"""What was found in one run or many: plain data, computed by `find`, shown by the page, the text and the CSV files.

    run folders --read--> runs --group by questions--> QuestionSet: settings, comparisons, frontiers, costs, decisions

Only runs that answered the same questions stand in one QuestionSet. Runs alike but for their seed are one Setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.record import RunRecord
from evaluators.answering import Figure
from evaluators.decision import Cell, Criterion, Limits
from evaluators.frontier import Frontier
from evaluators.ownership import BreakEven, Ownership, Sensitivity, Terms
from evaluators.paired import GradedRuns
from evaluators.resampling import Estimate
from evaluators.saturating import NotFitted, SaturatingFit
from experiments.summary import Summary


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question of a run's test set, as it was answered.

    Example:
        Answer(id="a2a2", task="maximum", kind="open", domain="in_domain", band="short", prompt="max a30 b40",
               prompt_tokens=12, answer="40", output="<think>b40</think>40", correct=True, graded=True,
               output_tokens=9, truncated=False)
    """

    id: str
    task: str
    kind: str  # open or choice; empty in an early run
    domain: str  # in_domain or transfer; empty in an early run
    band: str  # of difficulty; empty where the run knows none
    prompt: str
    prompt_tokens: int | None  # None in an early run
    answer: str
    output: str
    correct: bool
    graded: bool
    output_tokens: int
    truncated: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedRun:
    """A run that has scored its student."""

    folder: Path
    policy: str  # as a comparison spells it
    student: str
    corpus: str
    seed: int
    record: RunRecord
    summary: Summary
    answers_Q: tuple[Answer, ...]  # to the questions of the split that counts, by id


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A folder that gave nothing, and why, in one line."""

    folder: Path
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RunsRead:
    """What was found in the folders that were named."""

    runs: tuple[FinishedRun, ...]
    left_out: tuple[LeftOut, ...]
    unfinished: tuple[Path, ...]  # run folders without scores yet


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """Accuracy over some of the questions, averaged over seeds, and what the answers took.

    Example:
        GroupScore(group="task", name="chain", accuracy=..., questions=41, output_tokens=23.0, p90_output_tokens=31.0,
                   truncated=0.0, unparsable=0.01, ungraded=0, right_output_tokens=22.0, wrong_output_tokens=25.5)
    """

    group: str  # overall, task, kind, domain, prompt length or difficulty
    name: str
    accuracy: Estimate
    questions: int  # graded under every seed
    output_tokens: float  # mean over answers, as are the next
    p90_output_tokens: float
    truncated: float
    unparsable: float | None  # None where a run does not tell
    ungraded: int  # left out of the accuracy, all seeds together
    right_output_tokens: float | None  # None where no answer is right
    wrong_output_tokens: float | None


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Free probes of a setting's runs by one share of the budget, pooled over tasks.

    Example:
        CurvePoint(budget_share=0.5, solved=0.61, ci95=(0.52, 0.70))
    """

    budget_share: float
    solved: float  # mean over seeds
    ci95: tuple[float, float] | None  # t over seeds; None under two


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A policy, for one student and budget, over its seeds.

    `name` is the policy as a comparison spells it, with the student and the budget where the test set has several.
    """

    name: str
    policy: str  # with the fields of the run, beside it, in which settings differ
    student: str
    budget: str  # in its own unit, for people
    total_flops: int  # the budget; where it is not of FLOPs, what it came to, the mean over its runs
    training_flops: float  # the budget; where it is not of FLOPs, what was spent
    runs: tuple[FinishedRun, ...]  # by seed
    graded: GradedRuns  # of the questions that were graded under every seed, by id
    scores: tuple[GroupScore, ...]  # the first is overall
    spent_flops: float  # of the budget, mean over seeds
    answer_flops: float | None  # of one answer, mean over questions and seeds; None: prompts' tokens are not known
    latency_seconds: float | None  # of one answer alone, median over seeds of their medians; None: not measured
    serving_bytes: int | None  # weights and cache of one answer; None: not known
    curve: tuple[CurvePoint, ...]  # by share of the budget
    retention: Estimate | None  # accuracy over that of `QuestionSet.raw`, same student and budget, common seeds;
    # None without one, or where it is never right
    token_efficiency: Estimate | None  # accuracy per output token, over raw's


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Accuracy of the first setting less that of the second, paired by seed and question.

    Example:
        Difference(first="Adaptive", second="Fixed(supervision=answer)", seeds=(0, 1, 2), accuracy=...)
    """

    first: str
    second: str
    seeds: tuple[int, ...]  # that both have
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Accuracy against training FLOPs of one policy and student over its budgets."""

    policy: str
    student: str
    flops_M: tuple[float, ...]
    accuracy_M: tuple[float, ...]
    fit: SaturatingFit | NotFitted


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the settings cost to own under the terms, and against one another."""

    terms: Terms
    volumes: tuple[float, ...]  # queries
    owned: Mapping[str, tuple[Ownership, ...]]  # by setting, for each volume
    break_evens: Mapping[tuple[str, str], BreakEven]  # (challenger, incumbent), both ways
    sensitivity: Mapping[str, tuple[Sensitivity, ...]]  # by setting, at the middle volume


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The decision matrix, and its cells in words."""

    limits: Limits
    criterion: Criterion
    cells: tuple[Cell, ...]
    sentences: tuple[str, ...]  # one a cell


@dataclass(frozen=True, kw_only=True, eq=False)
class QuestionSet:
    """Everything that was found on one set of questions."""

    corpus: str
    corpus_fingerprint: str
    split: str
    questions: int
    settings: tuple[Setting, ...]  # by student, budget and falling accuracy
    raw: str | None  # the policy that trains on full traces alone; settings are set against its same student and budget
    differences: tuple[Difference, ...]  # of settings with seeds in common
    frontier_seeds: tuple[int, ...]  # that all settings have
    training_frontier: Frontier | None  # None where there are no such seeds
    inference_frontier: Frontier | None  # None where FLOPs of an answer are not known either
    fits: tuple[Fit, ...]
    costs: Costs | None  # None where prompts' tokens, or what a student's pass takes, are not known
    decisions: Decisions | None
    notes: tuple[str, ...]  # what could not be computed or compared, and why, a line each


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All that was found, and what gave nothing."""

    question_sets: tuple[QuestionSet, ...]
    left_out: tuple[LeftOut, ...]
    unfinished: tuple[Path, ...]  # run folders without scores yet: their pages can be drawn, nothing is compared


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What the reader of a report states: prices, volumes, limits. The defaults are stated in docs/report.md.

    Example:
        Reader(volumes=(1e3, 1e5, 1e7), limits=Limits(max_latency_seconds=1.0))
    """

    terms: Terms
    volumes: tuple[float, ...] = (1e3, 1e5, 1e7)
    limits: Limits = field(default_factory=Limits)
    criterion: Criterion = "dollars_per_correct"


INTERVAL_NOTE: Mapping[str, str] = {
    "t over seeds": "95% t interval over seeds",
    "bootstrap over seeds and questions": "95% two-level bootstrap over seeds and questions",
    "bootstrap over questions": "95% bootstrap over questions, for this very run",
    "Wilson": "95% Wilson interval over questions, for this very run",
}
"""What an interval's source means, for a reader."""


def shown_interval(figure: Figure | Estimate) -> tuple[float, float] | None:
    """The interval that is drawn beside a figure: over seeds; None where one seed or no spread gives none."""
    if isinstance(figure, Figure):
        return figure.ci95
    return None if figure.interval is None else (figure.interval.low, figure.interval.high)
