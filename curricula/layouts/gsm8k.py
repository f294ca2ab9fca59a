"""GSM8K as published: a question, and a worked solution with marked equations that ends in "#### number"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from curricula.layouts.layout import Draft, Layout, text_of
from curricula.stream.intake import UnusableError

_MARK = re.compile(r"<<([^<>]*)>>")
_NUMBER = re.compile(r"-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class GSM8K(Layout):
    """Rows of `question` and `answer`: the number, the worked solution, and the marked equations alone.

    Targets: `answer` (the number, without thousands commas), `short` (the worked solution without the marks, ending in
    "#### number") and, where calculations are marked, `compressed:equations` (these alone, one per line, in a think
    block, then the number). All are right by the word of their source.
    """

    name: ClassVar[str] = "gsm8k"
    shown_columns: ClassVar[tuple[str, ...]] = ("question", "answer")

    def fits(self, row: Mapping[str, object]) -> bool:
        worked = row.get("answer")
        return "question" in row and isinstance(worked, str) and "####" in worked

    def draft(self, row: Mapping[str, object]) -> Draft:
        text_of(row, "question")
        question = str(row["question"])  # as published, outer space and all: prompts identify examples
        worked = text_of(row, "answer")
        solution, separator, number = worked.rpartition("####")
        number = number.strip()
        if not separator or _NUMBER.fullmatch(number) is None:
            raise UnusableError("does not end in '#### number'")
        answer = number.replace(",", "")
        draft = Draft(prompt=question, answer=answer)
        draft.give("declared")
        draft.say("short", f"{without_marks(solution)}\n#### {answer}".lstrip(), "declared")
        equations = [equation.strip() for equation in _MARK.findall(solution) if equation.strip()]
        if equations:
            draft.think("compressed:equations", "\n".join(equations), "declared")
        return draft


def without_marks(solution: str) -> str:
    """A worked solution without its equation marks.

    Example:
        >>> without_marks("3+4=<<3+4=7>>7 apples")
        '3+4=7 apples'
    """
    return _MARK.sub("", solution).strip() if "<<" in solution else solution.strip()
