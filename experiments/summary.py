"""summary.json as typed data, and how its amounts are written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.budgets import reopen_ledger
from controller.config import Json
from controller.ledger import UNITS, Budget, Spend, Unit
from curricula.types import BUDGET_PURPOSES, StageResult
from evaluators.accuracy import Scores
from evaluators.calibration import Calibration
from experiments.fields import mapping, number, numbers
from experiments.measures import Measures, read_calibration, read_measures


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is shown of a run, finished or not. Of an unfinished one there are no scores."""

    title: str  # policy, student, corpus and seed in one line
    unit: Unit  # of the budget
    total: float  # in that unit
    spent: float
    spent_by_purpose: Mapping[str, Spend]  # what is only recorded too
    total_flops: float  # what the budget comes to
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
    measures: Measures = field(default_factory=Measures)

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
    lost = mapping(data.get("lost") or {}, "lost")
    seconds = data.get("wall_seconds")
    budget = mapping(data.get("budget"), "budget")
    return Summary(
        title=_title(data),
        unit=_unit(budget.get("unit")),
        total=number(budget.get("total"), "budget.total"),
        spent=number(budget.get("spent"), "budget.spent"),
        spent_by_purpose={
            purpose: _spend(spend, f"spent.{purpose}") for purpose, spend in mapping(data.get("spent"), "spent").items()
        },
        total_flops=number(data.get("total_flops"), "total_flops"),
        spent_flops=number(data.get("spent_flops"), "spent_flops"),
        charges=numbers(data.get("charges"), "charges"),
        recorded=numbers(data.get("recorded") or {}, "recorded"),
        mix_by_examples=numbers(data.get("mix_by_examples") or {}, "mix_by_examples"),
        mix_by_flops=numbers(data.get("mix_by_flops") or {}, "mix_by_flops"),
        dev=None if data.get("dev") is None else Scores.from_json(data["dev"], "summary.dev"),
        test=None if data.get("test") is None else Scores.from_json(data["test"], "summary.test"),
        difficulty=read_calibration(data.get("difficulty")),
        measures=read_measures(data),
        lost_attempts=int(number(lost.get("attempts", 0), "lost.attempts")),
        lost_flops_at_most=number(lost.get("flops_at_most", 0), "lost.flops_at_most"),
        wall_seconds=None if seconds is None else number(seconds, "wall_seconds"),
    )


def summary_so_far(
    config: Mapping[str, object], results: Sequence[StageResult], timings: Sequence[Mapping[str, Json]]
) -> Summary:
    """What can be said of a run that has not finished, from its config, its recorded stages and its clocks.

    Raises:
        ValueError: the config has no budget, or one by the clock and a stage's seconds are not there.
    """
    given: list[Unit] = [unit for unit in UNITS if config.get(f"total_{unit}") is not None]
    unit: Unit = given[0] if given else UNITS[0]
    prices = [number(line["dollars_per_second"], "timings") for line in timings if "dollars_per_second" in line]
    budget = Budget(
        unit=unit,
        total=number(config.get(f"total_{unit}"), f"total_{unit}"),
        dollars_per_second=prices[-1] if prices else 0.0,
    )
    ledger = reopen_ledger(budget, results, timings)
    charges = {purpose: float(ledger.spent.get(purpose, Spend()).flops) for purpose in BUDGET_PURPOSES}
    others = {purpose: float(spend.flops) for purpose, spend in ledger.spent.items() if purpose not in charges}
    mix = [part for result in results for part in result.mix]
    return Summary(
        title=_title(config),
        unit=unit,
        total=budget.total,
        spent=ledger.total_spent.of(unit),
        spent_by_purpose={str(purpose): spend for purpose, spend in ledger.spent.items()},
        total_flops=float(ledger.total_flops),
        spent_flops=float(ledger.total_spent.flops),
        charges={str(purpose): flops for purpose, flops in charges.items()},
        recorded={str(purpose): flops for purpose, flops in others.items()},
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


def amount_text(amount: float, unit: Unit) -> str:
    """An amount of a budget's unit for people.

    Example:
        >>> amount_text(4e12, "flops"), amount_text(2.5e6, "tokens"), amount_text(1.5, "dollars")
        ('4e12 FLOPs', '2,500,000 tokens', '$1.5')
    """
    match unit:
        case "flops":
            return f"{flops_text(amount)} FLOPs"
        case "tokens":
            return f"{amount:,.0f} tokens"
        case "seconds":
            return f"{amount:.3g} s" if amount < 60 else seconds_text(amount)
        case "dollars":
            return f"${amount:.3g}"


def part_text(spent: float, total: float, unit: Unit) -> str:
    """What was spent of a budget.

    Example:
        >>> part_text(5e11, 4e12, "flops"), part_text(30, 60, "seconds")
        ('5e11 of 4e12 FLOPs', '30 s of 1 min 0 s')
    """
    return f"{amount_text(spent, unit).removesuffix(' FLOPs').removesuffix(' tokens')} of {amount_text(total, unit)}"


def spend_text(spend: Spend) -> str:
    """What was spent, in every unit."""
    return ", ".join(amount_text(spend.of(unit), unit) for unit in UNITS)


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


def tokens_text(mean_tokens: float | None) -> str:
    """A mean number of tokens; nothing where there is none."""
    return "" if mean_tokens is None else f"{mean_tokens:.1f}"


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


def _unit(value: object) -> Unit:
    for unit in UNITS:
        if value == unit:
            return unit
    raise ValueError(f"summary.budget.unit must be one of {', '.join(UNITS)}, got {value!r}")


def _spend(value: object, where: str) -> Spend:
    amounts = numbers(value, where)
    return Spend(
        flops=int(amounts["flops"]),
        tokens=int(amounts["tokens"]),
        seconds=amounts["seconds"],
        dollars=amounts["dollars"],
    )


def _shares(amounts: Sequence[tuple[str, int]]) -> dict[str, float]:
    total = sum(amount for _, amount in amounts)
    names = dict.fromkeys(name for name, _ in amounts)
    return {name: sum(a for other, a in amounts if other == name) / total for name in names} if total else {}
