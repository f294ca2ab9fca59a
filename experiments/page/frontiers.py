"""Accuracy against what it takes: training FLOPs, and the FLOPs of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluators.frontier import Frontier
from experiments.findings.findings import QuestionSet, shown_interval
from experiments.page.charts import Dot, Place, scatter_chart
from experiments.page.markup import Html, figure, tag
from experiments.page.svg import Axis, around, around_logarithmic
from experiments.page.wording import accuracy_words, called, slots_of, source_words
from experiments.summary import flops_text, share_text


def frontier_figures(questions: QuestionSet) -> Html:
    """Accuracy against training FLOPs, and against the FLOPs of an answer."""
    slots = slots_of(questions)
    frontiers = (
        ("What training buys", questions.training_frontier, "training FLOPs"),
        ("What an answer takes", questions.inference_frontier, "FLOPs of an answer"),
    )
    return tag(
        "div",
        *(
            _frontier_figure(title, found, slots, label, questions)
            for title, found, label in frontiers
            if found is not None and len(found.points) > 1
        ),
        class_="charts",
    )


def _frontier_figure(title: str, found: Frontier, slots: Mapping[str, int], label: str, questions: QuestionSet) -> Html:
    policies = {setting.name: setting.policy for setting in questions.settings}
    points = found.points
    intervals = [shown_interval(point.accuracy) for point in points]
    low, high = around(
        [*(point.accuracy.value for point in points), *(end for ends in intervals if ends for end in ends)]
    )
    y = Axis(low=max(0.0, low), high=min(1.0, high), label="accuracy", spell=_percent_tick)
    left, right = around_logarithmic([point.flops for point in points])
    x = Axis(low=left, high=right, label=label, spell=flops_text, scale="logarithmic")
    places = [
        Place(
            name=called(policies[point.name]),
            x=point.flops,
            dot=Dot(
                value=point.accuracy.value,
                ci95=ends,
                slot=slots[point.name],
                tip="\n".join(
                    (
                        called(point.name),
                        accuracy_words(point.accuracy),
                        source_words(point.accuracy),
                        f"{flops_text(point.flops)} {label}",
                        _standing(point.dominated_by, point.surely_dominated_by),
                    )
                ),
            ),
        )
        for point, ends in zip(points, intervals, strict=True)
    ]
    guide: list[tuple[float, float]] = []
    best = 0.0
    for point in points:
        if point.on_frontier and point.accuracy.value > best:
            guide += [(point.flops, best)] if guide else []
            guide.append((point.flops, point.accuracy.value))
            best = point.accuracy.value
    guide.append((right, best))
    volume, ends = found.hypervolume, shown_interval(found.hypervolume)
    covered = f"{volume.value:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else " (no interval)")
    words = (
        f"The line is the frontier: the best accuracy for so many {label} or fewer. Hypervolume {covered} accuracy x "
        f"decades, up to {flops_text(found.reference_flops)} {label}, down to {share_text(found.reference_accuracy)}; "
        f"seeds {', '.join(map(str, questions.frontier_seeds))}. Points at the same cost are drawn a little apart."
    )
    return figure(title, scatter_chart(f"Accuracy against {label}", places, x, y, guide=guide), words)


def _percent_tick(share: float) -> str:
    return f"{100 * share:g}%"


def _standing(dominated: Sequence[str], surely: Sequence[str]) -> str:
    if not dominated:
        return "on the frontier"
    return f"dominated by {', '.join(map(called, dominated))}" + (
        f", surely by {', '.join(map(called, surely))}" if surely else ", not surely"
    )
