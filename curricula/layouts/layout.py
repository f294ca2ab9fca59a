"""The interface of a layout: one raw row of a published set becomes one example, or is unusable for a stated reason.

What every layout offers of a row:

    answer      the final answer alone
    reasoning   the teacher's trace in a think block, then the final answer alone
    response    what the teacher wrote after its trace
    short       what the teacher wrote with thinking off

A thinking target ends in the bare answer, not in the whole response: a teacher's response works the solution out once
more, which costs a student hundreds of tokens and shows it nothing that the trace has not; and a full, a compressed and
a truncated trace then differ in the trace alone. The response stands under a supervision of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeGuard

from curricula.layouts.completion import bare, reference_answer
from curricula.rendering import THINK_CLOSE, THINK_OPEN, ends_in_answer, think
from curricula.stream.intake import Drop, Intake, UnusableError
from curricula.types import AnswerKind, Domain, Example, Split, Target, Verdict

_SHOWN_CHARS = 80
_TYPOGRAPHY_CHARS = 16
_ENDING_CHARS = 400  # a text ends in its answer if these last characters and as many as the answer has do
_QUESTIONS = ("prompt", "problem", "question", "instruction")
_CONVERSATIONS = ("conversations", "messages")


@dataclass(kw_only=True, slots=True)
class Draft:
    """An example in the making: targets that may be trained on, and those that may not, each with its reason."""

    prompt: str
    answer: str
    targets: list[Target] = field(default_factory=list)
    faults: list[tuple[str, str, str]] = field(default_factory=list)  # supervision, reason, what is shown of it
    task: str | None = None  # the layout's where None
    kind: AnswerKind = "open"
    domain: Domain = "in_domain"
    choices: tuple[str, ...] = ()
    split: Split | None = None
    id: str | None = None

    def give(self, verdict: Verdict) -> None:
        """Offer the final answer alone.

        Raises:
            UnusableError: it holds a think tag, behind which no target would end in it.
        """
        if THINK_OPEN in self.answer or THINK_CLOSE in self.answer:
            raise UnusableError("answer holds a think tag")
        self.targets.append(Target(supervision="answer", text=self.answer, verdict=verdict))

    def say(self, supervision: str, text: str, verdict: Verdict) -> None:
        """Offer a text that does not think; one that is nothing but the answer is the target `answer` already."""
        if len(text) < len(self.answer) + _TYPOGRAPHY_CHARS and bare(text) == self.answer:
            return
        if THINK_OPEN in text or THINK_CLOSE in text:
            self.fault(supervision, "thinks, though its kind does not", text[:_SHOWN_CHARS])
        elif ends_in_answer(text[-len(self.answer) - _ENDING_CHARS :], self.answer):
            self.targets.append(Target(supervision=supervision, text=text, verdict=verdict))
        else:
            self.fault(supervision, "does not end in its answer", text[-_SHOWN_CHARS:])

    def think(self, supervision: str, trace: str, verdict: Verdict, *, char_ratio: float | None = None) -> None:
        """Offer a trace, without tags, before the answer."""
        if not trace:
            self.fault(supervision, "empty trace", "")
        elif THINK_CLOSE in trace:
            self.fault(supervision, "trace holds a think tag", trace[:_SHOWN_CHARS])
        else:
            text = think(trace, self.answer)
            self.targets.append(Target(supervision=supervision, text=text, verdict=verdict, char_ratio=char_ratio))

    def fault(self, supervision: str, reason: str, shown: str) -> None:
        """Leave a target out, for a reason that is counted."""
        self.faults.append((supervision, reason, shown))


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """How a published set lays out its rows. A user's layout is a subclass with a name, columns and two methods.

    Example:
        >>> row = {"prompt": "3+4=?", "completion": "<think>3+4=7</think>7"}
        >>> [target.supervision for target in PromptCompletion().example(row, "a.jsonl, line 1").targets]
        ['answer', 'reasoning']
    """

    task_name: str | None = None  # the task of every example; the layout's name where None
    teacher_name: str | None = None  # written behind the supervision of all that a teacher wrote, as #name
    task: str | None = None  # column that names each example's task; rows where it is empty get task_name
    answer: str | None = None  # column of final answers, where the layout's own is not to be used

    name: ClassVar[str]
    shown_columns: ClassVar[tuple[str, ...]]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, as people are shown them."""
        return self.shown_columns

    @abstractmethod
    def fits(self, row: Mapping[str, object]) -> bool:
        """Whether a row has this layout's columns."""

    @abstractmethod
    def draft(self, row: Mapping[str, object]) -> Draft:
        """What a row offers, and what it offers in vain.

        Raises:
            UnusableError: nothing of the row can be used.
        """

    def example(self, row: Mapping[str, object], where: str) -> Example:
        """The example of a row, with those of its targets that may be trained on; `intake` tells of the others.

        Raises:
            UnusableError: the row is to be dropped; the message is the reason, without particulars.
        """
        return self._example_of(self.draft(row), row)

    def intake(self, row: Mapping[str, object], where: str) -> Intake:
        """The example of a row and a drop for every target left out; or, of an unusable row, one drop."""
        try:
            draft = self.draft(row)
            example = self._example_of(draft, row)
        except UnusableError as error:
            return Intake(drops=(Drop(where=where, reason=str(error), shown=_beginning(row)),))
        drops = [
            Drop(where=f"{where}, {supervision}", reason=f"{supervision}: {reason}", shown=shown)
            for supervision, reason, shown in draft.faults
        ]
        return Intake(examples=(example,), drops=tuple(drops))

    def spelled(self, kind: str) -> str:
        """The supervision of a text that the set's teacher wrote."""
        return kind if self.teacher_name is None else f"{kind}#{self.teacher_name}"

    def reference(self, row: Mapping[str, object], *names: str) -> str | None:
        """The final answer by the first of these columns that holds one; only that of `answer` where it is given."""
        for name in names if self.answer is None else (self.answer,):
            answer = reference_answer(row.get(name))
            if answer is not None:
                return answer
        return None

    def _example_of(self, draft: Draft, row: Mapping[str, object]) -> Example:
        """The example that a row's draft makes.

        Raises:
            UnusableError: one of its texts cannot be stored.
        """
        for text in (draft.prompt, draft.answer, *(target.text for target in draft.targets)):
            check_storable(text)
        return Example(
            task=draft.task or self._task_of(row),
            prompt=draft.prompt,
            answer=draft.answer,
            targets=tuple(draft.targets),
            kind=draft.kind,
            domain=draft.domain,
            choices=draft.choices,
            split=draft.split,
            id=draft.id,
        )

    def _task_of(self, row: Mapping[str, object]) -> str:
        """The task of a row's example."""
        task = row.get(self.task) if self.task is not None else None
        return task if isinstance(task, str) and task.strip() else self.task_name or self.name


