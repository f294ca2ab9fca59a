"""From what a teacher wrote to targets: the right completions are kept, one for each side of each example.

    completions --checked--> right ones --shortest--> reasoning#NAME, response#NAME (thinking on), short#NAME (off)

All that a side of an example cost, rejected samples included, goes to the target kept of it; where none is, it stands
as unspent on any target. `reasoning` and `response` are made of one completion, and each carries its whole cost: a run
is charged for the targets it trains on, so their sum may exceed what was spent.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from controller.traces.journal import Entry
from curricula.columns import examples_of
from curricula.corpus import Corpus
from curricula.procedural.generate import FINAL
from curricula.rendering import ends_in_answer, prompt_text, think
from curricula.types import RIGHT_VERDICTS, SPLITS, Cost, Example, Split, Supervision, Target, Verdict
from evaluators.mathematics.checker import Mathematics
from evaluators.verdicts import verdict
from trainers.teachers.replies import TOO_LONG
from trainers.teachers.teacher import Completion, Refusal, Request

Side = Literal["reasoning", "short"]
SIDES: tuple[Side, ...] = ("reasoning", "short")
"""With thinking on, which also gives `response`, and with thinking off."""

DID_NOT_THINK = "did not think"
THOUGHT = "thought, though it was not to"
REASONS: dict[Verdict, str] = {
    "wrong": "wrong answer",
    "no_answer": "no answer",
    "unchecked": "answer that could not be checked",
}
"""Why a completion with such a verdict is rejected."""


@dataclass(frozen=True, kw_only=True)
class PairingPlan:
    """What is asked for, and which of the right completions is kept.

    Example:
        PairingPlan(name="qwen3", sides=("reasoning", "short"), samples=4)
    """

    name: str  # of the teacher, behind `#`; no `#` where empty
    sides: tuple[Side, ...] = SIDES
    samples: int = 1  # of each side of each example
    keep: Literal["shortest", "first"] = "shortest"  # in tokens written, then the first
    pairs_only: bool = False  # keep nothing of an example unless every side has a right completion
    splits: tuple[Split, ...] = ("train", "probe")  # whose examples are asked; the others keep what they have
    limit: int | None = None  # so many examples at most, the first of the corpus
    instruction: str = ""  # what the teacher reads below each question; the student never does

    def __post_init__(self) -> None:
        if not self.sides or len(set(self.sides)) < len(self.sides) or not set(self.sides) <= set(SIDES):
            raise ValueError(f"sides must be one or both of {', '.join(SIDES)}, got {', '.join(self.sides) or 'none'}")
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise ValueError(f"splits must be some of {', '.join(SPLITS)}, got {', '.join(self.splits) or 'none'}")
        if self.samples < 1 or (self.limit is not None and self.limit < 1):
            raise ValueError(f"samples and limit must be at least 1, got {self.samples} and {self.limit}")
        for supervision in self.supervisions:
            Supervision.parse(supervision)

    @property
    def supervisions(self) -> tuple[str, ...]:
        """What may be made, by spelling."""
        kinds = [
            kind for side in self.sides for kind in (("reasoning", "response") if side == "reasoning" else (side,))
        ]
        return tuple(f"{kind}#{self.name}" if self.name else kind for kind in kinds)


@dataclass(kw_only=True)
class SideTally:
    """Counts of one side, over all its requests."""

    completed: int = 0
    refused: int = 0
    rejected: int = 0  # completions that are not right
    kept: int = 0  # examples with a right completion
    estimated: int = 0  # requests of which some tokens are an estimate
    cost: Cost = field(default_factory=Cost)  # so far; dollars to the last digits in the order of arrival
    reasons: Counter[str] = field(default_factory=Counter)  # of refusing and rejecting


@dataclass(kw_only=True)
class _Taught:
    """What came of one side of one example."""

    cost_of: dict[int, Cost] = field(default_factory=dict)  # by sample
    best: tuple[int, int] | None = None  # its place in the order of preference
    completion: Completion | None = None
    verdict: Verdict = "unchecked"

    def cost(self) -> Cost:
        """Of all samples, summed in their order, so that the order in which they came does not show."""
        return total([self.cost_of[sample] for sample in sorted(self.cost_of)])


class Pairing:
    """Takes completions in any order and makes a corpus of them."""

    def __init__(self, corpus: Corpus, plan: PairingPlan, *, mathematics: Mathematics | None = None) -> None:
        """Begin with nothing taught; `mathematics` compares answers that simpler rules cannot.

        Raises:
            ValueError: the corpus offers one of the plan's supervisions already, or no example is to be asked.
        """
        taken = [name for name in plan.supervisions if name in corpus.supervisions]
        if taken:
            raise ValueError(
                f"corpus {corpus.name!r} offers {', '.join(taken)} already; give this teacher another name"
            )
        self.plan, self.source = plan, corpus
        self.examples = examples_of(corpus.examples, corpus.targets)
        self.asked = [row for row, example in enumerate(self.examples) if example.split in plan.splits][: plan.limit]
        if not self.asked:
            raise ValueError(f"corpus {corpus.name!r} has no example in {', '.join(plan.splits)}")
        self.tallies: dict[Side, SideTally] = {side: SideTally() for side in plan.sides}
        self._mathematics = mathematics
        self._row_of_id = {self.examples[row].id: row for row in self.asked}
        self._taught: dict[tuple[int, Side], _Taught] = {}

    @property
    def requests(self) -> int:
        """All there are, answered or not."""
        return len(self.asked) * len(self.plan.sides) * self.plan.samples

    def missing(self) -> Iterator[tuple[str, Request]]:
        """What is still to be asked, each with the id of its example; example by example."""
        for row in self.asked:
            example = self.examples[row]
            assert example.id is not None
            prompt = prompt_text(example.prompt, example.kind, example.choices)
            if self.plan.instruction:
                prompt = f"{prompt}\n\n{self.plan.instruction}"
            for side, sample in itertools.product(self.plan.sides, range(self.plan.samples)):
                taught = self._taught.get((row, side))
                if taught is None or sample not in taught.cost_of:
                    yield example.id, Request(prompt=prompt, thinking=side == "reasoning", sample=sample)

    def take(self, entry: Entry) -> None:
        """Check one completion, or note a refusal.

        Raises:
            ValueError: it is of no example that was to be asked.
        """
        side: Side = "reasoning" if entry.thinking else "short"
        row = self._row_of_id.get(entry.id)
        if row is None or side not in self.tallies:
            raise ValueError(f"a completion of example {entry.id!r}, {side}, which is not asked for")
        tally, taught = self.tallies[side], self._taught.setdefault((row, side), _Taught())
        taught.cost_of[entry.sample] = entry.outcome.cost
        tally.cost += entry.outcome.cost
        tally.estimated += entry.outcome.estimated
        if isinstance(entry.outcome, Refusal):
            tally.refused += 1
            tally.reasons[entry.outcome.reason] += 1
            return
        tally.completed += 1
        found, reason = self._judged(self.examples[row], side, entry.outcome)
        if reason is not None:
            tally.rejected += 1
            tally.reasons[reason] += 1
            return
        place = (entry.outcome.output_tokens if self.plan.keep == "shortest" else 0, entry.sample)
        tally.kept += taught.best is None
        if taught.best is None or place < taught.best:
            taught.best, taught.completion, taught.verdict = place, entry.outcome, found

    def _judged(self, example: Example, side: Side, completion: Completion) -> tuple[Verdict, str | None]:
        """What is known of a completion's answer, and why it is rejected; None where it is not."""
        if not completion.finished:
            return "unchecked", TOO_LONG
        if side == "reasoning" and completion.reasoning is None:
            return "unchecked", DID_NOT_THINK
        if side == "short" and completion.reasoning is not None:
            return "unchecked", THOUGHT
        found = verdict(completion.text, example.answer, example.kind, example.choices, mathematics=self._mathematics)
        return found, None if found in RIGHT_VERDICTS else REASONS[found]

    def corpus(self) -> Corpus:
        """The corpus with the targets that were kept; what was rejected or refused stands among its losses."""
        examples = [replace(example, targets=tuple(self._targets(row))) for row, example in enumerate(self.examples)]
        built = Corpus.build(examples, name=self.source.name)
        lost = Counter(self.source.dropped) + Counter(built.dropped)
        for side, tally in self.tallies.items():
            for reason, count in tally.reasons.items():
                lost[f"{side}#{self.plan.name}: {reason}".replace("#:", ":")] += count
        return replace(built, dropped=dict(sorted(lost.items())))

    def spent(self, side: Side | None = None) -> Cost:
        """Of one side, or of all."""
        return total([self._taught[key].cost() for key in sorted(self._taught) if side in (None, key[1])])

    def unspent(self, side: Side) -> Cost:
        """What was spent on a side of examples of which no target was kept."""
        return total(
            [self._taught[key].cost() for key in sorted(self._taught) if key[1] == side and not self._kept(*key)]
        )

    def kept_targets(self, side: Side) -> int:
        """Examples that get this side's targets."""
        return sum(self._kept(row, side) for row in self.asked)

    def _kept(self, row: int, side: Side) -> bool:
        sides = self.plan.sides if self.plan.pairs_only else (side,)
        taught = [self._taught.get((row, each)) for each in sides]
        return all(each is not None and each.completion is not None for each in taught)

    def _targets(self, row: int) -> Iterator[Target]:
        example = self.examples[row]
        yield from example.targets
        if not any(target.supervision == "answer" for target in example.targets):
            yield Target(supervision="answer", text=example.answer)
        for side in self.plan.sides:
            taught = self._taught.get((row, side))
            if taught is None or taught.completion is None or not self._kept(row, side):
                continue
            said = with_answer(taught.completion.text, example.answer)
            texts = {side: said}
            if side == "reasoning":
                # Behind a trace stands the answer alone, as in what is imported (curricula/layouts/layout.py says why).
                texts = {"reasoning": think(taught.completion.reasoning or "", example.answer), "response": said}
            for kind, text in texts.items():
                spelling = f"{kind}#{self.plan.name}" if self.plan.name else kind
                yield Target(supervision=spelling, text=text, verdict=taught.verdict, teach=taught.cost())

    def lengthened(self, side: Side) -> int:
        """Targets kept whose text got the answer added as its last line."""
        rows = [row for row in self.asked if self._kept(row, side)]
        texts = [(self._taught[row, side].completion, self.examples[row].answer) for row in rows]
        return sum(
            completion is not None and not ends_in_answer(completion.text, answer) for completion, answer in texts
        )


def with_answer(text: str, answer: str) -> str:
    """A text that ends in the answer: as it is where it does, else with one more line."""
    return text if ends_in_answer(text, answer) else f"{text}\n{FINAL} {answer}"


def total(costs: Sequence[Cost]) -> Cost:
    """The sum, exact in every unit."""
    return Cost(
        flops=sum(cost.flops for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
        dollars=math.fsum(cost.dollars for cost in costs),
    )
