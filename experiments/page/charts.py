"""Charts of points: dots with intervals, lines with bands, named points with a frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.page.markup import Html, tag
from experiments.page.svg import (
    BOLD_UNITS,
    TEXT_UNITS,
    WIDTH,
    Axis,
    Labels,
    Plot,
    band,
    drawing,
    legend,
    line,
    mark,
    name_width,
    ring,
    short_name,
    text,
    whisker,
)

DIRECT_LABELS = 6
"""Up to so many lines carry their name at their end; more are named in a key below."""
APART = 4.0
"""Of a drawing's 400 units, between points at one cost: enough to tell intervals apart, too little to look dearer."""

PERCENT = "{:.0%}".format


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A value with its interval.

    Example:
        Dot(value=0.7, ci95=(0.61, 0.78), slot=0, tip="Adaptive\\n70% of 41")
    """

    value: float
    ci95: tuple[float, float] | None
    slot: int
    tip: str  # name in the first line, figures in those after it
    note: str = ""  # to the right of its row


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line, and the band around it.

    Example:
        Series(name="add", slot=0, points=((0.1, 0.4), (0.2, 0.6)), band=((0.3, 0.5), (0.5, 0.7)))
    """

    name: str
    slot: int
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float] | None, ...] = ()  # an interval for every point, or none at all
    tips: tuple[str, ...] = ()  # for every point; a line without marks where empty


