"""Rows of this project's own form: `task`, `prompt`, `answer` and `targets` (curricula/reader.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.layout import Draft, Layout
from curricula.reader import REQUIRED, example_from_row
from curricula.rendering import THINK_CLOSE, THINK_OPEN, ends_in_answer
from curricula.stream.intake import UnusableError
from curricula.types import Example, Supervision


@dataclass(frozen=True, kw_only=True)
class Own(Layout):
    """Rows of the project's own form; verdicts, costs and ratios are kept as they are given."""

    name: ClassVar[str] = "own"
    shown_columns: ClassVar[tuple[str, ...]] = REQUIRED

    def fits(self, row: Mapping[str, object]) -> bool:
        return all(name in row for name in REQUIRED)

    def draft(self, row: Mapping[str, object]) -> Draft:
        example = _read(row)
        draft = Draft(
            prompt=example.prompt,
            answer=example.answer,
            task=self.task_name or example.task,
            kind=example.kind,
            domain=example.domain,
            choices=example.choices,
            split=example.split,
            id=example.id,
        )
        for target in example.targets:
            fault = _fault(target.text, example.answer, Supervision.parse(target.supervision).thinks)
            if fault is None:
                draft.targets.append(target)
            else:
                draft.fault(target.supervision, fault, target.text[-80:])
        if not draft.targets:
            raise UnusableError("no target that can be trained on")
        return draft


def _read(row: Mapping[str, object]) -> Example:
    """The example of a row; of the reader's message, what does not depend on the row."""
    try:
        return example_from_row(row, "row")
    except ValueError as error:
        message = str(error).removeprefix("row: ").partition(";")[0]
        raise UnusableError(message.partition(", got ")[0]) from error


def _fault(text: str, answer: str, thinks: bool) -> str | None:
    """Why a target cannot be trained on; None where it can."""
    if thinks and not text.startswith(THINK_OPEN):
        return "trace ends before its answer" if text else "is empty"
    if not thinks and (THINK_OPEN in text or THINK_CLOSE in text):
        return "thinks, though its kind does not"
    return None if ends_in_answer(text, answer) else "does not end in its answer"
