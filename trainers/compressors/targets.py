"""From examples to examples with shorter targets beside the full ones. No torch here.

Example --its source targets--> Trace --Compressor--> Shortened | Unshortened --> Target | Drop
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curricula.rendering import CHOICE_LETTERS, prompt_text, split_thinking, think
from curricula.stream.intake import Drop, Intake
from curricula.traces.shares import LengthRanks, share_at
from curricula.types import RIGHT_VERDICTS, Example, Supervision, SupervisionKind, Target
from trainers.compressors.interface import Compressor, Outcome, Shortened, Trace
from trainers.teachers.teacher import TeacherError

FINAL = "####"
"""What a visible worked solution may put before its final answer."""


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Which targets to shorten, and to what.

    Example:
        Cuts(source="reasoning", ratios=(0.3, 0.5))
    """

    source: str  # a supervision; without a teacher it stands for that of every teacher
    ratios: tuple[float, ...] = ()  # shares of tokens to keep; empty where `match` says it
    match: str | None = None  # the supervision whose length to match, row by row
    ranks: LengthRanks | None = None  # the ratio is a mean and rises with these, where given
    label: str | None = None  # stands for the compressor's name in spellings


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One source target of an example."""

    example: int
    target: Target
    trace: Trace
    keeps: tuple[float, ...]
    spellings: tuple[str, ...]  # one for each share


@dataclass(frozen=True, kw_only=True)
class CompressStep:
    """Shortens the targets of examples; one step of the pipeline.

    Example:
        CompressStep(compressor=Truncated(measure), cuts=Cuts(source="reasoning", ratios=(0.5,)), count=measure.count)
    """

    compressor: Compressor
    cuts: Cuts
    count: Callable[[Sequence[str]], list[int]]  # tokens of texts, by the measure of the ratios

    def __call__(self, examples: Sequence[Example]) -> Intake:
        """The same examples with the new targets behind their own; what could not be shortened is a drop.

        Raises:
            ValueError: an example has a target of a new spelling already, or a teacher is out of reach.
        """
        drops: list[Drop] = []
        jobs = [job for place, example in enumerate(examples) for job in self._jobs(place, example, drops)]
        added: list[list[Target]] = [[] for _ in examples]
        for job, outcomes in zip(jobs, self._outcomes(jobs), strict=True):
            for spelling, outcome in zip(job.spellings, outcomes, strict=True):
                if isinstance(outcome, Shortened):
                    added[job.example].append(_target(job, spelling, outcome, examples[job.example].answer))
                else:
                    where = f"example {examples[job.example].id}, {spelling}"
                    drops.append(Drop(where=where, reason=f"{spelling}: {outcome.reason}", shown=job.trace.trace[:80]))
        return Intake(
            examples=tuple(
                replace(example, targets=(*example.targets, *targets)) if targets else example
                for example, targets in zip(examples, added, strict=True)
            ),
            drops=tuple(drops),
        )

    def _outcomes(self, jobs: Sequence[_Job]) -> list[tuple[Outcome, ...]]:
        if not jobs:
            return []
        try:
            return self.compressor.compress([job.trace for job in jobs], np.array([job.keeps for job in jobs]))
        except TeacherError as error:
            raise ValueError(f"{error}; the same command goes on with what was written so far") from error

    def _jobs(self, place: int, example: Example, drops: list[Drop]) -> Iterator[_Job]:
        """What to shorten of one example; what cannot be is added to `drops`."""
        for target in example.targets:
            source = Supervision.parse(target.supervision)
            if not stands_for(Supervision.parse(self.cuts.source), source):
                continue
            text = trace_of(target.text, example.answer)
            fault = _fault(target, text)
            cuts = [] if fault or text is None else list(self._cuts(example, text, source.teacher))
            if not fault and not cuts:
                fault = f"no {self.cuts.match} to match"
            if fault or text is None:
                where = f"example {example.id}, {target.supervision}"
                drops.append(Drop(where=where, reason=f"{target.supervision}: {fault}", shown=target.text[:80]))
                continue
            taken = {other.supervision for other in example.targets}
            for _, spelling in cuts:
                if spelling in taken:
                    raise ValueError(
                        f"example {example.id} has a target under {spelling!r} already; compress the corpus it was "
                        "made from, or give the new ones another name with --label"
                    )
            yield _Job(
                example=place,
                target=target,
                trace=_trace(example, text),
                keeps=tuple(keep for keep, _ in cuts),
                spellings=tuple(spelling for _, spelling in cuts),
            )

    def _cuts(self, example: Example, text: str, teacher: str | None) -> Iterator[tuple[float, str]]:
        """Shares to keep, each with the spelling of what it gives."""
        name = self.cuts.label or self.compressor.name
        kind = self.compressor.kind
        if self.cuts.match is None:
            rank = 0.5 if self.cuts.ranks is None else self.cuts.ranks.rank(example.task, len(text))
            for ratio in self.cuts.ratios:
                yield share_at(ratio, rank), str(spelled(kind, name, ratio, teacher))
            return
        matched = Supervision.parse(self.cuts.match)
        for target in example.targets:
            other = Supervision.parse(target.supervision)
            if stands_for(matched, other) and other.teacher == teacher:
                shown = trace_of(target.text, example.answer)
                tokens, of_tokens = self.count([shown or "", text])
                keep = min(tokens / max(1, of_tokens), 1.0)
                yield keep, str(spelled(kind, name, other.ratio, teacher))


def spelled(kind: SupervisionKind, name: str | None, ratio: float | None, teacher: str | None) -> Supervision:
    """The supervision of a shortened target."""
    return Supervision(kind=kind, compressor=name, ratio=ratio, teacher=teacher)


def stands_for(named: Supervision, found: Supervision) -> bool:
    """Whether a supervision is the one named; one named without a teacher is that of every teacher."""
    return named in (found, replace(found, teacher=None))


def trace_of(text: str, answer: str) -> str | None:
    """What of a target's text is to be shortened: its trace, or its visible steps without the final answer's line.

    None where a think block is left open.

    Example:
        >>> trace_of("<think>3+4=7</think>7", "7"), trace_of("3+4=7 #### 7", "7")
        ('3+4=7', '3+4=7')
    """
    trace, rest = split_thinking(text)
    if trace is not None:
        return None if rest is None else trace.strip()
    steps, mark, final = text.rpartition(FINAL)
    return (steps if mark and final.strip() == answer.strip() else text).strip()


def _fault(target: Target, text: str | None) -> str | None:
    """Why a target must not be shortened; None where it may be."""
    if text is None:
        return "unclosed think block"
    if not text:
        return "no trace to shorten"
    right_or_unknown = target.verdict in RIGHT_VERDICTS or target.verdict == "unchecked"
    return None if right_or_unknown else "its answer was found wrong or missing"


def _trace(example: Example, text: str) -> Trace:
    """A trace with its question and its answer, in all spellings where the answer is a choice."""
    named = dict(zip(CHOICE_LETTERS, example.choices, strict=False))
    spelling = named.get(example.answer) or next(
        (letter for letter, choice in named.items() if choice == example.answer), None
    )
    return Trace(
        prompt=prompt_text(example.prompt, example.kind, example.choices),
        trace=text,
        answer=example.answer,
        spellings=(spelling,) if spelling else (),
    )


def _target(job: _Job, spelling: str, outcome: Shortened, answer: str) -> Target:
    """A shortened target: with the verdict and the cost of what it was made from, which had to be made first."""
    return Target(
        supervision=spelling,
        text=think(outcome.trace, answer),
        verdict=job.target.verdict,
        teach=job.target.teach,
        compress=job.target.compress + outcome.cost,
        token_ratio=outcome.kept_tokens / outcome.source_tokens,
        char_ratio=len(outcome.trace) / len(job.trace.trace),
    )
