"""What a corpus takes in: malformed examples are errors, untrainable targets are dropped and counted."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field, replace

from curricula.rendering import CHOICE_LETTERS, THINK_CLOSE, THINK_OPEN, ends_in_answer
from curricula.types import ANSWER_KINDS, DOMAINS, SPLITS, Example, Supervision, Target

_ID_DIGITS = 16  # 64 bits: two of a million examples collide with a probability of 3e-8
_MAX_COUNT = 2**63


@dataclass(kw_only=True)
class Sieve:
    """Takes examples one by one and keeps what can be trained on.

    Example:
        sieve = Sieve(name="add")
        for example in examples:
            sieve.add(example)
        sieve.judge(strict=False)
        sieve.kept, sieve.dropped
    """

    name: str  # of the corpus, for messages
    kept: list[Example] = field(default_factory=list)  # every one with an id and supervisions in one spelling
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> count
    offered_examples: int = 0
    offered_targets: int = 0
    _targets_dropped: int = 0
    _examples_emptied: int = 0
    _first_dropped: str = ""
    _row_of_id: dict[str, int] = field(default_factory=dict)
    _supervision: dict[str, Supervision] = field(default_factory=dict)

    def add(self, example: Example) -> None:
        """Check one example and keep it with those of its targets that can be trained on.

        Raises:
            ValueError: the example is malformed or has the id of an earlier one; the message names the rows, from 1.
        """
        self.offered_examples += 1
        row = self.offered_examples
        where = f"corpus {self.name!r}, example {row}"
        _check(example, where)
        identity = _content_id(example) if example.id is None else example.id
        if identity in self._row_of_id:
            if example.id is not None:
                raise ValueError(
                    f"corpus {self.name!r}: examples {self._row_of_id[identity]} and {row} share the id "
                    f"{identity!r}; ids must be unique"
                )
            self._drop("duplicate example", f"example {row} repeats example {self._row_of_id[identity]}")
            return
        targets = self._trainable(example, where)
        if targets:
            self.kept.append(replace(example, id=identity, targets=targets))
        else:
            self._examples_emptied += 1
            self._drop("example without a target", where)
        if targets or example.id is not None:
            self._row_of_id[identity] = row

    def judge(self, *, strict: bool) -> None:
        """Accept what was dropped, or refuse the corpus.

        Raises:
            ValueError: nothing is left; more than half of the targets were dropped, or more than half of the examples
                were left without one; or anything was dropped and `strict` is set.
        """
        if not self.offered_examples:
            raise ValueError(f"corpus {self.name!r} holds no example")
        halved = 2 * self._targets_dropped > self.offered_targets or 2 * self._examples_emptied > self.offered_examples
        if halved or (strict and self.dropped):
            reasons = "; ".join(f"{reason}: {count}" for reason, count in sorted(self.dropped.items()))
            rule = "more than half is too much" if halved else "strict allows none"
            raise ValueError(
                f"corpus {self.name!r}: of {self.offered_examples} examples with {self.offered_targets} targets some "
                f"were dropped, and {rule} ({reasons}); the first: {self._first_dropped}"
            )

    def _trainable(self, example: Example, where: str) -> tuple[Target, ...]:
        """Those of an example's targets that can be trained on, each in the one spelling of its supervision."""
        seen: dict[str, Target | None] = {}
        for target in example.targets:
            supervision = self._parse(target.supervision, where)
            spelling = str(supervision)
            if spelling in seen:
                raise ValueError(f"{where}: two targets for supervision {spelling!r}; give one")
            for cost in (target.teach, target.compress):
                if not (
                    0 <= cost.flops < _MAX_COUNT and 0 <= cost.tokens < _MAX_COUNT and 0 <= cost.dollars < math.inf
                ):
                    raise ValueError(f"{where}: amounts of target {spelling!r} must lie in [0, 2**63), got {cost}")
            fault = _fault(target.text, example.answer, supervision.thinks)
            if fault is None:
                seen[spelling] = target if target.supervision == spelling else replace(target, supervision=spelling)
            else:
                seen[spelling] = None
                self._targets_dropped += 1
                ending = target.text[-60:]
                self._drop(
                    f"{spelling}: {fault}",
                    f"{where}, target {spelling!r} {fault}: answer {example.answer!r}, text ends {ending!r}",
                )
        self.offered_targets += len(seen)
        return tuple(target for target in seen.values() if target is not None)

    def _parse(self, spelling: str, where: str) -> Supervision:
        if spelling not in self._supervision:
            try:
                self._supervision[spelling] = Supervision.parse(spelling)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        return self._supervision[spelling]

    def _drop(self, reason: str, shown: str) -> None:
        self.dropped[reason] += 1
        self._first_dropped = self._first_dropped or shown


def _fault(text: str, answer: str, thinks: bool) -> str | None:
    """Why a target must not be trained on; None where it may be."""
    if not text.strip():
        return "is empty"
    if thinks and not text.startswith(THINK_OPEN):
        return f"does not open with {THINK_OPEN}"
    if not thinks and (THINK_OPEN in text or THINK_CLOSE in text):
        return "thinks, though its kind does not"
    return None if ends_in_answer(text, answer) else "does not end in its answer"


def _check(example: Example, where: str) -> None:
    for field_name, text in (("task", example.task), ("prompt", example.prompt), ("answer", example.answer)):
        if not text.strip():
            raise ValueError(f"{where}: {field_name} is empty")
    if example.id is not None and not example.id.strip():
        raise ValueError(f"{where}: id is empty; leave it None to have one made")
    if example.kind not in ANSWER_KINDS:
        raise ValueError(f"{where}: kind must be one of {', '.join(ANSWER_KINDS)}, got {example.kind!r}")
    if example.domain not in DOMAINS:
        raise ValueError(f"{where}: domain must be one of {', '.join(DOMAINS)}, got {example.domain!r}")
    if example.split is not None and example.split not in SPLITS:
        raise ValueError(f"{where}: split must be one of {', '.join(SPLITS)} or None, got {example.split!r}")
    if example.domain == "transfer" and example.split in ("train", "probe"):
        raise ValueError(f"{where}: a transfer example may stand in dev or test only, got split {example.split!r}")
    _check_choices(example, where)


def _check_choices(example: Example, where: str) -> None:
    """Refuse choices that do not fit the kind, and an answer that names none of them."""
    count = len(example.choices)
    if example.kind == "open":
        if count:
            raise ValueError(f"{where}: an open question has no choices, got {count}; did you mean kind 'choice'?")
        return
    if not 2 <= count <= len(CHOICE_LETTERS):
        raise ValueError(f"{where}: a choice question has 2 to {len(CHOICE_LETTERS)} choices, got {count}")
    letters = CHOICE_LETTERS[:count]
    if example.answer not in (*letters, *example.choices):
        raise ValueError(
            f"{where}: the answer to a choice question is a letter from A to {letters[-1]} or the text of a choice, "
            f"got {example.answer!r}"
        )


def _content_id(example: Example) -> str:
    content = json.dumps([example.task, example.prompt, example.answer, example.choices])
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_DIGITS]
