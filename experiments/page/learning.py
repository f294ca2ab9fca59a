"""How settings learned: probes over the budget, supervision, the difficulty model's calibration, saturating fits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluators.accuracy import wilson
from evaluators.calibration import Calibration
from evaluators.saturating import NotFitted, SaturatingFit
from experiments.findings.findings import Fit, QuestionSet, Setting
from experiments.page.areas import Strip, strip_chart
from experiments.page.charts import PERCENT, Dot, Place, Series, line_chart, scatter_chart
from experiments.page.markup import Html, figure, joined, note, table, tag
from experiments.page.run_charts import BUDGET, kind_slots, mix_strip
from experiments.page.svg import Axis, area_legend, around_logarithmic, short_name
from experiments.page.wording import Facet, called, facets, percent, range_text, seeds_text, slots_of
from experiments.summary import flops_text, share_text

_SHARE = Axis(low=0.0, high=1.0, label="solved", spell=PERCENT)
_MIX_CELLS = 40


def learning_section(questions: QuestionSet) -> Html:
    """Curves with bands over seeds, mixes, calibration and fits."""
    runs = [run.record for setting in questions.settings for run in setting.runs]
    offered = [name for record in runs for name in record.supervisions]
    slots = kind_slots(offered, [result for record in runs for result in record.results])
    charts = [
        *(
            drawn
            for facet in facets(questions)
            for drawn in (
                figure(facet.titled("Learning curves"), _curves(facet, slots_of(questions)), _CURVES_NOTE),
                figure(facet.titled("What students were shown"), _mixes(facet, slots), _MIXES_NOTE),
            )
        ),
        *(_fit_figure(fit) for fit in questions.fits if isinstance(fit.fit, SaturatingFit)),
    ]
    reasons: dict[str, list[str]] = {}
    for fit in questions.fits:
        if isinstance(fit.fit, NotFitted) and len(fit.flops_M) > 1:  # one budget asks for no curve
            reasons.setdefault(fit.fit.reason, []).append(f"{called(fit.policy)} of {fit.student}")
    why = [
        note(f"No saturating curve of accuracy over training FLOPs for {', '.join(of)}: {reason}.")
        for reason, of in reasons.items()
    ]
    curves = tag("div", *charts, class_="charts")
    return joined([curves, calibration_section(questions), *why])


def calibration_section(questions: QuestionSet) -> Html:
    """Whether the difficulty model's predictions held: a diagram for each setting that has one, and the figures."""
    slots = slots_of(questions)
    diagrams = [_reliability(setting, slots[setting.name]) for setting in questions.settings]
    shown = tag("div", *diagrams, class_="charts") if any(diagrams) else ""
    return joined([shown, _calibration_table(questions)])


_CURVES_NOTE = (
    "Share of the probes solved, all tasks pooled, mean over seeds; the band is the 95% t interval over them. Settings "
    "that buy no probes have no curve."
)
_MIXES_NOTE = "Share of training FLOPs, mean over seeds."


def _curves(facet: Facet, colours: Mapping[str, int]) -> Html:
    series = [
        Series(
            name=called(setting.policy),
            slot=colours[setting.name],
            points=tuple((point.budget_share, point.solved) for point in setting.curve),
            band=tuple(point.ci95 for point in setting.curve),
            tips=tuple(
                f"{called(setting.policy)}\n{percent(point.solved)} {range_text(point.ci95)} solved\n"
                f"by {share_text(point.budget_share)} of the budget, {seeds_text(setting)}"
                for point in setting.curve
            ),
        )
        for setting in facet.settings
    ]
    return line_chart("Learning curves over the budget", series, BUDGET, _SHARE)


def _mixes(facet: Facet, slots: Mapping[str, int]) -> Html:
    mixes = [run.summary.mix_by_flops for setting in facet.settings for run in setting.runs]
    shown = [name for name in slots if any(mix.get(name) for mix in mixes)]
    chart = strip_chart("Supervision over the budget", [_mean_mix(each, slots) for each in facet.settings], BUDGET)
    return Html(chart + area_legend((name, slots[name]) for name in shown)) if chart else chart


def _mean_mix(setting: Setting, slots: Mapping[str, int]) -> Strip:
    """A setting's mix over its seeds, in cells of a fortieth of the budget."""
    strips = [
        mix_strip(called(setting.policy), run.summary.total_flops, run.record.results, slots) for run in setting.runs
    ]
    names = {slot: name for name, slot in slots.items()}
    cells = []
    for place in range(_MIX_CELLS):
        middle = (place + 0.5) / _MIX_CELLS
        there = [dict(shares) for strip in strips for start, end, shares, _ in strip.cells if start <= middle < end]
        if there:
            mean = tuple(
                (slot, share)
                for slot in sorted(names)
                if (share := float(np.mean([each.get(slot, 0.0) for each in there])))
            )
            words = "\n".join(f"{names[slot]} {share_text(share)}" for slot, share in mean)
            tip = f"{called(setting.policy)}, at {share_text(middle)} of the budget\n{words}"
            cells.append((place / _MIX_CELLS, (place + 1) / _MIX_CELLS, mean, tip))
    return Strip(name=called(setting.policy), cells=tuple(_merged(cells)))


