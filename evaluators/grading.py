"""Whether a student's outputs are right: by the rules that corpora are verified by, or by a user's own grader.

output --cheap rules--> decided?  --no--> as mathematics, in a guarded process --> right, wrong or ungraded
output --a user's grader, in a guarded process--> right, wrong or ungraded
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curricula.corpus import Corpus
from curricula.types import RIGHT_VERDICTS, AnswerKind, Bools
from evaluators.answers import choice_index, find_answer
from evaluators.mathematics.checker import Mathematics
from evaluators.user_grader import GRADER_SECONDS, UserGrader
from evaluators.verdicts import judge

MATHEMATICS_SECONDS = 5.0
"""Of processor time, of one comparison: as where corpora are verified."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grades:
    """What became of Q outputs.

    Example: right; a grader that raised.
        Grades(correct_Q=[True, False], parsed_Q=[True, True], ungraded_Q=("", "ValueError: no number in it"))
    """

    correct_Q: Bools  # False where ungraded
    parsed_Q: Bools  # gives an answer; of a choice, one of the choices
    ungraded_Q: tuple[str, ...]  # why it could not be graded; "" where it was


class Grader:
    """Grades outputs. Made once in each process; a process beside it is started when the first output needs one."""

    def __init__(
        self,
        *,
        function: str | None = None,
        mathematics: bool = True,
        deadline_seconds: float | None = None,
    ) -> None:
        """Set up.

        Args:
            function: import path of a user's grader, which then alone decides.
            mathematics: compare as mathematics what the cheap rules cannot decide.
            deadline_seconds: of one output; MATHEMATICS_SECONDS, or GRADER_SECONDS of a user's grader, where None.
        """
        self._user = UserGrader(function, deadline_seconds=deadline_seconds or GRADER_SECONDS) if function else None
        compares = mathematics and self._user is None
        seconds = deadline_seconds or MATHEMATICS_SECONDS
        self._mathematics = Mathematics(deadline_seconds=seconds) if compares else None

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, corpus: Corpus, example_Q: Sequence[int], text_Q: Sequence[str]) -> Grades:
        """Grade each output against its corpus example.

        Raises:
            ValueError: the answer of a choice question is none of its choices.
            OSError: a process for mathematics or for the grader cannot be started; the message says why.
        """
        columns = corpus.examples.select(["prompt", "answer", "kind", "choices"]).take(list(example_Q)).to_pydict()
        rows = zip(text_Q, columns["prompt"], columns["answer"], columns["kind"], columns["choices"], strict=True)
        grades = [
            self._by_rules(text, answer, kind, tuple(choices))
            if self._user is None
            else (*self._by_user(self._user, prompt, answer, text), _parses(text, kind, tuple(choices)))
            for text, prompt, answer, kind, choices in rows
        ]
        return Grades(
            correct_Q=np.array([correct for correct, _, _ in grades], dtype=bool),
            parsed_Q=np.array([parsed for _, _, parsed in grades], dtype=bool),
            ungraded_Q=tuple(why for _, why, _ in grades),
        )

    def close(self) -> None:
        """End the process beside this one, if there is one."""
        for beside in (self._user, self._mathematics):
            if beside is not None:
                beside.close()

    def _by_rules(self, text: str, answer: str, kind: AnswerKind, choices: tuple[str, ...]) -> tuple[bool, str, bool]:
        judged = judge(text, answer, kind, choices, mathematics=self._mathematics)
        right = judged in RIGHT_VERDICTS
        parsed = judged != "no_answer" and (right or kind == "open" or _parses(text, kind, choices))
        why = "the comparison as mathematics was stopped" if judged == "stopped" else ""
        return right, why, parsed

    def _by_user(self, user: UserGrader, prompt: str, answer: str, text: str) -> tuple[bool, str]:
        if find_answer(text, "open") is None:
            return False, ""  # blank, or a think block that was never closed: no answer, whatever it holds
        reply = user(prompt, answer, text)
        return reply.value == "right", reply.fault


def _parses(text: str, kind: AnswerKind, choices: tuple[str, ...]) -> bool:
    given = find_answer(text, kind)
    return given is not None and (kind == "open" or choice_index(given.text, choices) is not None)
