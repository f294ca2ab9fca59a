"""How good the students are: the verdict in words, all settings side by side, and every pair of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evaluators.resampling import Estimate
from experiments.findings.findings import Difference, QuestionSet, Setting, shown_interval
from experiments.page.charts import Dot, dot_chart
from experiments.page.markup import Html, figure, folded, joined, note, table, tag
from experiments.page.run_charts import SHARE
from experiments.page.svg import Axis, around, short_name
from experiments.page.wording import (
    NOT_DECIDED,
    Facet,
    accuracy_words,
    called,
    facets,
    is_ahead,
    is_decided,
    percent,
    points_words,
    range_text,
    score_tip,
    seeds_text,
    slots_of,
    source_words,
)
from experiments.summary import share_text


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which setting of a facet is the most accurate, in words, and whether it is surely so."""

    sentence: str
    decided: bool


def verdict(questions: QuestionSet, facet: Facet) -> Verdict:
    """The best of a facet, how good it is, and whether it is better than every other: if not, than which first."""
    best, *others = facet.settings
    overall = best.scores[0].accuracy
    ends = shown_interval(overall)
    interval = f"95% interval {range_text(ends)}" if ends else "no interval over seeds"
    if not ends and len(questions.settings) == 1 and overall.given_seeds is not None:
        interval = f"95% interval {range_text((overall.given_seeds.low, overall.given_seeds.high))} for this very run"
    name = called(best.policy) + (f" ({facet.label})" if facet.label else "")
    asked = f"{best.scores[0].questions} {questions.split} questions"
    said = f"{percent(overall.value)} of {asked} right ({interval}, {seeds_text(best)})"
    if not others:
        return Verdict(sentence=f"{name}: {said}.", decided=False)
    leads = [(other, _lead(questions, best, other)) for other in others]
    open_ = [(other, lead) for other, lead in leads if lead is None or not is_ahead(lead.accuracy)]
    rival, lead = open_[0] if open_ else leads[0]
    rival_name = called(rival.policy) + (", the next," if rival is others[0] else "")
    if lead is None:
        return Verdict(sentence=f"{name} is ahead: {said}. It shares no seed with {rival_name} so far.", decided=False)
    words = f"{points_words(lead.accuracy).removesuffix(' no interval')} percentage points"
    if not open_:
        sentence = f"{name} is the most accurate: {said}. Its lead over {rival_name} is {words}."
        return Verdict(sentence=sentence, decided=True)
    why = "one seed gives no interval" if len(lead.seeds) == 1 else "seeds that agree give no interval"
    why = "the interval holds 0" if shown_interval(lead.accuracy) else why
    why = "it is the other way round under the seeds that both have" if is_decided(lead.accuracy) else why
    stands = "is ahead" if lead.accuracy.value > 0 else "is not ahead"
    sentence = (
        f"{name} {stands}: {said}. Whether it is better than {rival_name} is {NOT_DECIDED}: the difference is {words}, "
        f"and {why}."
    )
    return Verdict(sentence=sentence, decided=False)


def _lead(questions: QuestionSet, best: Setting, other: Setting) -> Difference | None:
    """Accuracy of the best setting of a facet less that of another; None where they share no seed."""
    pair = (best.name, other.name)
    return next((each for each in questions.differences if (each.first, each.second) == pair), None)


def overall_section(questions: QuestionSet) -> Html:
    """Every setting's accuracy, what the best one gains over each other, and what shorter answers keep."""
    slots = slots_of(questions)
    figures = [
        drawn for facet in facets(questions) for drawn in (_accuracy(facet, slots), _leads(questions, facet, slots))
    ]
    words = (
        f"Accuracy is the share of the {questions.questions} {questions.split} questions answered rightly; lines "
        "are 95% intervals over seeds. Differences are paired by seed and question; where a line crosses 0, the "
        f"difference is {NOT_DECIDED}."
    )
    charts = tag("div", *figures, class_="charts")
    return joined([charts, note(words), _settings_table(questions), _differences_table(questions)])


def _accuracy(facet: Facet, slots: Mapping[str, int]) -> Html:
    rows = [
        (
            called(setting.policy),
            [
                Dot(
                    value=setting.scores[0].accuracy.value,
                    ci95=shown_interval(setting.scores[0].accuracy),
                    slot=slots[setting.name],
                    tip=score_tip(setting, setting.scores[0]),
                    note=percent(setting.scores[0].accuracy.value),
                )
            ],
        )
        for setting in facet.settings
    ]
    title = facet.titled("Accuracy of every setting")
    return figure(title, dot_chart(title, rows, SHARE))


