"""What it costs to own a student: to make it, to serve it, and to be wrong; by correct answer, and against another.

docs/ownership.md has the formulas and an example. All arrays are over draws (D), the measurement first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curricula.types import Cost, Floats
from evaluators.answering import Answering, Figure, figure, interval95
from evaluators.serving import Hardware, Once, Rates, Retries, TokenPrices, Usage, check_amount, serve

NOTHING = Cost()


@dataclass(frozen=True, kw_only=True)
class Making:
    """What making a student took, once. FLOPs are priced at the terms' hardware and added to dollars paid; a Cost's
    tokens are not priced again.

    Example: a corpus that three students share.
        Making(teacher=Cost(dollars=40.0), rejected=Cost(dollars=10.0), training=Cost(flops=10**18), corpus_students=3)
    """

    teacher: Cost = NOTHING  # of the samples that were kept
    rejected: Cost = NOTHING  # of those that were thrown away
    compression: Cost = NOTHING
    selection: Cost = NOTHING  # the controller's probes and features
    training: Cost = NOTHING
    corpus_students: int = 1  # students that share teacher, rejected and compression equally

    def __post_init__(self) -> None:
        if self.corpus_students < 1:
            raise ValueError(f"a corpus serves at least one student, got corpus_students={self.corpus_students}")

    def dollars(self, hardware: Hardware) -> dict[str, float]:
        """Dollars by what they were for, of this student's share."""
        share = 1 / self.corpus_students
        parts = {
            "teacher": (self.teacher, share),
            "rejected": (self.rejected, share),
            "compression": (self.compression, share),
            "selection": (self.selection, 1.0),
            "training": (self.training, 1.0),
        }
        return {
            name: part * (cost.flops * hardware.dollars_per_flop + cost.dollars) for name, (cost, part) in parts.items()
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Student:
    """A trained student: what it took, and how it answers."""

    name: str
    making: Making
    answering: Answering


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Prices, and how answers are used.

    Example: trained on rented GPUs, served behind an API's prices; a wrong answer costs a cent.
        Terms(making=Hardware(...), serving=TokenPrices(...), usage=Retries(max_attempts=3), error_dollars=0.01)
    """

    making: Hardware
    serving: Rates
    usage: Usage = dataclasses.field(default_factory=Once)
    error_dollars: float = 0.0  # of a query whose last answer is wrong

    def __post_init__(self) -> None:
        check_amount("error_dollars", self.error_dollars)


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """What a student costs over so many queries."""

    name: str
    queries: float
    making_dollars: Mapping[str, float]  # teacher, rejected, compression, selection, training
    serving_dollars: Figure
    error_dollars: Figure
    total_dollars: Figure
    right: Figure  # share of queries answered right in the end
    passes: Figure  # answers written for one query
    dollars_per_correct: Figure  # value None where no answer is right


def ownership(student: Student, terms: Terms, queries: float) -> Ownership:
    """The whole bill of a student over `queries` queries.

    Raises:
        ValueError: a negative number of queries.
    """
    _check_queries(queries)
    query = serve(student.answering, terms.usage, terms.serving)
    making = student.making.dollars(terms.making)
    error_D = (1 - query.right_D) * terms.error_dollars
    total_D = sum(making.values()) + queries * (query.dollars_D + error_D)
    return Ownership(
        name=student.name,
        queries=queries,
        making_dollars=making,
        serving_dollars=figure(queries * query.dollars_D),
        error_dollars=figure(queries * error_D),
        total_dollars=figure(total_D),
        right=figure(query.right_D),
        passes=figure(query.passes_D),
        dollars_per_correct=figure(_ratio(total_D, queries * query.right_D)),
    )


Crossing = Literal["from the start", "never", "from", "until"]
CROSSINGS: tuple[Crossing, ...] = ("from the start", "never", "from", "until")


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """From which volume on a challenger is cheaper than an incumbent; or, where `crossing` says so, until which.

    Example: cheaper from 12,000 queries on; in one draw of fifty, never.
        BreakEven(crossing="from", queries=12_000.0, ci95=(7_500.0, 61_000.0), shares={"from": 0.98, "never": 0.02})
    """

    crossing: Crossing
    queries: float  # 0 where it is cheaper from the start, infinite where it never is
    ci95: tuple[float, float] | None
    shares: Mapping[Crossing, float]  # share of the draws with each crossing; empty where nothing was drawn


def break_even(
    challenger: Student, incumbent: Student, terms: Terms, *, per: Literal["correct", "query"] = "correct"
) -> BreakEven:
    """Solve F_c + Q s_c < F_i + Q s_i for the volume Q > 0, draw by draw.

    F is what making took, s what a query takes to serve with its share of errors' price; both are divided by the share
    answered right where the cost of a correct answer is compared. Equal costs are not cheaper. A student that answers
    nothing right is never cheaper for a correct answer, and dearer from the start than one that does.

    The interval is of the volume from which on the challenger stays cheaper: 0 in draws where it is so from the start,
    infinite where it never is, or only until some volume. (Where the measurement says "until": of the volume until
    which it is cheaper, infinite where it is so from the start, 0 where never, or only later.)

    Raises:
        ValueError: the students have different numbers of draws.
    """
    fixed_c, slope_c = _line(challenger, terms, per)
    fixed_i, slope_i = _line(incumbent, terms, per)
    if len(fixed_c) != len(fixed_i):
        raise ValueError(
            f"{challenger.name} has {len(fixed_c)} draws and {incumbent.name} {len(fixed_i)}: draw as many of both"
        )
    saved_D, saved_per_query_D = _difference(fixed_i, fixed_c), _difference(slope_i, slope_c)
    start_D = (saved_D >= 0) & (saved_per_query_D >= 0) & ((saved_D > 0) | (saved_per_query_D > 0))
    from_D = (saved_D < 0) & (saved_per_query_D > 0)
    until_D = (saved_D > 0) & (saved_per_query_D < 0)
    crossing_D = np.select([start_D, from_D, until_D], [0, 2, 3], default=1)
    apart_D = from_D | until_D
    volume_D = _ratio(np.where(apart_D, -saved_D, 0.0), np.where(apart_D, saved_per_query_D, 1.0))
    crossing = CROSSINGS[crossing_D[0]]
    if crossing == "until":
        volume_D = np.select([until_D, start_D], [volume_D, math.inf], default=0.0)
    else:
        volume_D = np.select([from_D, start_D], [volume_D, 0.0], default=math.inf)
    drawn = crossing_D[1:]
    return BreakEven(
        crossing=crossing,
        queries=float(volume_D[0]),
        ci95=interval95(volume_D),
        shares={name: float(np.mean(drawn == code)) for code, name in enumerate(CROSSINGS) if (drawn == code).any()},
    )


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The cost of a correct answer, in dollars, if one input were half or twice what it is."""

    changed: str
    half: Figure
    same: Figure
    double: Figure


def sensitivity(student: Student, terms: Terms, queries: float) -> tuple[Sensitivity, ...]:
    """The table: volume, the prices of making, of serving and of an error, and the attempts allowed (never under one,
    rounded up), each by itself at half and at twice its value."""
    at = {
        factor: {name: ownership(student, *case).dollars_per_correct for name, case in _scaled(terms, queries, factor)}
        for factor in (0.5, 1.0, 2.0)
    }
    return tuple(
        Sensitivity(changed=name, half=at[0.5][name], same=at[1.0][name], double=at[2.0][name]) for name in at[1.0]
    )


def _scaled(terms: Terms, queries: float, factor: float) -> list[tuple[str, tuple[Terms, float]]]:
    """The inputs, and the case where each of them is `factor` times itself."""
    cases = [
        ("queries", (terms, factor * queries)),
        ("price of training", (dataclasses.replace(terms, making=_dearer(terms.making, factor)), queries)),
        ("price of serving", (dataclasses.replace(terms, serving=_dearer(terms.serving, factor)), queries)),
        ("price of an error", (dataclasses.replace(terms, error_dollars=factor * terms.error_dollars), queries)),
    ]
    if isinstance(terms.usage, Retries):
        usage = dataclasses.replace(terms.usage, max_attempts=math.ceil(factor * terms.usage.max_attempts))
        cases.append(("attempts allowed", (dataclasses.replace(terms, usage=usage), queries)))
    return cases


def _dearer(rates: Rates, factor: float) -> Rates:
    match rates:
        case Hardware():
            return dataclasses.replace(rates, dollars_per_hour=factor * rates.dollars_per_hour)
        case TokenPrices():
            return TokenPrices(
                prompt_dollars_per_million_tokens=factor * rates.prompt_dollars_per_million_tokens,
                output_dollars_per_million_tokens=factor * rates.output_dollars_per_million_tokens,
            )


def _line(student: Student, terms: Terms, per: Literal["correct", "query"]) -> tuple[Floats, Floats]:
    """Cost as a line over the volume: what is paid before the first query, and by query; infinite by correct answer
    where none is right."""
    query = serve(student.answering, terms.usage, terms.serving)
    slope_D = query.dollars_D + (1 - query.right_D) * terms.error_dollars
    fixed_D = np.full_like(slope_D, sum(student.making.dollars(terms.making).values()))
    if per == "query":
        return fixed_D, slope_D
    return _ratio(fixed_D, query.right_D), _ratio(slope_D, query.right_D)


def _difference(a_D: Floats, b_D: Floats) -> Floats:
    """a - b, where two infinities are equal."""
    same_D = a_D == b_D
    return np.where(same_D, 0.0, a_D - np.where(same_D, 0.0, b_D))


def _ratio(a_D: Floats, b_D: Floats) -> Floats:
    """a / b; infinite where b is 0, or so near to it that no number is large enough."""
    none_D = b_D == 0
    with np.errstate(over="ignore"):
        return np.where(none_D, math.inf, a_D / np.where(none_D, 1.0, b_D))


def _check_queries(queries: float) -> None:
    if not (math.isfinite(queries) and queries >= 0):
        raise ValueError(f"queries must be a number of 0 or more, got {queries}")
