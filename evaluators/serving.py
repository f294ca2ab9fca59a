"""What one query costs to serve, and how often its answer is right: one pass, tries until right, or a second look."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from curricula.types import Floats
from evaluators.answering import Answering


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a FLOP costs on rented or owned machines.

    Example: a GPU at 3 dollars an hour that does 40% of its 4e14 FLOPs a second.
        Hardware(dollars_per_hour=3.0, peak_flops_per_second=4e14, utilisation=0.4)
    """

    dollars_per_hour: float
    peak_flops_per_second: float
    utilisation: float  # share of the peak that is reached, in (0, 1]

    def __post_init__(self) -> None:
        check_amount("dollars_per_hour", self.dollars_per_hour)
        if not (math.isfinite(self.peak_flops_per_second) and self.peak_flops_per_second > 0):
            raise ValueError(f"peak_flops_per_second must be positive, got {self.peak_flops_per_second}")
        check_share("utilisation", self.utilisation)
        if self.utilisation == 0:
            raise ValueError("utilisation must be above 0: hardware that does nothing finishes nothing")

    @property
    def dollars_per_flop(self) -> float:
        """Price per hour over the FLOPs done in an hour."""
        return self.dollars_per_hour / (3600 * self.peak_flops_per_second * self.utilisation)


@dataclass(frozen=True, kw_only=True)
class TokenPrices:
    """What a served model's owner asks for.

    Example:
        TokenPrices(prompt_dollars_per_million_tokens=0.1, output_dollars_per_million_tokens=0.4)
    """

    prompt_dollars_per_million_tokens: float
    output_dollars_per_million_tokens: float

    def __post_init__(self) -> None:
        check_amount("prompt_dollars_per_million_tokens", self.prompt_dollars_per_million_tokens)
        check_amount("output_dollars_per_million_tokens", self.output_dollars_per_million_tokens)


Rates = Hardware | TokenPrices


@dataclass(frozen=True, kw_only=True)
class Once:
    """The first answer is taken as it is."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """A checker looks at every answer, and another is asked for until one is accepted; the last is taken unchecked.

    Tries are independent and alike for a share `1 - repeats` of the queries. For the others every try gives the verdict
    of the first, as greedy decoding does (repeats=1), and as it happens where a question is beyond a student.

    Example: three tries at most, checked by running tests, with nothing repeated.
        Retries(max_attempts=3)
    """

    max_attempts: int
    accepts_right: float = 1.0  # share of the right answers that the checker accepts
    accepts_wrong: float = 0.0  # share of the wrong ones
    repeats: float = 0.0  # share of queries whose tries all give the same verdict
    check_dollars: float = 0.0  # of one check

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, got {self.max_attempts}")
        check_share("accepts_right", self.accepts_right)
        check_share("accepts_wrong", self.accepts_wrong)
        check_share("repeats", self.repeats)
        check_amount("check_dollars", self.check_dollars)


@dataclass(frozen=True, kw_only=True)
class SelfCorrection:
    """A second pass reads the prompt and the first answer, writes as much again, and its answer is taken.

    Example: a third of the errors are corrected, and one right answer in fifty is spoilt.
        SelfCorrection(corrects=0.33, spoils=0.02)
    """

    corrects: float  # share of the wrong first answers that come out right
    spoils: float  # share of the right ones that come out wrong

    def __post_init__(self) -> None:
        check_share("corrects", self.corrects)
        check_share("spoils", self.spoils)


Usage = Once | Retries | SelfCorrection


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """A query as it is served: means over queries, for every draw (D, the measurement first)."""

    right_D: Floats  # share of queries whose last answer is right
    passes_D: Floats  # answers written for one query
    dollars_D: Floats


def serve(answering: Answering, usage: Usage, rates: Rates) -> Query:
    """What a query costs and how often it is answered right.

    With p the chance that one answer is right, and Retries of m attempts, a checker that accepts a share s of right
    answers and f of wrong ones accepts a = p s + (1 - p) f of all, and

        attempts   sum of (1-a)^k for k < m            checks   sum of (1-a)^k for k < m - 1
        right      p s checks + p (1-a)^(m-1)          a perfect checker: 1 - (1-p)^m

    which for queries whose tries repeat is taken at p = 1 and p = 0 and weighed by p. Self-correction is right in
    p (1 - spoils) + (1 - p) corrects.
    """
    p_D = answering.accuracy_D
    first_D = _dollars(rates, answering.flops_D, answering.prompt_tokens_D, answering.output_tokens_D)
    match usage:
        case Once():
            return Query(right_D=p_D, passes_D=np.ones_like(p_D), dollars_D=first_D)
        case SelfCorrection():
            read_D = answering.prompt_tokens_D + answering.output_tokens_D
            second_D = _dollars(rates, answering.second_flops_D, read_D, answering.output_tokens_D)
            right_D = p_D * (1 - usage.spoils) + (1 - p_D) * usage.corrects
            return Query(right_D=right_D, passes_D=np.full_like(p_D, 2.0), dollars_D=first_D + second_D)
        case Retries():
            always, never = _tries(np.ones_like(p_D), usage), _tries(np.zeros_like(p_D), usage)
            right_D, passes_D, checks_D = (
                (1 - usage.repeats) * each + usage.repeats * (p_D * if_right + (1 - p_D) * if_wrong)
                for each, if_right, if_wrong in zip(_tries(p_D, usage), always, never, strict=True)
            )
            dollars_D = passes_D * first_D + checks_D * usage.check_dollars
            return Query(right_D=right_D, passes_D=passes_D, dollars_D=dollars_D)


def _tries(p_D: Floats, usage: Retries) -> tuple[Floats, Floats, Floats]:
    """(right, attempts, checks) where every attempt is right with chance p, independently."""
    accepted_D = np.clip(p_D * usage.accepts_right + (1 - p_D) * usage.accepts_wrong, 0.0, 1.0)
    attempts_D = _geometric_sum(accepted_D, usage.max_attempts)
    checks_D = _geometric_sum(accepted_D, usage.max_attempts - 1)
    right_D = p_D * (usage.accepts_right * checks_D + (1 - accepted_D) ** (usage.max_attempts - 1))
    return np.clip(right_D, 0.0, 1.0), attempts_D, checks_D  # rounding may pass 1


def _geometric_sum(a_D: Floats, terms: int) -> Floats:
    """The sum of (1-a)^k for k < terms: (1 - (1-a)^terms) / a, by way of logarithms, for the sake of a near 0."""
    inside_D = (a_D > 0) & (a_D < 1)
    safe_D = np.where(inside_D, a_D, 0.5)
    at_ends_D = np.where(a_D == 0, float(terms), float(min(terms, 1)))
    return np.where(inside_D, -np.expm1(terms * np.log1p(-safe_D)) / safe_D, at_ends_D)


def _dollars(rates: Rates, flops_D: Floats, read_tokens_D: Floats, written_tokens_D: Floats) -> Floats:
    if isinstance(rates, Hardware):
        return flops_D * rates.dollars_per_flop
    read_D = read_tokens_D * rates.prompt_dollars_per_million_tokens
    return (read_D + written_tokens_D * rates.output_dollars_per_million_tokens) / 1e6


def check_amount(name: str, value: float) -> None:
    """Raise ValueError where an amount of dollars is negative or no number."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a number of 0 or more, got {value}")


def check_share(name: str, value: float) -> None:
    """Raise ValueError where a share is outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
