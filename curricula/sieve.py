"""What a corpus takes in: malformed examples are errors, untrainable targets are dropped and counted.

sift    what can be told of one example by itself; may run anywhere
Tally   what needs those before it: repeats, counts, and whether too much was lost
Sieve   both, one example after another
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache

from curricula.rendering import CHOICE_LETTERS, THINK_CLOSE, THINK_OPEN, ends_in_answer
from curricula.stream.intake import Drop
from curricula.types import ANSWER_KINDS, DOMAINS, SPLITS, Example, Supervision, Target

DUPLICATE = "duplicate example"
EMPTIED = "example without a target"

_ID_DIGITS = 16  # 64 bits: two of a million examples collide with a probability of 3e-8
_MAX_COUNT = 2**63
_SHOWN_CHARS = 60


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """One example and what of it can be trained on."""

    where: str  # file and line, or the like
    example: Example  # as it was offered
    identity: str  # its id, or its content's where it has none
    offered_targets: int
    targets: tuple[Target, ...]  # trainable, each in the one spelling of its supervision
    drops: tuple[Drop, ...]  # its other targets


def sift(example: Example, where: str) -> Sifted:
    """Check one example and keep those of its targets that can be trained on.

    Raises:
        ValueError: the example is malformed; the message opens with `where`.
    """
    _check(example, where)
    seen: dict[str, Target | None] = {}
    drops: list[Drop] = []
    for target in example.targets:
        try:
            spelling, thinks = _spelling(target.supervision)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if spelling in seen:
            raise ValueError(f"{where}: two targets for supervision {spelling!r}; give one")
        for cost in (target.teach, target.compress):
            if not (0 <= cost.flops < _MAX_COUNT and 0 <= cost.tokens < _MAX_COUNT and 0 <= cost.dollars < math.inf):
                raise ValueError(f"{where}: amounts of target {spelling!r} must lie in [0, 2**63), got {cost}")
        fault = _fault(target.text, example.answer, thinks)
        if fault is None:
            seen[spelling] = target if target.supervision == spelling else replace(target, supervision=spelling)
        else:
            seen[spelling] = None
            shown = f"answer {example.answer!r}, text ends {target.text[-_SHOWN_CHARS:]!r}"
            drops.append(Drop(where=f"{where}, target {spelling!r}", reason=f"{spelling}: {fault}", shown=shown))
    return Sifted(
        where=where,
        example=example,
        identity=_content_id(example) if example.id is None else example.id,
        offered_targets=len(seen),
        targets=tuple(target for target in seen.values() if target is not None),
        drops=tuple(drops),
    )


@dataclass(kw_only=True)
class Tally:
    """Tells repeats, counts what is dropped, and judges in the end. Takes about 150 bytes for every example kept.

    Example:
        tally.offer(identity="1f0c...", own_id=False, offered_targets=2, kept_targets=1)
    """

    name: str  # of the corpus, for messages
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> count
    offered_examples: int = 0
    offered_targets: int = 0
    _targets_dropped: int = 0
    _examples_emptied: int = 0
    _first_dropped: str = ""
    _row_of_id: dict[str, int] = field(default_factory=dict)

    def offer(self, *, identity: str, own_id: bool, offered_targets: int, kept_targets: int) -> str | None:
        """Decide on one more example: None to keep it, or the reason to drop it, which `drop` is to be told of.

        Raises:
            ValueError: it has the id of an earlier one; the message names both, counted from 1.
        """
        self.offered_examples += 1
        row = self.offered_examples
        if identity in self._row_of_id:
            if own_id:
                raise ValueError(
                    f"corpus {self.name!r}: examples {self._row_of_id[identity]} and {row} share the id "
                    f"{identity!r}; ids must be unique"
                )
            return DUPLICATE
        self.offered_targets += offered_targets
        self._targets_dropped += offered_targets - kept_targets
        if kept_targets or own_id:
            self._row_of_id[identity] = row
        if kept_targets:
            return None
        self._examples_emptied += 1
        return EMPTIED

    def first_row(self, identity: str) -> int:
        """Which example, counted from 1, has this identity."""
        return self._row_of_id[identity]

    def lose_row(self) -> None:
        """Count a row that never became an example."""
        self.offered_examples += 1
        self._examples_emptied += 1

    def drop(self, drop: Drop) -> None:
        """Count one loss."""
        self.dropped[drop.reason] += 1
        self._first_dropped = self._first_dropped or ": ".join(filter(None, (drop.where, drop.reason, drop.shown)))

    def judge(self, *, strict: bool) -> None:
        """Accept what was dropped, or refuse the corpus.

        Raises:
            ValueError: nothing is left; more than half of the targets were dropped, or more than half of the examples
                were left without one; or anything was dropped and `strict` is set.
        """
        reasons = "; ".join(f"{reason}: {count}" for reason, count in sorted(self.dropped.items()))
        if not self.offered_examples:
            left_out = f": all were left out ({reasons}); the first: {self._first_dropped}" if reasons else ""
            raise ValueError(f"corpus {self.name!r} holds no example{left_out}")
        halved = 2 * self._targets_dropped > self.offered_targets or 2 * self._examples_emptied > self.offered_examples
        if halved or (strict and self.dropped):
            rule = "more than half is too much" if halved else "strict allows none"
            raise ValueError(
                f"corpus {self.name!r}: of {self.offered_examples} examples with {self.offered_targets} targets some "
                f"were dropped, and {rule} ({reasons}); the first: {self._first_dropped}"
            )


class Sieve:
    """Takes examples one by one and keeps what can be trained on.

    Example:
        sieve = Sieve(name="add")
        for example in examples:
            sieve.add(example)
        sieve.judge(strict=False)
        sieve.kept, sieve.dropped
    """

    def __init__(self, *, name: str) -> None:
        """Begin empty; `name` is the corpus's, for messages."""
        self.kept: list[Example] = []  # every one with an id and supervisions in one spelling
        self._tally = Tally(name=name)

    @property
    def dropped(self) -> Counter[str]:
        """Reason -> count."""
        return self._tally.dropped

    def add(self, example: Example) -> None:
        """Check one example and keep it with those of its targets that can be trained on.

        Raises:
            ValueError: the example is malformed or has the id of an earlier one; the message names the rows, from 1.
        """
        where = f"corpus {self._tally.name!r}, example {self._tally.offered_examples + 1}"
        sifted = sift(example, where)
        verdict = self._tally.offer(
            identity=sifted.identity,
            own_id=example.id is not None,
            offered_targets=sifted.offered_targets,
            kept_targets=len(sifted.targets),
        )
        if verdict == DUPLICATE:
            shown = f"repeats example {self._tally.first_row(sifted.identity)}"
            self._tally.drop(Drop(where=where, reason=DUPLICATE, shown=shown))
            return
        for drop in sifted.drops:
            self._tally.drop(drop)
        if verdict is None:
            self.kept.append(replace(example, id=sifted.identity, targets=sifted.targets))
        else:
            self._tally.drop(Drop(where=where, reason=verdict))

    def judge(self, *, strict: bool) -> None:
        """Accept what was dropped, or refuse the corpus.

        Raises:
            ValueError: what `Tally.judge` raises.
        """
        self._tally.judge(strict=strict)