def text_of(row: Mapping[str, object], name: str) -> str:
    """The text of a column, without outer space.

    Raises:
        UnusableError: it is missing, empty, or not a text.
    """
    value = row.get(name)
    if isinstance(value, str):
        value = value.strip()
        if value:
            return value
    elif value is not None:
        raise UnusableError(f"{name} is not a text")
    raise UnusableError(f"empty {name}")


def optional_text(row: Mapping[str, object], name: str) -> str:
    """The text of a column that may be missing or null, without outer space; "" then.

    Raises:
        UnusableError: it holds something that is no text.
    """
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnusableError(f"{name} is not a text")
    return value.strip()


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether a value is a list, as JSON and Arrow give them."""
    return isinstance(value, list | tuple)


def check_storable(text: str) -> None:
    """Refuse a text that cannot be stored and tokenized.

    Raises:
        UnusableError: it holds a NUL or half of a surrogate pair.
    """
    if "\x00" in text:
        raise UnusableError("holds a NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UnusableError("holds half a character") from error


def _beginning(row: Mapping[str, object]) -> str:
    """How a row begins: its question or, of a conversation, the reply; else its first text."""
    for name in _CONVERSATIONS:
        turns = row.get(name)
        if is_list(turns) and turns and isinstance(turns[-1], Mapping):
            text = turns[-1].get("content", turns[-1].get("value"))
            return text[:_SHOWN_CHARS] if isinstance(text, str) else ""
    texts = [value for value in (*map(row.get, _QUESTIONS), *row.values()) if isinstance(value, str)]
    return next((text[:_SHOWN_CHARS] for text in texts if text.strip()), "")
