"""Accuracy with its uncertainty, over everything and by task, answer kind, domain, difficulty and prompt length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from curricula.types import Bools, Ints
from evaluators.bands import length_bands


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share, in [0, 1]; (0, 1) where n is 0.

    `successes` may be the sum of n values in [0, 1]: none of them of that mean vary more than successes and failures
    do, so that the interval of their mean is wide enough, and often wider than needed.

    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22, 209-212. Unlike the
    normal approximation it keeps its coverage for shares near 0 and 1 and for small n.

    Raises:
        ValueError: not 0 <= successes <= n, or a confidence outside (0, 1).

    Example:
        >>> tuple(round(bound, 3) for bound in wilson(8, 10))
        (0.49, 0.943)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, n], got {successes} of {n}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # The bounds at 0 and n are exactly 0 and 1; rounding would miss them.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean of values in [0, 1], one a question.

    Example:
        Mean(value=0.8, ci95=(0.49, 0.94), n=10)
    """

    value: float
    ci95: tuple[float, float]  # Wilson's, which is never too narrow for such values
    n: int


def mean_of(values: Sequence[float]) -> Mean:
    """The mean over questions, with its interval.

    Raises:
        ValueError: there are none, or one lies outside [0, 1].
    """
    if len(values) == 0:
        raise ValueError("no values to take the mean of")
    for value in values:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a value of a question must lie in [0, 1], got {value}")
    total = min(math.fsum(values), float(len(values)))
    return Mean(value=total / len(values), ci95=wilson(total, len(values)), n=len(values))


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """Graded generations of N questions.

    Example:
        Outputs(correct_N=[True, False], output_tokens_N=[2, 31], truncated_N=[False, True], task_N=("add", "chain"),
                kind_N=("open", "open"), domain_N=("in_domain", "in_domain"))
    """

    correct_N: Bools
    output_tokens_N: Ints
    truncated_N: Bools  # stopped by the token limit, not by the model
    task_N: tuple[str, ...]
    kind_N: tuple[str, ...]
    domain_N: tuple[str, ...]
    graded_N: Bools | None = None  # all where None; what was not graded is in no accuracy
    parsed_N: Bools | None = None  # gives an answer; all where None
    prompt_chars_N: Ints | None = None  # no bands of prompt length where None
    difficulty_N: tuple[str, ...] | None = None  # bands; none where None

    def __post_init__(self) -> None:
        columns = (self.output_tokens_N, self.truncated_N, self.task_N, self.kind_N, self.domain_N)
        optional = (self.graded_N, self.parsed_N, self.prompt_chars_N, self.difficulty_N)
        lengths = [len(column) for column in (self.correct_N, *columns, *optional) if column is not None]
        if len(set(lengths)) > 1:
            raise ValueError(f"the columns of Outputs must be of one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.correct_N)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy over a group of questions, and what the answers took.

    Example:
        Score(accuracy=0.8, ci95=(0.49, 0.94), n=10, mean_output_tokens=12.5, truncated=0.0, ungraded=1,
              p90_output_tokens=20.0, unparsable=0.0, right_output_tokens=12.0, wrong_output_tokens=14.5)
    """

    accuracy: float  # of those graded; 0 where none was, with an interval from 0 to 1
    ci95: tuple[float, float]  # Wilson
    n: int  # questions graded
    mean_output_tokens: float  # of all generations, as are the next rows but the last two
    truncated: float  # share of the generations stopped by the token limit
    ungraded: int = 0  # questions beside n whose grading raised, hung or was stopped
    p90_output_tokens: float | None = None  # that 90% of the outputs do not exceed; None in an early summary
    unparsable: float | None = None  # share of the generations that give no answer; None in an early summary
    right_output_tokens: float | None = None  # mean of the right answers; None where there is none
    wrong_output_tokens: float | None = None  # mean of the wrong answers; None where there is none

    def to_json(self) -> dict[str, object]:
        """Plain data, as `from_json` reads it."""
        return {
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "n": self.n,
            "mean_output_tokens": self.mean_output_tokens,
            "truncated": self.truncated,
            "ungraded": self.ungraded,
            "p90_output_tokens": self.p90_output_tokens,
            "unparsable": self.unparsable,
            "right_output_tokens": self.right_output_tokens,
            "wrong_output_tokens": self.wrong_output_tokens,
        }

    @classmethod
    def from_json(cls, data: object, where: str = "score") -> Score:
        """Read what `to_json` wrote; `where` names the place in messages.

        Raises:
            ValueError: a field is missing or is not a number.
        """
        fields = _mapping(data, where)
        interval = fields.get("ci95")
        if not isinstance(interval, list | tuple) or len(interval) != 2:
            raise ValueError(f"{where}.ci95 must be a pair of numbers, got {interval!r}")
        low, high = (_number(bound, f"{where}.ci95") for bound in interval)
        optional = {
            name: None if fields.get(name) is None else _number(fields[name], f"{where}.{name}")
            for name in ("p90_output_tokens", "unparsable", "right_output_tokens", "wrong_output_tokens")
        }
        return cls(
            accuracy=_number(fields.get("accuracy"), f"{where}.accuracy"),
            ci95=(low, high),
            n=int(_number(fields.get("n"), f"{where}.n")),
            mean_output_tokens=_number(fields.get("mean_output_tokens"), f"{where}.mean_output_tokens"),
            truncated=_number(fields.get("truncated"), f"{where}.truncated"),
            ungraded=int(_number(fields.get("ungraded", 0), f"{where}.ungraded")),
            **optional,
        )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A split's score: overall, pooled over its questions, and by group; groups in alphabetical order.

    Two bands stand for difficulty, which a corpus does not say: thirds of the split's own questions by the length of
    their worked solution, and quarters by that of their prompt, in characters and from the shortest; fewer where many
    are of one length.
    """

    overall: Score
    by_task: Mapping[str, Score]
    by_kind: Mapping[str, Score]
    by_domain: Mapping[str, Score]
    by_prompt_chars: Mapping[str, Score] = field(default_factory=dict)  # empty in an early summary
    by_difficulty: Mapping[str, Score] = field(default_factory=dict)  # and where no question has working

    def to_json(self) -> dict[str, object]:
        """The overall fields, and `by_task`, `by_kind` and so on as mappings of the same fields."""
        groups = {
            "by_task": self.by_task,
            "by_kind": self.by_kind,
            "by_domain": self.by_domain,
            "by_prompt_chars": self.by_prompt_chars,
            "by_difficulty": self.by_difficulty,
        }
        return self.overall.to_json() | {
            name: {key: score.to_json() for key, score in group.items()} for name, group in groups.items()
        }

    @classmethod
    def from_json(cls, data: object, where: str = "scores") -> Scores:
        """Read what `to_json` wrote; `where` names the place in messages.

        Raises:
            ValueError: a field is missing or is not a number.
        """
        fields = _mapping(data, where)
        groups = {
            name: {
                str(key): Score.from_json(score, f"{where}.{name}.{key}")
                for key, score in _mapping(group, f"{where}.{name}").items()
            }
            for name, group in (
                *((name, fields.get(name)) for name in ("by_task", "by_kind", "by_domain")),
                *((name, fields.get(name, {})) for name in ("by_prompt_chars", "by_difficulty")),
            )
        }
        return cls(overall=Score.from_json(fields, where), **groups)


def score(outputs: Outputs) -> Scores:
    """Score graded generations.

    Raises:
        ValueError: there are none.
    """
    if len(outputs) == 0:
        raise ValueError("no outputs to score: the split is empty")
    return Scores(
        overall=_score(outputs, np.arange(len(outputs))),
        by_task=_by(outputs, outputs.task_N),
        by_kind=_by(outputs, outputs.kind_N),
        by_domain=_by(outputs, outputs.domain_N),
        by_prompt_chars={} if outputs.prompt_chars_N is None else _by(outputs, length_bands(outputs.prompt_chars_N)),
        by_difficulty={} if outputs.difficulty_N is None else _by(outputs, outputs.difficulty_N),
    )


def _by(outputs: Outputs, group_N: Sequence[str]) -> dict[str, Score]:
    names = np.array(group_N)
    return {str(name): _score(outputs, np.flatnonzero(names == name)) for name in np.unique(names)}


def _score(outputs: Outputs, rows: NDArray[np.intp]) -> Score:
    graded = np.ones(len(rows), dtype=bool) if outputs.graded_N is None else outputs.graded_N[rows]
    right = outputs.correct_N[rows] & graded
    tokens = outputs.output_tokens_N[rows]
    n, successes = int(graded.sum()), int(right.sum())
    return Score(
        accuracy=successes / n if n else 0.0,
        ci95=wilson(successes, n),
        n=n,
        mean_output_tokens=float(np.mean(tokens)),
        truncated=float(np.mean(outputs.truncated_N[rows])),
        ungraded=len(rows) - n,
        p90_output_tokens=float(np.quantile(tokens, 0.9, method="inverted_cdf")),
        unparsable=0.0 if outputs.parsed_N is None else float(np.mean(~outputs.parsed_N[rows])),
        right_output_tokens=_mean_or_none(tokens[right]),
        wrong_output_tokens=_mean_or_none(tokens[graded & ~right]),
    )


def _mean_or_none(tokens: Ints) -> float | None:
    return float(np.mean(tokens)) if len(tokens) else None


def _mapping(data: object, where: str) -> Mapping[object, object]:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be a mapping, got {data!r}")
    return data


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} must be a number, got {value!r}")
    return float(value)
