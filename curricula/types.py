"""The nouns of the system: frozen, keyword-only, plain data. A reader who knows these knows the rest.

Axes, everywhere in the project (an array's name ends in the axes it has):

    N  examples of a table        S  supervisions a corpus offers       D  features of an example
    R  rows of a stage plan       P  probed examples                    M  rows to score

Amounts carry their unit in the name: `_flops`, `_tokens`, `_seconds`, `_chars`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curricula.recipe import Recipe

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SupervisionKind = Literal["answer", "response", "short", "reasoning", "compressed", "truncated"]
SUPERVISION_KINDS: tuple[SupervisionKind, ...] = (
    "answer",
    "response",
    "short",
    "reasoning",
    "compressed",
    "truncated",
)
THINKING_KINDS = frozenset({"reasoning", "compressed", "truncated"})
"""The kinds whose target opens with the think tag."""

AnswerKind = Literal["open", "choice"]
ANSWER_KINDS: tuple[AnswerKind, ...] = ("open", "choice")
Domain = Literal["in_domain", "transfer"]
DOMAINS: tuple[Domain, ...] = ("in_domain", "transfer")
Split = Literal["train", "probe", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "probe", "dev", "test")
Verdict = Literal["declared", "exact", "numeric", "choice", "math", "wrong", "no_answer", "unchecked"]
"""What is known of a target's final answer: right by the word of its source; found right by comparing texts, numbers,
choices or mathematics; found wrong, or missing; or never looked at."""
VERDICTS: tuple[Verdict, ...] = ("declared", "exact", "numeric", "choice", "math", "wrong", "no_answer", "unchecked")
RIGHT_VERDICTS: frozenset[Verdict] = frozenset({"declared", "exact", "numeric", "choice", "math"})
Purpose = Literal["train", "probe", "features", "evaluate", "teach", "compress"]
BUDGET_PURPOSES: tuple[Purpose, ...] = ("train", "probe", "features")
"""The purposes that make up `spent_flops`; the others are recorded beside them."""

_SPELLING = re.compile(
    r"(?P<kind>[a-z]+)(:(?P<compressor>[a-z][a-z0-9_-]*))?(@(?P<ratio>[0-9.]+))?(#(?P<teacher>[\w.-]+))?"
)


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """What the student is shown for one example, spelled `kind[:compressor][@ratio][#teacher]`.

    Example:
        >>> Supervision.parse("compressed:steps@0.3#gpt-oss")
        Supervision(kind='compressed', compressor='steps', ratio=0.3, teacher='gpt-oss')
        >>> str(Supervision(kind="answer"))
        'answer'
    """

    kind: SupervisionKind
    compressor: str | None = None
    ratio: float | None = None  # share of the trace that is kept, in (0, 1)
    teacher: str | None = None

    @classmethod
    def parse(cls, text: str) -> Supervision:
        """Read the spelling.

        Raises:
            ValueError: the text is not of that form, with the kinds there are.
        """
        match = _SPELLING.fullmatch(text)
        if match is None or match["kind"] not in SUPERVISION_KINDS:
            raise ValueError(
                f"supervision {text!r} is not kind[:compressor][@ratio][#teacher] with a kind of "
                f"{', '.join(SUPERVISION_KINDS)}"
            )
        ratio = None
        if match["ratio"] is not None:
            try:
                ratio = float(match["ratio"])
            except ValueError:
                ratio = 0.0
            if not 0.0 < ratio < 1.0:
                raise ValueError(f"supervision {text!r}: the ratio must lie in (0, 1), got {match['ratio']}")
        kind: SupervisionKind = next(kind for kind in SUPERVISION_KINDS if kind == match["kind"])
        return cls(kind=kind, compressor=match["compressor"], ratio=ratio, teacher=match["teacher"])

    def __str__(self) -> str:
        compressor = f":{self.compressor}" if self.compressor else ""
        ratio = f"@{self.ratio:g}" if self.ratio is not None else ""
        teacher = f"#{self.teacher}" if self.teacher else ""
        return f"{self.kind}{compressor}{ratio}{teacher}"

    @property
    def thinks(self) -> bool:
        """Whether the target opens with the think tag."""
        return self.kind in THINKING_KINDS


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What making something took, in each of the units that can be known of it.

    Example:
        >>> Cost(flops=10**12, tokens=820) + Cost(flops=10**12, dollars=0.25)
        Cost(flops=2000000000000, tokens=820, dollars=0.25)
    """

    flops: int = 0
    tokens: int = 0  # read and written
    dollars: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            flops=self.flops + other.flops, tokens=self.tokens + other.tokens, dollars=self.dollars + other.dollars
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """One text that a student may be trained to write for one example.

    Example:
        Target(supervision="compressed:steps@0.3", text="<think>3+4=7 7*2=14</think>14", verdict="numeric",
               compress=Cost(flops=2 * 10**9, tokens=40), char_ratio=0.31)
    """

    supervision: str  # the spelling of a Supervision
    text: str  # all that the student would write, think tags included
    verdict: Verdict = "declared"  # of its final answer against the example's
    teach: Cost = Cost()  # what the teacher spent on it, rejected samples included
    compress: Cost = Cost()  # what the compressor spent on it
    token_ratio: float | None = None  # tokens of its trace over those of the trace it was made from
    char_ratio: float | None = None  # the same in characters

    @property
    def verified(self) -> bool:
        """Whether its final answer is known to be right."""
        return self.verdict in RIGHT_VERDICTS


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question with its answer and the targets a corpus offers for it.

    Example:
        Example(task="add", prompt="3+4=?", answer="7", targets=(Target(supervision="answer", text="7"),))
    """

    task: str
    prompt: str
    answer: str
    targets: tuple[Target, ...]
    kind: AnswerKind = "open"
    domain: Domain = "in_domain"
    choices: tuple[str, ...] = ()  # texts of the choices A, B, C, ...; empty where open
    split: Split | None = None  # the corpus's own; by hash of the normalised prompt where None
    id: str | None = None  # content hash where None


@dataclass(frozen=True, kw_only=True, eq=False)
class ExampleTable:
    """What a policy may know of examples: columns of sizes and features, never text.

    Example: two examples, the second without a trace.
        ExampleTable(tasks=("add",), supervisions=("answer", "reasoning"), task_N=[0, 0], kind_N=[0, 0],
                     prompt_tokens_N=[9, 9], target_tokens_NS=[[2, 80], [2, -1]], ...)
    """

    tasks: tuple[str, ...]
    supervisions: tuple[str, ...]
    task_N: Ints  # index into tasks; -1 where the corpus withholds it
    kind_N: Ints  # index into ANSWER_KINDS
    prompt_tokens_N: Ints
    target_tokens_NS: Ints  # end token included; -1 where not offered
    verified_NS: Bools
    train_flops_NS: Floats  # one training pass over the example, unpadded; NaN where not offered
    answer_flops_N: Floats  # worst case of generating one answer; what a probe of it reserves
    features_ND: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.task_N)

    @property
    def offered_NS(self) -> Bools:
        """Where a target exists."""
        return self.target_tokens_NS >= 0

    @cached_property
    def mean_train_flops_S(self) -> Floats:
        """Mean FLOPs of one training pass over an example, by supervision; NaN where no example offers it."""
        offered_NS = self.offered_NS
        count_S = offered_NS.sum(axis=0)
        total_S = np.where(offered_NS, self.train_flops_NS, 0.0).sum(axis=0)
        mean_S = np.where(count_S > 0, total_S / np.maximum(count_S, 1), np.nan)
        mean_S.flags.writeable = False
        return mean_S

    def supervision_index(self, name: str) -> int:
        """Position of a supervision on the S axis.

        Raises:
            ValueError: no example offers it; the message names those offered.
        """
        if name not in self.supervisions:
            raise ValueError(
                f"no example offers supervision {name!r}; this corpus offers {', '.join(self.supervisions)}"
            )
        return self.supervisions.index(name)


ProbeMode = Literal["free", "think", "no_think"]
"""`free`: the student chooses whether to think; the others force it by prefix."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbePlan:
    """What to measure on the probe split after a stage; every part is paid from the budget.

    Example: sixteen questions answered freely, and the loss of their answers and traces.
        ProbePlan(example_P=np.arange(16), supervisions=("answer", "reasoning"))
    """

    example_P: Ints  # rows of the probe table
    modes: tuple[ProbeMode, ...] = ("free",)  # one generation of every example under each
    supervisions: tuple[str, ...] = ()  # teacher-forced under each, where offered


