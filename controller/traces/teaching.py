"""Teaching: a corpus's questions are put to a teacher, and what it wrote becomes targets.

    corpus --missing--> requests --Teacher--> completions --append--> journal.jsonl
                 ^                                                        |
                 +----------------- what is there already ----------------+--> Pairing --> corpus/, summary.json

The journal is the one record: a run that was killed at any point goes on by reading it, and asks only for what it does
not hold. The corpus and the summary are made from it, and do not depend on the order in which completions came.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.config import Json
from controller.traces.journal import Entry, Journal, write_json
from controller.traces.pairing import Pairing, PairingPlan, total
from curricula.corpus import Corpus
from curricula.types import Cost
from evaluators.mathematics.checker import Mathematics
from trainers.teachers.teacher import Completion, Refusal, Teacher

CORPUS, SUMMARY = "corpus", "summary.json"
SLAB_REQUESTS = 20_000
"""Requests handed to a teacher at once: so many are held in memory, and among so many it may choose an order."""


@dataclass(frozen=True, kw_only=True)
class TeachingConfig:
    """Everything that decides what is written; the journal is refused to any other.

    Example:
        TeachingConfig(plan=PairingPlan(name="qwen3"), teacher={"model": "Qwen/Qwen3-8B", "temperature": 0.6})
    """

    plan: PairingPlan
    teacher: Mapping[str, Json]  # who it is and how it writes, without keys, addresses and patience

    def identity(self, corpus: Corpus) -> dict[str, Json]:
        """As plain data."""
        plan = self.plan
        return {
            "corpus": {"name": corpus.name, "fingerprint": corpus.fingerprint},
            "name": plan.name,
            "sides": list(plan.sides),
            "samples": plan.samples,
            "keep": plan.keep,
            "pairs_only": plan.pairs_only,
            "splits": list(plan.splits),
            "limit": plan.limit,
            "instruction": plan.instruction,
            "teacher": dict(self.teacher),
        }


class Teaching:
    """One folder's teaching, for as long as the block lasts.

    Example:
        with Teaching(corpus, config, folder) as teaching:
            for _ in teaching.ask(teacher):
                show(teaching.pairing.tallies)
            summary = teaching.finish()
    """

    def __init__(self, corpus: Corpus, config: TeachingConfig, folder: Path) -> None:
        """Take the folder and read what it holds.

        Raises:
            ValueError: the corpus offers these supervisions already or nothing to ask; the folder is in use, holds
                something else, or was asked for otherwise.
        """
        self.config, self.folder = config, folder
        self._mathematics = Mathematics()
        self.pairing = Pairing(corpus, config.plan, mathematics=self._mathematics)
        self._identity = config.identity(corpus)
        self._journal = Journal.open(folder, self._identity)
        self.answered = 0
        try:
            for entry in self._journal.entries():
                self._take(entry)
        except ValueError:
            self.close()
            raise

    def __enter__(self) -> Teaching:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder back."""
        self._mathematics.close()
        self._journal.close()

    def ask(self, teacher: Teacher) -> Iterator[Completion | Refusal]:
        """Ask for what is missing; every answer is in the journal before it is yielded.

        Raises:
            TeacherError: the teacher cannot be asked; what it wrote before stands.
            OSError: the disk is full, most often.
        """
        missing = self.pairing.missing()
        while slab := list(itertools.islice(missing, SLAB_REQUESTS)):
            for index, outcome in teacher.complete([request for _, request in slab]):
                identity, request = slab[index]
                entry = Entry(id=identity, thinking=request.thinking, sample=request.sample, outcome=outcome)
                self._journal.append(entry)
                self._take(entry)
                yield outcome

    def finish(self) -> dict[str, Json]:
        """Save the corpus under `corpus/` and write summary.json, which is returned.

        Raises:
            ValueError: something was not answered yet, or no target was kept.
        """
        if self.answered < self.pairing.requests:
            raise ValueError(
                f"{self.pairing.requests - self.answered} of {self.pairing.requests} requests were not answered yet"
            )
        summary = self._summary()
        write_json(self.folder / SUMMARY, summary)
        if not any(self.pairing.kept_targets(side) for side in self.config.plan.sides):
            reasons = {
                f"{side}: {reason}": count
                for side, tally in self.pairing.tallies.items()
                for reason, count in tally.reasons.most_common(3)
            }
            told = "; ".join(f"{reason}: {count}" for reason, count in reasons.items()) or "pairs_only kept none"
            raise ValueError(
                f"no target was kept of {self.pairing.requests} requests ({told}); see {self.folder / SUMMARY}"
            )
        self.pairing.corpus().save(self.folder / CORPUS)
        return summary

    def _take(self, entry: Entry) -> None:
        self.pairing.take(entry)
        self.answered += 1

    def _summary(self) -> dict[str, Json]:
        """Counts, reasons and costs by side; `spent` is what was paid, `targets` what each supervision is charged."""
        pairing, plan = self.pairing, self.config.plan
        sides: dict[str, Json] = {}
        charged: dict[str, Json] = {}
        for side in plan.sides:
            tally, spent, unspent = pairing.tallies[side], pairing.spent(side), pairing.unspent(side)
            sides[side] = {
                "requests": tally.completed + tally.refused,
                "completed": tally.completed,
                "refused": tally.refused,
                "rejected": tally.rejected,
                "right": tally.completed - tally.rejected,
                "examples_kept": pairing.kept_targets(side),
                "answer_line_added": pairing.lengthened(side),
                "tokens_estimated": tally.estimated,
                "reasons": dict(sorted(tally.reasons.items())),
                "spent": _amounts(spent),
                "unspent_on_any_target": _amounts(unspent),
            }
            made = [
                name
                for name in plan.supervisions
                if name.startswith(("reasoning", "response")) == (side == "reasoning")
            ]
            paid = Cost(
                flops=spent.flops - unspent.flops,
                tokens=spent.tokens - unspent.tokens,
                dollars=spent.dollars - unspent.dollars,
            )
            charged |= {name: {"count": pairing.kept_targets(side), **_amounts(paid)} for name in made}
        return {
            **self._identity,
            "examples_asked": len(pairing.asked),
            "spent": _amounts(total([pairing.spent(side) for side in plan.sides])),
            "sides_asked": sides,
            "targets": charged,
        }


def _amounts(cost: Cost) -> dict[str, Json]:
    return {"tokens": cost.tokens, "flops": cost.flops, "dollars": cost.dollars}