_Cell = tuple[float, float, tuple[tuple[int, float], ...], str]


def _merged(cells: list[_Cell]) -> list[_Cell]:
    """Neighbours with the same shares as one cell."""
    merged: list[_Cell] = []
    for cell in cells:
        if merged and merged[-1][2] == cell[2] and abs(merged[-1][1] - cell[0]) < 1e-9:
            start, _, shares, tip = merged[-1]
            merged[-1] = (start, cell[1], shares, tip)
        else:
            merged.append(cell)
    return merged


def _calibrations(setting: Setting) -> list[tuple[int, Calibration]]:
    return [(run.seed, run.summary.difficulty) for run in setting.runs if run.summary.difficulty is not None]


def _reliability(setting: Setting, slot: int) -> Html:
    """Predicted chances against shares solved, the bins of all seeds pooled."""
    bins = [each for _, found in _calibrations(setting) for each in found.bins]
    places = []
    for low in sorted({each.low for each in bins}):
        same = [each for each in bins if each.low == low]
        n = sum(each.n for each in same)
        predicted = sum(each.n * each.mean_predicted for each in same) / n
        right = round(sum(each.n * each.solved for each in same))
        ends = wilson(right, n)
        tip = f"{n} outcomes\n{percent(predicted)} predicted\n{percent(right / n)} {range_text(ends)} solved"
        places.append(Place(name=f"n={n}", x=predicted, dot=Dot(value=right / n, ci95=ends, slot=slot, tip=tip)))
    if not places:
        return Html("")
    x = Axis(low=0.0, high=1.0, label="predicted chance of solving", spell=PERCENT)
    title = f"Difficulty model of {short_name(called(setting.name), 40)}"
    words = (
        "On the diagonal, predictions can be taken at their word. Outcomes by tenths of the prediction, seeds pooled."
    )
    return figure(title, scatter_chart(title, places, x, _SHARE, guide=((0.0, 0.0), (1.0, 1.0))), words)


def _calibration_table(questions: QuestionSet) -> Html:
    rows = [
        (
            called(setting.name),
            str(seed),
            f"{found.n:,}",
            "none" if found.auc is None else f"{found.auc:.3f}",
            "" if found.brier is None else f"{found.brier:.3f}",
            "" if found.base_brier is None else f"{found.base_brier:.3f}",
            percent(found.base_rate),
        )
        for setting in questions.settings
        for seed, found in _calibrations(setting)
    ]
    if not rows:
        return Html("")
    header = ("difficulty model", "seed", "later outcomes", "AUC", "Brier", "Brier of the base rate", "base rate")
    words = "AUC: 0.5 ranks no better than chance. Brier: mean squared error, to be compared with the base rate's."
    return joined([table(header, rows), note(words)])


def _fit_figure(found: Fit) -> Html:
    assert isinstance(found.fit, SaturatingFit)
    low, high = around_logarithmic(found.flops_M)
    x = Axis(low=low, high=high, label="training FLOPs", spell=flops_text, scale="logarithmic")
    at = np.geomspace(low, high, 41).tolist()
    intervals = [found.fit.interval(flops) for flops in at]
    curve = Series(
        name="fit",
        slot=0,
        points=tuple((flops, found.fit.accuracy(flops)) for flops in at),
        band=tuple(None if each is None else (max(0.0, each.low), min(1.0, each.high)) for each in intervals),
    )
    places = [
        Place(
            name="",
            x=flops,
            dot=Dot(value=value, ci95=None, slot=0, tip=f"{flops_text(flops)} FLOPs\n{percent(value)}"),
        )
        for flops, value in zip(found.flops_M, found.accuracy_M, strict=True)
    ]
    ends = found.fit.asymptote_interval
    words = (
        f"a + b (1 - exp(-g x^k)) with a = {found.fit.a:.3f}, b = {found.fit.b:.3f}, g = {found.fit.g:.3g}, "
        f"k = {found.fit.k:.2f}; the asymptote is {percent(found.fit.asymptote)} {range_text((ends.low, ends.high))}."
    )
    y = Axis(low=0.0, high=1.0, label="accuracy", spell=PERCENT)
    title = f"{found.policy}, {found.student}: accuracy over training FLOPs"
    return figure(title, line_chart(title, [curve], x, y, places=places), words)