@dataclass(frozen=True, kw_only=True)
class Place:
    """A named point with an interval upwards and downwards."""

    name: str
    x: float
    dot: Dot


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where two lines cross, and the interval of where they do."""

    x: float
    y: float
    ci95: tuple[float, float] | None
    tip: str


def dot_chart(title: str, groups: Sequence[tuple[str, Sequence[Dot]]], x: Axis, *, zero: bool = False) -> Html:
    """A row for every group, the dots of a group under one another; `zero` draws a line at 0."""
    rows = [len(dots) for _, dots in groups]
    if not sum(rows):
        return Html("")
    pitch = 9.0 if max(rows) > 1 else 17.0
    gap = 7.0 if max(rows) > 1 else 0.0
    height = sum(count * pitch + gap for count in rows)
    left, noted = name_width([name for name, _ in groups]), max(len(dot.note) for _, dots in groups for dot in dots)
    right = WIDTH - (TEXT_UNITS * noted + 10 if noted else 12)
    plot = Plot(x=x, y=Axis(low=0, high=1), left=left, right=right, top=4, bottom=4 + height)
    parts: list[str] = [plot.x_axis()]
    if zero:
        parts.append(tag("line", x1=plot.x_at(0), x2=plot.x_at(0), y1=plot.top, y2=plot.bottom, class_="zero"))
    top = plot.top
    for name, dots in groups:
        tall = len(dots) * pitch + gap
        if gap and top > plot.top:
            parts.append(tag("line", x1=0, x2=right, y1=top, y2=top, class_="grid"))
        parts.append(text(short_name(name, 26), left - 8, top + tall / 2 + 3.6, anchor="end"))
        for place, dot in enumerate(dots):
            y = top + gap / 2 + (place + 0.5) * pitch
            if dot.ci95 is not None:
                parts.append(whisker(plot.x_at(dot.ci95[0]), y, plot.x_at(dot.ci95[1]), y, dot.slot))
            parts.append(mark(plot.x_at(dot.value), y, dot.slot, dot.tip))
            parts.append(text(dot.note, WIDTH, y + 3.6, anchor="end", class_="soft"))
        top += tall
    return drawing(title, plot.bottom + (34 if x.label else 20), *parts)


def line_chart(
    title: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    places: Sequence[Place] = (),
    crossings: Sequence[Crossing] = (),
    height: float = 210.0,
) -> Html:
    """Lines with bands, named at their ends where they are few, in a key below where they are many.

    Args:
        places: points with intervals, drawn over the lines and not named.
        crossings: of lines, drawn as rings with their intervals.
    """
    shown = [each for each in series if each.points]
    if not shown:
        return Html("")
    direct = 1 < len(shown) <= DIRECT_LABELS
    names = [short_name(each.name, 20) for each in shown]
    room = max(len(name) for name in names) * BOLD_UNITS + 10 if direct else 12
    plot = Plot(x=x, y=y, top=18, bottom=height - 34, right=WIDTH - room)
    parts: list[str] = [plot.x_axis(), plot.y_axis()]
    for each in shown:
        bounded = [(at, ends) for (at, _), ends in zip(each.points, each.band, strict=bool(each.band)) if ends]
        lows, highs = ([plot.at(at, ends[side]) for at, ends in bounded] for side in (0, 1))
        parts.append(band(lows, highs, each.slot))
    for each in shown:
        drawn = [plot.at(*point) for point in each.points]
        parts.append(line(drawn, each.slot))
        parts += [mark(*at, each.slot, tip) for at, tip in zip(drawn, each.tips, strict=bool(each.tips))]
    for place in places:
        at_x, at_y = plot.at(place.x, place.dot.value)
        if place.dot.ci95 is not None:
            low, high = (plot.at(place.x, end)[1] for end in place.dot.ci95)
            parts.append(whisker(at_x, low, at_x, high, place.dot.slot))
        parts.append(mark(at_x, at_y, place.dot.slot, place.dot.tip))
    for crossing in crossings:
        at_x, at_y = plot.at(crossing.x, crossing.y)
        if crossing.ci95 is not None:
            low, high = map(plot.x_at, crossing.ci95)
            parts.append(tag("line", x1=low, x2=high, y1=at_y, y2=at_y, class_="spread"))
        parts.append(ring(at_x, at_y, crossing.tip))
    if direct:
        ends = [plot.at(*each.points[-1]) for each in shown]
        parts += _end_names(names, ends, [each.slot for each in shown], plot)
    chart = drawing(title, height, *parts)
    return chart if direct or len(shown) == 1 else Html(chart + legend((each.name, each.slot) for each in shown))


def scatter_chart(
    title: str,
    places: Sequence[Place],
    x: Axis,
    y: Axis,
    *,
    guide: Sequence[tuple[float, float]] = (),
    height: float = 240.0,
) -> Html:
    """Named points with their intervals, over a line (a frontier, or a diagonal) through `guide`.

    Points at the same cost are drawn a little apart, so that their intervals can be told from each other.
    """
    if not places:
        return Html("")
    plot = Plot(x=x, y=y, top=18, bottom=height - 34)
    labels, drawn = Labels(plot), list[tuple[float, float, Place]]()
    ordered = sorted(places, key=lambda place: (place.x, -place.dot.value))
    for place, at_x in zip(ordered, _apart([plot.x_at(place.x) for place in ordered]), strict=True):
        drawn.append((at_x, plot.at(place.x, place.dot.value)[1], place))
        ends = [plot.at(place.x, end)[1] for end in place.dot.ci95 or (place.dot.value, place.dot.value)]
        labels.keep_free(at_x, ends[1], ends[0])
    parts: list[str] = [plot.x_axis(), plot.y_axis()]
    if guide:
        parts.append(
            tag("path", d="M" + "L".join("{:.1f},{:.1f}".format(*plot.at(*at)) for at in guide), class_="guide")
        )
    for at_x, _, place in drawn:
        if place.dot.ci95 is not None:
            low, high = (plot.at(place.x, end)[1] for end in place.dot.ci95)
            parts.append(whisker(at_x, low, at_x, high, place.dot.slot))
    parts += [labels.place(short_name(place.name, 24), at_x, at_y, place.dot.slot) for at_x, at_y, place in drawn]
    parts += [mark(at_x, at_y, place.dot.slot, place.dot.tip) for at_x, at_y, place in drawn]
    return drawing(title, height, *parts)


def _apart(at: Sequence[float]) -> list[float]:
    """Ascending places, those nearer than `APART` so far apart around their middle."""
    clusters: list[list[float]] = []
    for place in at:
        if clusters and place - clusters[-1][-1] < APART:
            clusters[-1].append(place)
        else:
            clusters.append([place])
    return [
        sum(cluster) / len(cluster) + APART * (number - (len(cluster) - 1) / 2)
        for cluster in clusters
        for number in range(len(cluster))
    ]


def _end_names(
    names: Sequence[str], ends: Sequence[tuple[float, float]], slots: Sequence[int], plot: Plot
) -> list[str]:
    """Names at the ends of lines, moved apart where they would overlap, and up where they would leave the plot."""
    order = sorted(range(len(names)), key=lambda place: ends[place][1])
    heights: list[float] = []
    for place in order:
        heights.append(max(ends[place][1], heights[-1] + 12 if heights else plot.top))
    lift = max(0.0, heights[-1] - plot.bottom)
    return [
        text(names[place], plot.right + 8, max(height - lift, plot.top) + 3.6, class_=f"name c{slots[place] % 7}")
        for place, height in zip(order, heights, strict=True)
    ]
