"""Drawings as inline SVG: axes, marks that tell their figures, lines and bands. The same data gives the same bytes.

Drawings are 400 units wide, with text of 10.5, so that they can be read on a phone as they are and side by side on a
desk. Colours come from the page by class: `c0` ... `c6` for a series, which also differ by the shape of their marks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from experiments.page.markup import Html, coordinate, tag

WIDTH = 400.0
COLOURS = 7
TEXT_UNITS = 5.6  # of a character of a chart's text
BOLD_UNITS = 6.4
_LONGEST_NAME_CHARS = 30


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis covers, and how its values are spelled.

    Example:
        Axis(low=0.0, high=1.0, label="right", spell="{:.0%}".format)
    """

    low: float
    high: float
    label: str = ""
    spell: Callable[[float], str] = "{:g}".format
    scale: Literal["linear", "logarithmic"] = "linear"

    def share(self, value: float) -> float:
        """Where a value stands, from 0 at the low end to 1 at the high end; values beyond an end stand on it."""
        inside = min(max(value, self.low), self.high)
        if self.scale == "linear":
            return (inside - self.low) / (self.high - self.low)
        return math.log(inside / self.low) / math.log(self.high / self.low)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Four to eight round values; powers of ten on a long logarithmic axis."""
        if self.scale == "linear":
            return _linear_ticks(self.low, self.high)
        first, last = math.log10(self.low), math.log10(self.high)
        step = max(1, math.ceil((last - first) / 6))
        steps = (1, 2, 5) if last - first <= 2 else (1,)
        decades = range(math.floor(first), math.ceil(last) + 1)
        powers = [d for d in decades if d % step == 0]
        ticks = tuple(
            s * 10.0**p for p in powers for s in steps if self.low * 0.999 <= s * 10.0**p <= self.high * 1.001
        )
        return ticks if len(ticks) > 1 else _linear_ticks(self.low, self.high)


def around(values: Sequence[float], *, zero: bool = False) -> tuple[float, float]:
    """Ends of a linear axis with some air around the values, and around 0 too where asked for."""
    ends = [*values, 0.0] if zero else list(values)
    low, high = min(ends), max(ends)
    air = 0.08 * (high - low) or max(0.05, 0.1 * abs(high))
    return low - air, high + air


def around_logarithmic(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a logarithmic axis with some air around positive values, a factor of four at least."""
    low, high = min(values), max(values)
    air = max((high / low) ** 0.1, 2.0 / math.sqrt(high / low), 1.15)
    return low / air, high * air


