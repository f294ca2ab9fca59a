"""Charts of areas: bars in parts, and strips of shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.page.markup import Html, tag
from experiments.page.svg import TEXT_UNITS, WIDTH, Axis, Plot, drawing, fill_class, hot, name_width, short_name, text


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Amounts one after another.

    Example:
        Bar(name="Adaptive", parts=((0, 1.5, "training\\n$1.50"), (1, 0.5, "serving\\n$0.50")), note="$2.00")
    """

    name: str
    parts: tuple[tuple[int, float, str], ...]  # colour slot, amount, tip
    note: str


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Shares over stretches of an axis from 0 to 1, one above another.

    Example:
        Strip(name="Adaptive", cells=((0.0, 0.1, ((0, 0.25), (1, 0.75)), "answer 25%, short 75%"),))
    """

    name: str
    cells: tuple[tuple[float, float, tuple[tuple[int, float], ...], str], ...]  # start, end, (slot, share), tip
    note: str = ""


def bar_chart(title: str, bars: Sequence[Bar], x: Axis) -> Html:
    """A bar in parts for every row."""
    if not bars:
        return Html("")
    left, pitch = name_width([bar.name for bar in bars]), 22.0
    right = WIDTH - max(len(bar.note) for bar in bars) * TEXT_UNITS - 10
    plot = Plot(x=x, y=Axis(low=0, high=1), left=left, right=right, top=4, bottom=4 + pitch * len(bars))
    parts: list[str] = [plot.x_axis()]
    for place, bar in enumerate(bars):
        y, before = plot.top + place * pitch + 4, 0.0
        parts.append(text(short_name(bar.name, 26), left - 8, y + 11, anchor="end"))
        for slot, amount, tip in bar.parts:
            start, end = plot.x_at(before), plot.x_at(before + amount)
            if end - start > 0.05:
                parts.append(
                    hot(slot, tip, tag("rect", x=start, y=y, width=end - start, height=14, class_=fill_class(slot)))
                )
            before += amount
        parts.append(text(bar.note, plot.x_at(before) + 5, y + 11, class_="soft"))
    return drawing(title, plot.bottom + (34 if x.label else 20), *parts)


def strip_chart(title: str, strips: Sequence[Strip], x: Axis, *, tall: float = 34.0) -> Html:
    """A strip for every row, filled from below by its shares."""
    if not any(strip.cells for strip in strips):
        return Html("")
    left = name_width([strip.name for strip in strips])
    noted = max(len(strip.note) for strip in strips)
    right = WIDTH - (TEXT_UNITS * noted + 10 if noted else 12)
    pitch = tall + 6
    plot = Plot(x=x, y=Axis(low=0, high=1), left=left, right=right, top=4, bottom=4 + pitch * len(strips))
    parts: list[str] = [plot.x_axis()]
    for place, strip in enumerate(strips):
        base = plot.top + place * pitch + tall + 3
        parts.append(text(short_name(strip.name, 26), left - 8, base - tall / 2 + 3.6, anchor="end"))
        parts.append(text(strip.note, right + 6, base - tall / 2 + 3.6, class_="soft"))
        parts.append(tag("rect", x=left, y=base - tall, width=right - left, height=tall, class_="ground"))
        for start, end, shares, tip in strip.cells:
            begins, wide, bottom = plot.x_at(start), plot.x_at(end) - plot.x_at(start), base
            filled = []
            for slot, share in shares:
                bottom -= share * tall
                filled.append(tag("rect", x=begins, y=bottom, width=wide, height=share * tall, class_=fill_class(slot)))
            parts.append(hot(0, tip, *filled))
    return drawing(title, plot.bottom + (34 if x.label else 20), *parts)
