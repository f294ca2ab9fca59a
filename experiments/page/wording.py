"""Estimates, amounts and settings in words, and the same few lines of figures wherever a setting is pointed at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from evaluators.answering import Figure
from evaluators.resampling import Estimate
from evaluators.sentences import dollars_text
from experiments.findings.findings import INTERVAL_NOTE, GroupScore, QuestionSet, Setting, shown_interval
from experiments.page.markup import Html, joined, tag

NOT_DECIDED = "not decided by this data"


@dataclass(frozen=True, kw_only=True)
class Facet:
    """Settings of one student and budget, by falling accuracy: what is compared at the same compute."""

    label: str  # the student and the budget; empty where the set has no others
    settings: tuple[Setting, ...]

    def titled(self, title: str) -> str:
        """A title that says which facet it is of."""
        return f"{title}: {self.label}" if self.label else title


def facets(questions: QuestionSet) -> list[Facet]:
    """The settings of a set by student and budget, in its order."""
    grouped = [tuple(same) for _, same in groupby(questions.settings, key=lambda each: (each.student, each.budget))]
    several = len(grouped) > 1
    return [Facet(label=f"{same[0].student}, {same[0].budget}" if several else "", settings=same) for same in grouped]


def side_by_side(parts: Sequence[tuple[Facet, str]]) -> Html:
    """A part of the page for every facet: as it is where it is the only one, else behind lines that open them."""
    if len(parts) == 1:
        return joined(part for _, part in parts)
    return joined(
        tag("details", tag("summary", facet.label), part, open="" if place == 0 else None)
        for place, (facet, part) in enumerate(parts)
    )


def slots_of(questions: QuestionSet) -> dict[str, int]:
    """The colour slot of every setting, which is its policy's: the same in every chart."""
    policies = list(dict.fromkeys(setting.policy for setting in questions.settings))
    return {setting.name: policies.index(setting.policy) for setting in questions.settings}


def called(name: str) -> str:
    """A setting as the page calls it, which is shorter than as a comparison spells it.

    Example:
        >>> called("Fixed(supervision=answer), tiny")
        'Fixed(answer), tiny'
    """
    return name.replace("(supervision=", "(")


def percent(share: float) -> str:
    """A share in percent.

    Example:
        >>> percent(0.7225)
        '72.2%'
    """
    return f"{100 * share:.1f}%"


def range_text(ends: tuple[float, float] | None, *, signed: bool = False) -> str:
    """An interval of shares in percent; what stands in its place where there is none.

    Example:
        >>> range_text((0.61, 0.78)), range_text((-0.01, 0.2), signed=True), range_text(None)
        ('[61.0, 78.0]', '[-1.0, +20.0]', 'no interval')
    """
    if ends is None:
        return "no interval"
    low, high = (f"{100 * end:+.1f}" if signed else f"{100 * end:.1f}" for end in ends)
    return f"[{low}, {high}]"


def accuracy_words(estimate: Estimate) -> str:
    """An accuracy with its interval over seeds.

    Example:
        72.2% [64.1, 80.3]
    """
    return f"{percent(estimate.value)} {range_text(shown_interval(estimate))}"


def points_words(estimate: Estimate) -> str:
    """A difference of accuracies, in percentage points.

    Example:
        +14.8 [+8.9, +20.1]
    """
    return f"{100 * estimate.value:+.1f} {range_text(shown_interval(estimate), signed=True)}"


def source_words(estimate: Estimate) -> str:
    """What an estimate's interval means; for a single run, which has none over seeds, that of this very run."""
    if estimate.interval is not None:
        return f"{INTERVAL_NOTE[estimate.interval.source]}, {estimate.n_seeds} seeds"
    if estimate.given_seeds is None:
        return "no interval"
    ends = (estimate.given_seeds.low, estimate.given_seeds.high)
    missing = "one seed: no interval over seeds" if estimate.n_seeds == 1 else "seeds agree: no interval over them"
    return f"{missing}; {range_text(ends, signed=ends[0] < 0)} is the {INTERVAL_NOTE[estimate.given_seeds.source]}"


def score_tip(setting: Setting, score: GroupScore) -> str:
    """What is told of a setting where it is pointed at."""
    return "\n".join(
        (
            called(setting.name),
            f"{score.name}: {accuracy_words(score.accuracy)}",
            source_words(score.accuracy),
            f"{score.questions} questions, {score.output_tokens:.1f} output tokens",
        )
    )


def is_decided(estimate: Estimate) -> bool:
    """Whether a difference's interval over seeds leaves out 0."""
    ends = shown_interval(estimate)
    return ends is not None and (ends[0] > 0 or ends[1] < 0)


def is_ahead(estimate: Estimate) -> bool:
    """Whether a difference's interval over seeds lies above 0."""
    ends = shown_interval(estimate)
    return ends is not None and ends[0] > 0


def seeds_text(setting: Setting) -> str:
    """How many runs a setting rests on.

    Example:
        3 seeds
    """
    count = len(setting.runs)
    return f"{count} seed{'' if count == 1 else 's'}"


def dollars(amount: float) -> str:
    """Dollars for people.

    Example:
        >>> dollars(1234.5), dollars(0.0123)
        ('$1,234.50', '$0.0123')
    """
    return f"${dollars_text(amount)}"


def money(stated: Figure, times: float = 1.0) -> str:
    """Dollars with their interval, by so many right answers.

    Example:
        $0.5 [$0.41, $0.62]
    """
    if stated.value is None:
        return "none: no answer is right"
    value = dollars(stated.value * times)
    if stated.ci95 is None:
        return f"{value} (no interval)"
    low, high = stated.ci95
    upper = dollars(high * times) if math.isfinite(high) else "without limit"
    return f"{value} [{dollars(low * times)}, {upper}]"
