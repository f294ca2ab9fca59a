"""From graded answers to outcomes: the columns of a score, and a probe's parts put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curricula.corpus import Corpus
from curricula.types import AnswerKind, ProbeMode, ProbeOutcomes
from evaluators.accuracy import Outputs
from evaluators.bands import difficulty_bands


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Graded answers. Q questions, as corpus rows."""

    example_Q: NDArray[np.int64]
    text_Q: tuple[str, ...]
    correct_Q: NDArray[np.bool_]  # False where ungraded
    parsed_Q: NDArray[np.bool_]
    ungraded_Q: tuple[str, ...]  # why it could not be graded; "" where it was
    output_tokens_Q: NDArray[np.int32]
    truncated_Q: NDArray[np.bool_]


def outputs(corpus: Corpus, answers: Answers) -> Outputs:
    """Graded answers with the columns that accuracies are told apart by."""
    columns = corpus.examples.select(["task", "kind", "domain", "prompt"]).take(answers.example_Q).to_pydict()
    kinds: list[AnswerKind] = columns["kind"]
    return Outputs(
        correct_N=answers.correct_Q,
        graded_N=np.array([not why for why in answers.ungraded_Q], dtype=bool),
        parsed_N=answers.parsed_Q,
        output_tokens_N=answers.output_tokens_Q,
        truncated_N=answers.truncated_Q,
        task_N=tuple(columns["task"]),
        kind_N=tuple(kinds),
        domain_N=tuple(columns["domain"]),
        prompt_chars_N=np.array([len(prompt) for prompt in columns["prompt"]], dtype=np.int32),
        difficulty_N=difficulty_bands(corpus, answers.example_Q),
    )


def assemble(
    *,
    generated: Sequence[tuple[ProbeMode, NDArray[np.int32], Answers]],
    forced: Sequence[tuple[str, NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]],
) -> ProbeOutcomes:
    """One table of outcomes. An answer that could not be graded counts as not solved.

    Args:
        generated: (mode, rows of the probe table, their graded answers).
        forced: (supervision, rows of the probe table, mean nats per target token, every token the likeliest).
    """
    # The empty arrays stand for a probe that asked only for targets which none of its examples offers.
    examples = [np.zeros(0, dtype=np.int32)]
    examples += [example_P for _, example_P, _ in generated] + [example_P for _, example_P, _, _ in forced]
    conditions = [name for name, example_P, _ in generated for _ in example_P]
    conditions += [name for name, example_P, _, _ in forced for _ in example_P]
    generated_count = sum(len(example_P) for _, example_P, _ in generated)
    loss_P = np.full(len(conditions), np.nan)
    tokens_P = np.full(len(conditions), -1, dtype=np.int32)
    if generated:
        tokens_P[:generated_count] = np.concatenate([answers.output_tokens_Q for _, _, answers in generated])
    if forced:
        loss_P[generated_count:] = np.concatenate([loss for _, _, loss, _ in forced])
    solved = [np.zeros(0, dtype=bool)]
    solved += [answers.correct_Q for _, _, answers in generated] + [exact for _, _, _, exact in forced]
    return ProbeOutcomes(
        example_P=np.concatenate(examples).astype(np.int32),
        condition_P=tuple(conditions),
        solved_P=np.concatenate(solved).astype(bool),
        output_tokens_P=tokens_P,
        loss_P=loss_P,
    )