def _leads(questions: QuestionSet, facet: Facet, slots: Mapping[str, int]) -> Html:
    best, *others = facet.settings
    rows: list[tuple[str, list[Dot]]] = []
    ends = [0.0]
    for setting in others:
        if (lead := _lead(questions, best, setting)) is not None:
            interval = shown_interval(lead.accuracy)
            ends += [lead.accuracy.value, *(interval or ())]
            pair = f"{called(best.policy)} minus {called(setting.policy)}"
            tip = f"{pair}\n{points_words(lead.accuracy)} points\n{source_words(lead.accuracy)}"
            words = f"{100 * lead.accuracy.value:+.1f}"
            dot = Dot(value=lead.accuracy.value, ci95=interval, slot=slots[setting.name], tip=tip, note=words)
            rows.append((f"minus {called(setting.policy)}", [dot]))
    if not rows:
        return Html("")
    low, high = around(ends)
    axis = Axis(low=low, high=high, label="percentage points", spell=lambda value: f"{100 * value:+.0f}")
    title = f"{short_name(called(best.policy), 40)} against each"
    return figure(title, dot_chart(title, rows, axis, zero=True))


def _settings_table(questions: QuestionSet) -> Html:
    """All that is known of each setting as a whole; columns of which nothing is known are left out."""
    columns = {
        "seeds": [", ".join(str(run.seed) for run in each.runs) for each in questions.settings],
        "accuracy [95%]": [accuracy_words(each.scores[0].accuracy) for each in questions.settings],
        "output tokens": [f"{each.scores[0].output_tokens:.1f}" for each in questions.settings],
        "90% have at most": [f"{each.scores[0].p90_output_tokens:.0f}" for each in questions.settings],
        "cut off": [share_text(each.scores[0].truncated) for each in questions.settings],
        "no answer": [_known(each.scores[0].unparsable, share_text) for each in questions.settings],
        "ungraded": [str(each.scores[0].ungraded or "") for each in questions.settings],
        "seconds an answer": [_known(each.latency_seconds, "{:.3g}".format) for each in questions.settings],
        "MiB to serve": [
            _known(each.serving_bytes, lambda size: f"{size / 2**20:,.3g}") for each in questions.settings
        ],
        "kept of raw's accuracy [95%]": [_against_raw(each, each.retention, questions) for each in questions.settings],
        "accuracy per token, over raw's [95%]": [
            _against_raw(each, each.token_efficiency, questions) for each in questions.settings
        ],
    }
    known = {name: cells for name, cells in columns.items() if any(cells)}
    rows = zip([called(each.name) for each in questions.settings], *known.values(), strict=True)
    raw = ""
    if questions.raw is not None:
        raw = (
            f"Raw is {called(questions.raw)}, which shows full traces alone. Kept is accuracy over raw's; beside it "
            "stands accuracy per output token over that of raw (1 is as good as raw). "
        )
    sources = sorted({source_words(each.scores[0].accuracy) for each in questions.settings})
    said = f"Intervals of accuracy: {'; '.join(sources)}." if len(sources) < 3 else ""
    return joined([table(("setting", *known), rows, numeric_from=2), note(raw, said)])


def _known(amount: float | None, spell: Callable[[float], str]) -> str:
    return "" if amount is None else spell(amount)


def _against_raw(setting: Setting, estimate: Estimate | None, questions: QuestionSet) -> str:
    if setting.policy == questions.raw:
        return "raw"
    return "" if estimate is None else _ratio_words(estimate)


def _ratio_words(estimate: Estimate) -> str:
    ends = shown_interval(estimate)
    return f"{estimate.value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else " (no interval)")


def _differences_table(questions: QuestionSet) -> Html:
    if not questions.differences:
        return Html("")
    rows = [
        (
            called(each.first),
            called(each.second),
            points_words(each.accuracy),
            "yes" if is_decided(each.accuracy) else NOT_DECIDED,
            ", ".join(map(str, each.seeds)),
            source_words(each.accuracy),
        )
        for each in questions.differences
    ]
    header = ("setting", "minus", "percentage points [95%]", "a difference?", "seeds", "interval")
    return folded("Every pair of settings", table(header, rows, numeric_from=len(header)))
