"""summary.json as typed data, and how its amounts are written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curricula.types import BUDGET_PURPOSES, StageResult
from evaluators.accuracy import Scores
from evaluators.calibration import Calibration


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is shown of a run, finished or not. Of an unfinished one there are no scores."""

    title: str  # policy, student, corpus and seed in one line
    total_flops: float
    spent_flops: float
    charges: Mapping[str, float]  # FLOPs by purpose; those of the corpus (teach, compress) stand beside the budget
    recorded: Mapping[str, float]  # FLOPs by purpose that nobody pays
    mix_by_examples: Mapping[str, float]  # supervision -> share, in [0, 1]
    mix_by_flops: Mapping[str, float]
    dev: Scores | None
    test: Scores | None
    difficulty: Calibration | None
    lost_attempts: int
    lost_flops_at_most: float
    wall_seconds: float | None

    @property
    def final(self) -> tuple[str, Scores] | None:
        """The split that counts, test where it was opened, and its scores."""
        if self.test is not None:
            return "test", self.test
        return ("dev", self.dev) if self.dev is not None else None


def read_summary(data: Mapping[str, object]) -> Summary:
    """Read what a finished run wrote to summary.json.

    Raises:
        ValueError: a field is missing or of another type; the message names it.
    """
    difficulty = data.get("difficulty")
    lost = _mapping(data.get("lost") or {}, "lost")
    seconds = data.get("wall_seconds")
    return Summary(
        title=_title(data),
        total_flops=_number(data.get("total_flops"), "total_flops"),
        spent_flops=_number(data.get("spent_flops"), "spent_flops"),
        charges=_numbers(data.get("charges"), "charges"),
        recorded=_numbers(data.get("recorded") or {}, "recorded"),
        mix_by_examples=_numbers(data.get("mix_by_examples") or {}, "mix_by_examples"),
        mix_by_flops=_numbers(data.get("mix_by_flops") or {}, "mix_by_flops"),
        dev=None if data.get("dev") is None else Scores.from_json(data["dev"], "summary.dev"),
        test=None if data.get("test") is None else Scores.from_json(data["test"], "summary.test"),
        difficulty=None if difficulty is None else _calibration(_mapping(difficulty, "difficulty")),
        lost_attempts=int(_number(lost.get("attempts", 0), "lost.attempts")),
        lost_flops_at_most=_number(lost.get("flops_at_most", 0), "lost.flops_at_most"),
        wall_seconds=None if seconds is None else _number(seconds, "wall_seconds"),
    )


def summary_so_far(config: Mapping[str, object], results: Sequence[StageResult]) -> Summary:
    """What can be said of a run that has not finished, from its config and its recorded stages.

    Raises:
        ValueError: the config has no `total_flops`.
    """
    purposes = [charge.purpose for result in results for charge in result.charges]
    charges = {
        purpose: float(sum(c.flops for result in results for c in result.charges if c.purpose == purpose))
        for purpose in dict.fromkeys((*BUDGET_PURPOSES, *purposes))
    }
    mix = [part for result in results for part in result.mix]
    return Summary(
        title=_title(config),
        total_flops=_number(config.get("total_flops"), "total_flops"),
        spent_flops=float(sum(result.spent_flops for result in results)),
        charges={purpose: flops for purpose, flops in charges.items() if purpose in BUDGET_PURPOSES},
        recorded={purpose: flops for purpose, flops in charges.items() if purpose not in BUDGET_PURPOSES},
        mix_by_examples=_shares([(name, examples) for name, examples, _ in mix]),
        mix_by_flops=_shares([(name, flops) for name, _, flops in mix]),
        dev=None,
        test=None,
        difficulty=None,
        lost_attempts=0,
        lost_flops_at_most=0.0,
        wall_seconds=None,
    )


def flops_text(flops: float) -> str:
    """FLOPs for people.

    Example:
        >>> flops_text(3_980_000_000_000)
        '3.98e12'
    """
    if not flops:
        return "0"
    mantissa, _, exponent = f"{flops:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def share_text(share: float) -> str:
    """A share in percent: whole above 10%, never rounded to 0% or 100% where it is neither.

    Example:
        >>> share_text(0.123), share_text(0.0123), share_text(0.9999)
        ('12%', '1.2%', '>99%')
    """
    if 0.0 < share < 0.0005:
        return "<0.1%"
    if 0.995 <= share < 1.0:
        return ">99%"
    return f"{100 * share:.0f}%" if share >= 0.0995 or share == 0.0 else f"{100 * share:.1f}%"


def accuracy_text(accuracy: float, ci95: tuple[float, float]) -> str:
    """An accuracy with its interval in percent.

    Example:
        >>> accuracy_text(0.8, (0.49, 0.943))
        '80.0% [49.0, 94.3]'
    """
    return f"{100 * accuracy:.1f}% [{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]"


def seconds_text(seconds: float) -> str:
    """A duration for people, in its two largest units.

    Example:
        >>> seconds_text(7.2), seconds_text(754), seconds_text(7300)
        ('7 s', '12 min 34 s', '2 h 1 min')
    """
    whole = math.ceil(seconds - 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _title(data: Mapping[str, object]) -> str:
    policy = data.get("policy")
    path = str(policy.get("class_path", "")) if isinstance(policy, Mapping) else str(policy or "")
    parts = [path.rpartition(".")[2]]
    parts += [f"{name} {data[name]}" for name in ("student", "corpus", "seed") if name in data]
    return ", ".join(part for part in parts if part) or "run"


def _calibration(data: Mapping[str, object]) -> Calibration:
    auc = data.get("auc")
    return Calibration(
        auc=None if auc is None else _number(auc, "difficulty.auc"),
        base_rate=_number(data.get("base_rate"), "difficulty.base_rate"),
        n=int(_number(data.get("n"), "difficulty.n")),
    )


def _shares(amounts: Sequence[tuple[str, int]]) -> dict[str, float]:
    total = sum(amount for _, amount in amounts)
    names = dict.fromkeys(name for name, _ in amounts)
    return {name: sum(a for other, a in amounts if other == name) / total for name in names} if total else {}


def _mapping(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"summary.{where} must be a mapping, got {value!r}")
    return {str(key): item for key, item in value.items()}


def _numbers(value: object, where: str) -> dict[str, float]:
    return {key: _number(item, f"{where}.{key}") for key, item in _mapping(value, where).items()}


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"summary.{where} must be a number, got {value!r}")
    return float(value)