@dataclass(frozen=True, kw_only=True)
class Plot:
    """The rectangle of a drawing that data stand in, between two axes."""

    x: Axis
    y: Axis
    left: float = 46.0
    right: float = WIDTH - 12.0
    top: float = 8.0
    bottom: float = 200.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a value stands in the drawing."""
        return self.x_at(x), self.bottom - self.y.share(y) * (self.bottom - self.top)

    def x_at(self, x: float) -> float:
        """Where a value of the horizontal axis stands."""
        return self.left + self.x.share(x) * (self.right - self.left)

    def x_axis(self) -> Html:
        """Grid lines, ticks and label below."""
        parts: list[str] = []
        last = -math.inf
        for tick in self.x.ticks:
            x, spelled = self.x_at(tick), self.x.spell(tick)
            parts.append(tag("line", x1=x, x2=x, y1=self.top, y2=self.bottom, class_="grid"))
            if x - last > TEXT_UNITS * len(spelled) + 6:
                parts.append(text(spelled, x, self.bottom + 14, anchor="middle", class_="soft"))
                last = x
        middle = (self.left + self.right) / 2
        parts.append(text(self.x.label, middle, self.bottom + 29, anchor="middle", class_="soft"))
        return tag("g", *parts)

    def y_axis(self) -> Html:
        """Grid lines, ticks and the label above."""
        parts: list[str] = [text(self.y.label, 0, 9, class_="soft")]
        for tick in self.y.ticks:
            y = self.at(self.x.low, tick)[1]
            parts.append(tag("line", x1=self.left, x2=self.right, y1=y, y2=y, class_="grid"))
            parts.append(text(self.y.spell(tick), self.left - 6, y + 3.6, anchor="end", class_="soft"))
        return tag("g", *parts)


def drawing(title: str, height: float, *parts: str) -> Html:
    """A drawing of so many units in height."""
    box = f"0 0 {coordinate(WIDTH)} {coordinate(height)}"
    return tag("svg", *parts, viewBox=box, class_="chart", role="group", aria_label=title)


def text(words: str, x: float, y: float, *, anchor: str | None = None, class_: str | None = None) -> Html:
    """Words at a place; nothing where there are none."""
    return tag("text", words, x=x, y=y, text_anchor=anchor, class_=class_) if words else Html("")


def mark(x: float, y: float, slot: int, tip: str) -> Html:
    """A data point: its shape and colour by slot, with figures that are shown where it is pointed at or focused."""
    return hot(slot, tip, tag("circle", cx=x, cy=y, r=9, class_="hit"), _shape(x, y, slot))


def ring(x: float, y: float, tip: str) -> Html:
    """A place on other lines, which tells `tip`."""
    return hot(0, tip, tag("circle", cx=x, cy=y, r=9, class_="hit"), tag("circle", cx=x, cy=y, r=4.5, class_="ring"))


def _shape(x: float, y: float, slot: int) -> Html:
    match slot % 4:
        case 0:
            return tag("circle", cx=x, cy=y, r=4, class_="dot")
        case 1:
            return tag("rect", x=x - 3.6, y=y - 3.6, width=7.2, height=7.2, class_="dot")
        case 2:
            return tag("path", d=_polygon((x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)), class_="dot")
        case _:
            return tag("path", d=_polygon((x, y - 5), (x + 4.6, y + 3.6), (x - 4.6, y + 3.6)), class_="dot")


def legend(names: Iterable[tuple[str, int]]) -> Html:
    """A key of (name, slot) for lines and marks, which wraps where a chart cannot."""

    def key(slot: int) -> Html:
        drawn = (line(((0, 6), (24, 6)), slot), tag("g", _shape(12, 6, slot), class_=f"c{slot % COLOURS}"))
        return tag("svg", *drawn, viewBox="0 0 24 12", class_="key", aria_hidden="true")

    return tag("ul", *(tag("li", key(slot), name) for name, slot in names), class_="legend")


def area_legend(names: Iterable[tuple[str, int]]) -> Html:
    """A key of (name, slot) for areas."""

    def key(slot: int) -> Html:
        filled = tag("rect", width=12, height=12, class_=fill_class(slot))
        return tag("svg", filled, viewBox="0 0 12 12", class_="key area", aria_hidden="true")

    return tag("ul", *(tag("li", key(slot), name) for name, slot in names), class_="legend")


def fill_class(slot: int) -> str:
    """The class of an area, paler from the eighth slot on."""
    return f"fill c{slot % COLOURS}" + (" pale" if slot // COLOURS % 2 else "")


def hot(slot: int, tip: str, *parts: str) -> Html:
    """Parts that tell `tip`, whose first line is their name."""
    spoken = tip.replace("\n", ", ")
    return tag(
        "g", *parts, class_=f"mark c{slot % COLOURS}", data_tip=tip, aria_label=spoken, role="img", tabindex="-1"
    )


def line(points: Sequence[tuple[float, float]], slot: int, *, class_: str = "line") -> Html:
    """A line through points of the drawing."""
    dash = ("", " dashed", " dotted")[slot // COLOURS % 3]
    return tag("path", d=_path(points), class_=f"{class_}{dash} c{slot % COLOURS}") if points else Html("")


def band(low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]], slot: int) -> Html:
    """The area between two lines."""
    return tag("path", d=_polygon(*low, *reversed(high)), class_=f"band c{slot % COLOURS}") if low else Html("")


def whisker(x: float, y: float, to_x: float, to_y: float, slot: int) -> Html:
    """An interval's line."""
    return tag("line", x1=x, y1=y, x2=to_x, y2=to_y, class_=f"whisker c{slot % COLOURS}")


@dataclass
class Labels:
    """Names beside points, each at the first free place around its own."""

    plot: Plot
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def keep_free(self, x: float, top: float, bottom: float) -> None:
        """Let no name cover a point or its interval."""
        self.taken.append((x - 6, top - 6, x + 6, bottom + 6))

    def place(self, name: str, x: float, y: float, slot: int) -> Html:
        """The name of a point, to its right if there is room."""
        width = BOLD_UNITS * len(name)
        offsets = [(8.0, 3.6), (-8.0 - width, 3.6)]
        offsets += [
            (side, 3.6 + turn * rise) for rise in (12, 24, 36, 48) for turn in (-1, 1) for side in (8.0, -8.0 - width)
        ]
        for across, down in offsets:
            box = (x + across, y + down - 9, x + across + width, y + down + 2)
            inside = box[0] >= self.plot.left and box[2] <= WIDTH and box[1] >= 0 and box[3] <= self.plot.bottom
            if inside and not any(_overlap(box, other) for other in self.taken):
                self.taken.append(box)
                return text(name, box[0], y + down, class_=f"name c{slot % COLOURS}")
        return Html("")


def short_name(name: str, chars: int = _LONGEST_NAME_CHARS) -> str:
    """A name that fits a chart: without its middle, for names differ at their ends as often as at their beginnings.

    Example:
        >>> short_name("compressed:steps@0.3", 12)
        'compress\u20260.3'
    """
    tail = chars // 3 - 1
    return name if len(name) <= chars else f"{name[: chars - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{name[-tail:]}"


def name_width(names: Sequence[str]) -> float:
    """The room to the left of a plot that the names of its rows take."""
    return 16 + TEXT_UNITS * max(len(short_name(name, 26)) for name in names)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{coordinate(x)},{coordinate(y)}" for x, y in points)


def _polygon(*points: tuple[float, float]) -> str:
    return f"{_path(points)}Z"


def _linear_ticks(low: float, high: float) -> tuple[float, ...]:
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor((high - first * step) / step + 1e-9) + 1
    return tuple(round((first + place) * step, 12) for place in range(count))
