"""What is known of a target's final answer: cheap rules first, mathematics only where these cannot decide.

text --answer--> as text? --> as a number? --> as a choice? --> as mathematics? --> a verdict
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from curricula.rendering import THINK_CLOSE, THINK_OPEN, holds_answer
from curricula.sieve import EMPTIED
from curricula.stream.intake import Drop, Intake
from curricula.types import AnswerKind, Example, Target, Verdict
from evaluators.answers import bare, find_answer, is_number, same_choice, same_number, same_text
from evaluators.mathematics.checker import Comparison, Mathematics, looks_mathematical

SHOWN_CHARS = 60
FAULTS: dict[Verdict, str] = {"wrong": "wrong answer", "no_answer": "no answer"}
"""What the reason of a dropped target says behind its supervision."""
Judged = Verdict | Literal["stopped"]
"""A verdict, or that mathematics went out of its bounds before it came to one."""
_OF_MATHEMATICS: dict[Comparison, Judged] = {
    "same": "math",
    "different": "wrong",
    "undecided": "unchecked",
    "stopped": "stopped",
}


def verdict(
    text: str,
    answer: str,
    kind: AnswerKind,
    choices: tuple[str, ...] = (),
    *,
    mathematics: Mathematics | None = None,
) -> Verdict:
    r"""What is known of the final answer of `text`, where `answer` is right.

    `exact`, `numeric`, `choice` and `math` say by which rule it was found right; `no_answer` that it gives none, as
    where a think block is never closed; `wrong` that it gives another. `unchecked` is what no rule could decide: two
    answers of which one looks like mathematics that cannot be compared for sure, or within bounds, or without
    `mathematics` at all; or a last line of prose, marked by nothing, that holds the answer somewhere.

    Raises:
        ValueError: a choice's reference is neither the letter nor the text of one of `choices`.
        OSError: the process that compares mathematics cannot be started.

    Example:
        >>> verdict("<think>3+4=7</think>The answer is 7.0", "7", "open")
        'numeric'
    """
    judged = judge(text, answer, kind, choices, mathematics=mathematics)
    return "unchecked" if judged == "stopped" else judged


def judge(
    text: str,
    answer: str,
    kind: AnswerKind,
    choices: tuple[str, ...] = (),
    *,
    mathematics: Mathematics | None = None,
) -> Judged:
    """The verdict on a text, which tells a comparison that was stopped from one that cannot be decided.

    Raises:
        ValueError: as `verdict` does.
        OSError: as `verdict` does.
    """
    rest = text.rpartition(THINK_CLOSE)[2]
    if kind == "open" and rest.strip() == answer and THINK_OPEN not in rest:
        return "exact"
    given = find_answer(text, kind)
    if kind == "choice":
        same = same_choice("" if given is None else given.text, answer, choices)
        judged: Judged = "wrong" if given is None or not same else "exact" if given.text == answer else "choice"
    else:
        judged = "wrong" if given is None else _open(given.text, answer, mathematics)
    if given is None:
        return "no_answer"
    if judged == "wrong" and not given.marked and _prose(given.text) and holds_answer(given.text, answer):
        return "unchecked"
    return judged


def _open(given: str, answer: str, mathematics: Mathematics | None) -> Judged:
    if given == answer:
        return "exact"
    same = same_number(given, answer)
    if same is not None:
        return "numeric" if same else "wrong"
    mathematical = looks_mathematical(answer), looks_mathematical(given)
    # Upper and lower case are one in words, but two variables in mathematics.
    if same_text(given, answer, any_case=not any(mathematical)):
        return "exact"
    values = (mathematical[0] or is_number(answer)), (mathematical[1] or is_number(given))
    if not all(values) or not any(mathematical):
        return "wrong"
    return _OF_MATHEMATICS[mathematics.compare(bare(answer), given) if mathematics is not None else "undecided"]


def _prose(text: str) -> bool:
    """Whether a text has words and no mathematics, so that its last word may be the answer."""
    return " " in text and not is_number(text) and not looks_mathematical(text)


class Verifier:
    """Gives every target of some examples its verdict. Made once in each process.

    Example:
        >>> verifier = Verifier()
        >>> verifier([example]).examples[0].targets[0].verdict
        'exact'
    """

    def __init__(self, *, keep_wrong: bool = False, mathematics: bool = True, deadline_seconds: float = 5.0) -> None:
        """Set up; a process for mathematics is started when the first comparison needs one.

        Args:
            keep_wrong: keep targets that are wrong or give no answer, with their verdict, in place of dropping them.
            mathematics: compare as mathematics what the cheap rules cannot decide.
            deadline_seconds: processor time of one such comparison.

        Raises:
            ValueError: the deadline is not positive.
        """
        self.keep_wrong = keep_wrong
        self._mathematics = Mathematics(deadline_seconds=deadline_seconds) if mathematics else None

    def __call__(self, examples: Sequence[Example]) -> Intake:
        """The examples with their targets' verdicts; those left without a target are dropped too.

        Raises:
            ValueError: the answer of a choice question is none of its choices.
            OSError: the process that compares mathematics cannot be started.
        """
        kept: list[Example] = []
        drops: list[Drop] = []
        for example in examples:
            targets: list[Target] = []
            for target in example.targets:
                judged = self._judge(example, target)
                if judged in ("wrong", "no_answer") and not self.keep_wrong:
                    drops.append(_dropped(example, target, judged))
                else:
                    targets.append(target if target.verdict == judged else replace(target, verdict=judged))
            if targets:
                kept.append(replace(example, targets=tuple(targets)))
            else:
                drops.append(Drop(where=_name(example), reason=EMPTIED))
        return Intake(examples=tuple(kept), drops=tuple(drops))

    def close(self) -> None:
        """End the process that compares mathematics, if there is one."""
        if self._mathematics is not None:
            self._mathematics.close()

    def _judge(self, example: Example, target: Target) -> Verdict:
        try:
            judged = verdict(target.text, example.answer, example.kind, example.choices, mathematics=self._mathematics)
        except ValueError as error:
            raise ValueError(f"{_name(example)}: {error}") from error
        # What cannot be decided here may be known to its source, whose word then stands.
        return "declared" if (judged, target.verdict) == ("unchecked", "declared") else judged


def _name(example: Example) -> str:
    return f"example {example.id}" if example.id is not None else f"example {example.prompt[:SHOWN_CHARS]!r}"


def _dropped(example: Example, target: Target, judged: Verdict) -> Drop:
    given = find_answer(target.text, example.kind)
    shown = f"ends {target.text[-SHOWN_CHARS:]!r}" if given is None else f"gives {given.text[:SHOWN_CHARS]!r}"
    return Drop(
        where=f"{_name(example)}, target {target.supervision!r}",
        reason=f"{target.supervision}: {FAULTS[judged]}",
        shown=f"answer {example.answer[:SHOWN_CHARS]!r}, {shown}",
    )