@dataclass(frozen=True, kw_only=True, eq=False)
class StagePlan:
    """One stage: which rows, in which shares, for how many FLOPs, and what to measure afterwards.

    A row is (example, supervision); an example may stand under several. Rows are drawn in proportion to
    `share_R`, pass after pass, until the next step would exceed `ceiling_flops`.

    Example: every example's bare answer, for a tenth of the budget.
        StagePlan(name="warm-up", example_R=np.arange(n), supervision_R=np.zeros(n), share_R=np.ones(n),
                  ceiling_flops=state.total_flops // 10)
    """

    name: str  # for people: what this stage is for
    example_R: Ints  # rows of the training table
    supervision_R: Ints  # index on the table's S axis
    share_R: Floats  # sampling share; any positive scale
    ceiling_flops: int  # for training; probes and scores are reserved beside it
    loss_weight_R: Floats | None = None  # multiplies the row's loss; 1 where None
    start: str | None = None  # a checkpoint's name; the latest where None
    probe: ProbePlan | None = None
    score_example_M: Ints | None = None  # training examples whose loss to buy, row by row ...
    score_supervision_M: Ints | None = None  # ... under this supervision
    recipe: Recipe = dataclasses.field(default_factory=Recipe)

    def __len__(self) -> int:
        return len(self.example_R)


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Compute that was used, and for what.

    Example:
        Charge(purpose="train", flops=3_200_000_000, positions=2048, tokens=1931)
    """

    purpose: Purpose
    flops: int
    positions: int  # token positions computed, padding counted
    tokens: int  # read and written: of rows trained on or forced all, of an answer its prompt and what was written


@dataclass(frozen=True, kw_only=True)
class TrainingLoss:
    """Mean training loss of one (task, supervision) over a stage: free by-product of training.

    Example:
        TrainingLoss(task="add", supervision="answer", examples=64, supervised_tokens=128, loss=0.91, flops=10**9)
    """

    task: str
    supervision: str
    examples: int  # drawn; one drawn twice counts twice
    supervised_tokens: int
    loss: float  # nats per supervised token, mean over the stage
    flops: int  # its share of the stage's train charge, split by positions


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeOutcomes:
    """One probe's measurements, one row per (example, generation mode) and per (example, supervision forced).

    Example: example 3 answered freely and rightly with 12 tokens; example 3 teacher-forced under `answer`.
        ProbeOutcomes(example_P=[3, 3], condition_P=("free", "answer"), solved_P=[True, False],
                      output_tokens_P=[12, -1], loss_P=[nan, 0.4])
    """

    example_P: Ints  # rows of the probe table
    condition_P: tuple[str, ...]  # a ProbeMode, or the supervision that was teacher-forced
    solved_P: Bools  # generated: the answer is right; forced: every target token was the likeliest
    output_tokens_P: Ints  # -1 where teacher-forced
    loss_P: Floats  # mean nats per target token; NaN where generated

    def under(self, condition: str) -> NDArray[np.intp]:
        """The rows measured under one condition."""
        return np.flatnonzero(np.array([name == condition for name in self.condition_P], dtype=bool))


@dataclass(frozen=True, kw_only=True, eq=False)
class StageResult:
    """What one stage did and what was measured after it: all that a later plan may learn from.

    Example:
        StageResult(index=0, round=0, name="warm-up", plan_digest="a1...", start=None, checkpoint="0000", ...)
    """

    index: int
    round: int  # stages planned together (forks) share a round
    name: str
    plan_digest: str
    start: str | None  # the checkpoint it began from; None at the first stage
    checkpoint: str
    state_digest: str  # of weights, moments and data cursor
    steps: int
    charges: tuple[Charge, ...]
    losses: tuple[TrainingLoss, ...]
    mix: tuple[tuple[str, int, int], ...]  # (supervision, examples drawn, train FLOPs)
    example_R: Ints  # the plan's rows, so that by-products can be told apart
    supervision_R: Ints
    seen_R: Ints  # times each row was drawn
    loss_R: NDArray[np.float32]  # last training loss of each row, nats per token; NaN where not drawn
    probe: ProbeOutcomes | None
    score_M: NDArray[np.float32] | None  # bought losses, row by row of the plan's scores
    score_example_M: Ints | None
    score_supervision_M: Ints | None
    recipe: Recipe = dataclasses.field(default_factory=Recipe)

    @property
    def spent_flops(self) -> int:
        """What this stage took from the budget."""
        return sum(charge.flops for charge in self.charges if charge.purpose in BUDGET_PURPOSES)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunState:
    """All that a policy may look at: both tables and the recorded history. No clock, no text, no dev, no test.

    Policies plan in FLOPs, whatever the budget's unit. Of a budget in another, `total_flops` is what was charged and
    what the rest is likely to buy: an estimate, which is renewed before every plan.

    Example:
        state.remaining_flops > state.total_flops / 2
    """

    train: ExampleTable
    probe: ExampleTable
    total_flops: int
    history: tuple[StageResult, ...]
    checkpoints: tuple[str, ...]  # still on disk, any of which a plan may start from
    seed: int

    @property
    def spent_flops(self) -> int:
        """Charged so far."""
        return sum(result.spent_flops for result in self.history)

    @property
    def remaining_flops(self) -> int:
        """Not charged yet."""
        return self.total_flops - self.spent_flops

    @property
    def progress(self) -> float:
        """Share of the budget charged so far, in [0, 1]."""
        return self.spent_flops / self.total_flops

    @property
    def rounds(self) -> int:
        """How many times a policy has planned."""
        return self.history[-1].round + 1 if self.history else 0

    @property
    def score_NS(self) -> NDArray[np.float32]:
        """The latest bought loss of each (example, supervision); NaN where none was bought."""
        score_NS = np.full(self.train.target_tokens_NS.shape, np.nan, dtype=np.float32)
        for result in self.history:
            if result.score_M is not None:
                score_NS[result.score_example_M, result.score_supervision_M] = result.score_M
        return score_NS
