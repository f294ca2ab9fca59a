"""A teacher that needs no model, for tests: right, wrong or silent as each request's text decides."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controller.traces.pairing import PairingPlan
from controller.traces.teaching import CORPUS, SUMMARY, Teaching, TeachingConfig
from curricula.corpus import Corpus
from curricula.types import Cost, Example, Target
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError

TENTH = 0.1  # a number of dollars whose sum depends on the order


def corpus(count: int = 12) -> Corpus:
    """Sums to ask for, in every split."""
    splits = ("train", "train", "train", "probe", "dev", "test")
    examples = [
        Example(
            task="add",
            prompt=f"{place}+1=?",
            answer=str(place + 1),
            targets=(Target(supervision="answer", text=str(place + 1)),),
            split=splits[place % len(splits)],
        )
        for place in range(count)
    ]
    return Corpus.build(examples, name="sums")


@dataclass
class Oracle:
    """Adds one, most often rightly; which requests go wrong is told by their text. It dies after `lives` answers."""

    name: str = "oracle"
    lives: int | None = None
    shuffle: int = 0  # seed of the order in which answers come
    asked: Counter[Request] = field(default_factory=Counter)

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
        """Answer in a shuffled order."""
        order = list(range(len(requests)))
        random.Random(self.shuffle).shuffle(order)
        for number, index in enumerate(order):
            if number == self.lives:
                raise TeacherError("gone")
            self.asked[requests[index]] += 1
            yield index, answer(requests[index])


def answer(request: Request) -> Completion | Refusal:
    """What the oracle says: sums right but for those it is told to miss."""
    left = int(request.prompt.partition("+")[0])
    fate = random.Random(f"{left} {request.thinking} {request.sample}").choice(["right"] * 4 + ["wrong", "refused"])
    cost = Cost(flops=1000 + left, tokens=10 + request.sample, dollars=TENTH * (left + 1) / 3)
    if fate == "refused":
        return Refusal(reason="empty completion", cost=cost, estimated=left % 2 == 1)
    return Completion(
        estimated=left % 5 == 0,
        reasoning=f"{left} and 1" if request.thinking else None,
        text=f"The answer is {left + 1 + (fate == 'wrong')}",
        prompt_tokens=5,
        output_tokens=9 - request.sample,
        finished=True,
        cost=cost,
    )


def config(**changes: object) -> TeachingConfig:
    """Three samples of both sides, but for the changes."""
    plan = PairingPlan(name="oracle", samples=3)
    return TeachingConfig(plan=dataclasses.replace(plan, **changes), teacher={"model": "oracle"})


def teach(folder: Path, oracle: Oracle, questions: Corpus | None = None, changed: TeachingConfig | None = None) -> None:
    """Teach from beginning to end."""
    with Teaching(questions or corpus(), changed or config(), folder) as teaching:
        for _ in teaching.ask(oracle):
            pass
        teaching.finish()


def results(folder: Path) -> tuple[str, dict[str, object]]:
    """What a run left: the fingerprint of its corpus, and its summary."""
    return Corpus.load(folder / CORPUS).fingerprint, json.loads((folder / SUMMARY).read_text())
