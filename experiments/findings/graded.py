"""Graded answers of a setting's runs, and the part of them that two settings can be compared on.

K  runs, alike but for their seed       Q  questions, by id
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluators.paired import GradedRuns, difference
from evaluators.resampling import Estimate
from experiments.findings.findings import FinishedRun

SEED = 0
"""Of every bootstrap of a report: the same folders, the same figures."""
RESAMPLES = 2000


def graded_runs(runs: Sequence[FinishedRun]) -> GradedRuns:
    """The answers to the questions that were graded under every seed.

    Raises:
        ValueError: there are none.
    """
    graded_KQ = np.array([[answer.graded for answer in run.answers_Q] for run in runs])
    keep_Q = np.flatnonzero(graded_KQ.all(axis=0))
    if not len(keep_Q):
        raise ValueError("no question was graded under every seed")
    return GradedRuns(
        questions_Q=tuple(runs[0].answers_Q[place].id for place in keep_Q),
        seeds_K=tuple(run.seed for run in runs),
        correct_KQ=np.array([[run.answers_Q[place].correct for place in keep_Q] for run in runs], dtype=bool),
        output_tokens_KQ=np.array(
            [[run.answers_Q[place].output_tokens for place in keep_Q] for run in runs], dtype=np.int32
        ),
    )


def restricted(
    graded: GradedRuns, *, seeds: Sequence[int] | None = None, questions: set[str] | None = None
) -> GradedRuns:
    """The part of graded runs that has these seeds, in this order, and these questions; all where None.

    Raises:
        ValueError: nothing is left.
    """
    row_K = [graded.seeds_K.index(seed) for seed in (graded.seeds_K if seeds is None else seeds)]
    place_Q = [place for place, name in enumerate(graded.questions_Q) if questions is None or name in questions]
    return GradedRuns(
        questions_Q=tuple(graded.questions_Q[place] for place in place_Q),
        seeds_K=tuple(graded.seeds_K[row] for row in row_K),
        correct_KQ=graded.correct_KQ[np.ix_(row_K, place_Q)],
        output_tokens_KQ=graded.output_tokens_KQ[np.ix_(row_K, place_Q)],
    )


def common(one: GradedRuns, other: GradedRuns) -> tuple[GradedRuns, GradedRuns] | None:
    """Both under the seeds and on the questions that they have in common; None where there are none."""
    seeds = [seed for seed in one.seeds_K if seed in other.seeds_K]
    questions = set(one.questions_Q) & set(other.questions_Q)
    if not (seeds and questions):
        return None
    first, second = (restricted(each, seeds=seeds, questions=questions) for each in (one, other))
    return first, second


def behind_the_best(by_policy: Mapping[str, Sequence[FinishedRun]]) -> dict[str, Estimate | None]:
    """Accuracy of each policy less that of the most accurate one, None of that itself; those with two common seeds.

    Args:
        by_policy: runs of one student and budget on the same questions, each seed once.
    """
    graded = {
        policy: graded_runs(sorted(runs, key=lambda run: run.seed))
        for policy, runs in by_policy.items()
        if any(all(answers) for answers in zip(*([a.graded for a in run.answers_Q] for run in runs), strict=True))
    }
    if not graded:
        return {}
    best = max(graded, key=lambda policy: float(graded[policy].correct_KQ.mean()))
    found: dict[str, Estimate | None] = {}
    for policy, runs in graded.items():
        pair = common(runs, graded[best])
        if pair is not None and len(pair[0].seeds_K) > 1:
            found[policy] = None if policy == best else difference(*pair, seed=SEED, resamples=RESAMPLES)
    return found