@lru_cache(maxsize=4096)
def _spelling(supervision: str) -> tuple[str, bool]:
    """The one spelling of a supervision, and whether it thinks."""
    parsed = Supervision.parse(supervision)
    return str(parsed), parsed.thinks


def _fault(text: str, answer: str, thinks: bool) -> str | None:
    """Why a target must not be trained on; None where it may be."""
    if not text.strip():
        return "is empty"
    if thinks and not text.startswith(THINK_OPEN):
        return f"does not open with {THINK_OPEN}"
    if not thinks and (THINK_OPEN in text or THINK_CLOSE in text):
        return "thinks, though its kind does not"
    return None if text == answer or ends_in_answer(text, answer) else "does not end in its answer"


def _check(example: Example, where: str) -> None:
    for field_name, text in (("task", example.task), ("prompt", example.prompt), ("answer", example.answer)):
        if not text or text.isspace():
            raise ValueError(f"{where}: {field_name} is empty")
    texts = [example.id or "", example.task, example.prompt, example.answer, *example.choices]
    texts += [target.text for target in example.targets]
    if not _storable("".join(texts)):
        text = next((text for text in texts if not _storable(text)), "")
        raise ValueError(f"{where}: a text holds a NUL byte or half of a surrogate pair; remove it: {text[:60]!a}")
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


def _storable(text: str) -> bool:
    """Whether a text can be written to a file and read by every tool: no NUL, no lone surrogate."""
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _content_id(example: Example) -> str:
    content = json.dumps([example.task, example.prompt, example.answer, example.choices])
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_DIGITS]
