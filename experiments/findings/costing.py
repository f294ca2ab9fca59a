"""What the settings of a question set cost to own, and which of them to choose: the bill, and the decision matrix.

K  runs of a setting        Q  questions of the set, by id
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.config import Json
from curricula.rendering import split_thinking
from curricula.types import Cost, Ints
from evaluators.answering import Answering, answering_from_questions
from evaluators.decision import Candidate, decide
from evaluators.ownership import Making, Student, break_even, ownership, sensitivity
from evaluators.sentences import sentence
from evaluators.serving import TokenPrices
from experiments.findings.findings import Costs, Decisions, FinishedRun, Reader, Setting
from experiments.findings.graded import SEED, restricted
from experiments.findings.settings import Groups, known_prompt_tokens, student_shape
from trainers.pricing.flops import ModelShape

DRAWS = 1000
MIN_QUESTIONS = 20
"""A task group of fewer questions is no cell of the matrix: its intervals would overlap whatever is true."""

ALL = "all questions"
_KINDS: Mapping[str, str] = {"open": "open ", "choice": "multiple-choice "}
_DOMAINS: Mapping[str, str] = {"in_domain": "in-domain ", "transfer": "transfer-domain "}


@dataclass(frozen=True, kw_only=True, eq=False)
class Priced:
    """A setting of which is known what it took to make, and what an answer takes."""

    setting: Setting
    making: Making
    shape: ModelShape | None  # None where answers are paid by the token, whatever their FLOPs
    prompt_tokens: Mapping[str, int]  # by id of the question

    def answering(self, questions: set[str]) -> Answering:
        """How it answers these questions. The same draws for settings with as many seeds and graded questions."""
        graded = restricted(self.setting.graded, questions=questions)
        prompt_tokens_Q: Ints = np.array([self.prompt_tokens[name] for name in graded.questions_Q], dtype=np.int32)
        return answering_from_questions(
            self.shape,
            correct_KQ=graded.correct_KQ,
            output_tokens_KQ=graded.output_tokens_KQ,
            prompt_tokens_Q=prompt_tokens_Q,
            seed=SEED,
            draws=DRAWS,
        )


def priced_settings(settings: Sequence[Setting], reader: Reader) -> tuple[list[Priced], list[str]]:
    """Those whose bill can be written, and a line for each of the others."""
    priced: list[Priced] = []
    notes: list[str] = []
    by_token = isinstance(reader.terms.serving, TokenPrices)
    for setting in settings:
        shape, tokens_Q = student_shape(setting.runs), known_prompt_tokens(setting.runs)
        if tokens_Q is None:
            notes.append(
                f"{setting.name} has no costs: its runs are early ones, which do not tell their prompts' tokens"
            )
        elif shape is None and not by_token:
            notes.append(
                f"{setting.name} has no costs: none of its runs has an exported student of an architecture whose FLOPs "
                "are known"
            )
        else:
            ids = [answer.id for answer in setting.runs[0].answers_Q]
            priced.append(
                Priced(
                    setting=setting,
                    making=making(setting.runs),
                    shape=shape,
                    prompt_tokens=dict(zip(ids, tokens_Q.tolist(), strict=True)),
                )
            )
    return priced, notes


def making(runs: Sequence[FinishedRun]) -> Making:
    """What making one student took, the mean over seeds.

    Each student pays its corpus whole: every distinct teacher's completion, with the samples that were rejected on the
    way to it, and every compressed target that it was trained on, once.
    """
    parts = [_making_parts(run) for run in runs]
    teacher, compression, selection, training = (_mean_cost(costs) for costs in zip(*parts, strict=True))
    return Making(teacher=teacher, compression=compression, selection=selection, training=training)


def _making_parts(run: FinishedRun) -> tuple[Cost, Cost, Cost, Cost]:
    charges = run.summary.charges
    summary = run.record.summary or {}
    told = summary.get("corpus_costs")
    corpus = told if isinstance(told, dict) else {}
    return (
        _cost(corpus.get("teach"), charges.get("teach", 0.0)),
        _cost(corpus.get("compress"), charges.get("compress", 0.0)),
        Cost(flops=round(charges.get("probe", 0.0) + charges.get("features", 0.0))),
        Cost(flops=round(charges.get("train", 0.0))),
    )


def _cost(told: Json, flops: float) -> Cost:
    """A cost as summary.json tells it; of an early one its FLOPs alone are known."""
    amounts = told if isinstance(told, dict) else {"flops": flops}
    flops, tokens, dollars = (
        value if isinstance(value := amounts.get(name), int | float) else 0 for name in ("flops", "tokens", "dollars")
    )
    return Cost(flops=round(flops), tokens=round(tokens), dollars=float(dollars))


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    return _share_of(sum(costs, Cost()), 1 / len(costs))


def _share_of(cost: Cost, share: float) -> Cost:
    return Cost(flops=round(cost.flops * share), tokens=round(cost.tokens * share), dollars=cost.dollars * share)


def find_costs(priced: Sequence[Priced], reader: Reader) -> Costs | None:
    """The bill at every volume, break-evens of every pair, both ways, and the table of sensitivities."""
    students = {
        each.setting.name: Student(
            name=each.setting.name,
            making=each.making,
            answering=each.answering(set(each.setting.graded.questions_Q)),
        )
        for each in priced
    }
    if not students:
        return None
    middle = sorted(reader.volumes)[len(reader.volumes) // 2]
    return Costs(
        terms=reader.terms,
        volumes=reader.volumes,
        owned={
            name: tuple(ownership(student, reader.terms, queries) for queries in reader.volumes)
            for name, student in students.items()
        },
        break_evens={
            (one, other): break_even(students[one], students[other], reader.terms)
            for one, other in itertools.permutations(students, 2)
        },
        sensitivity={name: sensitivity(student, reader.terms, middle) for name, student in students.items()},
    )


def find_decisions(priced: Sequence[Priced], groups: Groups, reader: Reader) -> Decisions | None:
    """The decision matrix: the settings' policies as supervisions, for each task group, student, budget and volume.

    A task group that is a share of the questions bears that share of what a student took to make.
    """
    if not priced:
        return None
    ids = tuple(answer.id for answer in priced[0].setting.runs[0].answers_Q)
    candidates = [
        _candidate(each, name, questions, share=len(questions) / len(ids))
        for name, questions in task_groups(ids, groups).items()
        for each in priced
        if questions & set(each.setting.graded.questions_Q)
    ]
    cells = decide(candidates, reader.terms, reader.volumes, limits=reader.limits, criterion=reader.criterion)
    return Decisions(
        limits=reader.limits, criterion=reader.criterion, cells=cells, sentences=tuple(sentence(cell) for cell in cells)
    )


def task_groups(ids: Sequence[str], groups: Groups) -> dict[str, set[str]]:
    """All questions, then those of one kind and complexity, which is the difficulty band where known, else the domain.

    Groups of fewer than MIN_QUESTIONS are left out, and one that would be all questions again.
    """
    found: dict[tuple[str, str], set[str]] = {}
    columns = (groups.names["kind"], groups.names["difficulty"], groups.names["domain"])
    for name, kind, band, domain in zip(ids, *columns, strict=True):
        found.setdefault((kind, band or domain), set()).add(name)
    enough = {key: found[key] for key in sorted(found) if MIN_QUESTIONS <= len(found[key]) < len(ids)}
    return {ALL: set(ids), **{_in_words(*key): questions for key, questions in enough.items()}}


def _in_words(kind: str, complexity: str) -> str:
    """A task group for people.

    Example:
        >>> _in_words("open", "2: 61 to 118 characters of reasoning"), _in_words("choice", "transfer")
        ('open questions (61 to 118 characters of reasoning)', 'transfer-domain multiple-choice questions')
    """
    asked = f"{_KINDS.get(kind, '')}questions"
    if complexity in ("", *_DOMAINS):
        return f"{_DOMAINS.get(complexity, '')}{asked}"
    return f"{asked} ({re.sub(r'^[0-9]+: ', '', complexity)})"


def _candidate(priced: Priced, task_group: str, questions: set[str], *, share: float) -> Candidate:
    setting = priced.setting
    answers = [answer for run in setting.runs for answer in run.answers_Q if answer.id in questions]
    thinking = [split_thinking(answer.output)[0] is not None for answer in answers]
    tokens = [answer.output_tokens for answer in answers]
    making_share = Making(
        teacher=_share_of(priced.making.teacher, share),
        compression=_share_of(priced.making.compression, share),
        selection=_share_of(priced.making.selection, share),
        training=_share_of(priced.making.training, share),
    )
    return Candidate(
        task_group=task_group,
        student=setting.student,
        budget_flops=setting.total_flops,
        supervision=setting.policy,
        answering=priced.answering(questions),
        making=making_share,
        questions=len(questions & set(setting.graded.questions_Q)),
        runs=len(setting.runs),
        output_tokens_p90=float(np.quantile(tokens, 0.9, method="inverted_cdf")),
        latency_seconds=setting.latency_seconds,
        memory_bytes=setting.serving_bytes,
        visible_reasoning=sum(thinking) > len(thinking) / 2,
    )
