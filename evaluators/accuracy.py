"""Accuracy with its uncertainty, over everything and by task, answer kind and domain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from curricula.types import Bools, Ints


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share, in [0, 1]; (0, 1) where n is 0.

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

    def __post_init__(self) -> None:
        columns = (self.output_tokens_N, self.truncated_N, self.task_N, self.kind_N, self.domain_N)
        lengths = [len(self.correct_N), *(len(column) for column in columns)]
        if len(set(lengths)) > 1:
            raise ValueError(f"the columns of Outputs must be of one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.correct_N)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy over a group of questions, and what the answers took.

    Example:
        Score(accuracy=0.8, ci95=(0.49, 0.94), n=10, mean_output_tokens=12.5, truncated=0.0)
    """

    accuracy: float
    ci95: tuple[float, float]  # Wilson
    n: int
    mean_output_tokens: float
    truncated: float  # share of the generations stopped by the token limit

    def to_json(self) -> dict[str, object]:
        """Plain data, as `from_json` reads it."""
        return {
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "n": self.n,
            "mean_output_tokens": self.mean_output_tokens,
            "truncated": self.truncated,
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
        return cls(
            accuracy=_number(fields.get("accuracy"), f"{where}.accuracy"),
            ci95=(low, high),
            n=int(_number(fields.get("n"), f"{where}.n")),
            mean_output_tokens=_number(fields.get("mean_output_tokens"), f"{where}.mean_output_tokens"),
            truncated=_number(fields.get("truncated"), f"{where}.truncated"),
        )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A split's score: overall, pooled over its questions, and by group; groups in alphabetical order."""

    overall: Score
    by_task: Mapping[str, Score]
    by_kind: Mapping[str, Score]
    by_domain: Mapping[str, Score]

    def to_json(self) -> dict[str, object]:
        """The overall fields, and `by_task`, `by_kind` and `by_domain` as mappings of the same fields."""
        groups = {"by_task": self.by_task, "by_kind": self.by_kind, "by_domain": self.by_domain}
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
        by_task, by_kind, by_domain = (
            {
                str(key): Score.from_json(score, f"{where}.{name}.{key}")
                for key, score in _mapping(fields.get(name), f"{where}.{name}").items()
            }
            for name in ("by_task", "by_kind", "by_domain")
        )
        return cls(overall=Score.from_json(fields, where), by_task=by_task, by_kind=by_kind, by_domain=by_domain)


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
    )


def _by(outputs: Outputs, group_N: Sequence[str]) -> dict[str, Score]:
    names = np.array(group_N)
    return {str(name): _score(outputs, np.flatnonzero(names == name)) for name in np.unique(names)}


def _score(outputs: Outputs, rows: np.ndarray) -> Score:
    successes = int(np.count_nonzero(outputs.correct_N[rows]))
    return Score(
        accuracy=successes / len(rows),
        ci95=wilson(successes, len(rows)),
        n=len(rows),
        mean_output_tokens=float(np.mean(outputs.output_tokens_N[rows])),
        truncated=float(np.mean(outputs.truncated_N[rows])),
    )


def _mapping(data: object, where: str) -> Mapping[object, object]:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be a mapping, got {data!r}")
    return data


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} must be a number, got {value!r}")
    return float(value)
