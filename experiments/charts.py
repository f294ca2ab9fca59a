"""Charts as inline SVG: the same data gives the same bytes, and the page's colours apply, light or dark.

Colours are drawn as placeholders and replaced by CSS variables: --c0 ... --c6 for series, --line for grids, and
`currentColor` for text. A chart is drawn 4.6 inches wide with 9.5 point text, legible on a phone and beside another.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

COLOURS = 7
DIRECT_LABELS = 6
"""Up to so many lines carry their name at their end; more are named in a legend."""
_TEXT, _GRID = "#fe02f0", "#fe02f1"
_STYLES: tuple[str, ...] = ("-", "--", ":")
_LONGEST_NAME_CHARS = 30


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line over the budget.

    Example:
        Line(name="add", x=(0.1, 0.2), y=(0.4, 0.6), slot=0)
    """

    name: str
    x: tuple[float, ...]  # shares of the total budget, in [0, 1]
    y: tuple[float, ...]
    slot: int | None  # colour and dash; None for the emphasised line
    band: tuple[tuple[float, float], ...] = ()  # an interval for every point, or none


@dataclass(frozen=True, kw_only=True)
class Band:
    """A stretch of the budget and what it was spent on.

    Example:
        Band(start=0.0, end=0.1, shares={"answer": 0.3, "reasoning": 0.7})
    """

    start: float
    end: float
    shares: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A value over stretches of the budget.

    Example:
        HeatRow(name="add", cells=((0.0, 0.1, 0.25), (0.1, 0.2, 0.75)))
    """

    name: str
    cells: tuple[tuple[float, float, float], ...]  # start and end on the budget, value in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A value with its name, its interval (equal to the value where there is none) and the text beside it."""

    name: str
    value: float
    low: float
    high: float
    note: str


def line_chart(lines: Sequence[Line], *, salt: str, title: str, y_label: str, share: bool) -> str:
    """Lines over the share of the budget spent; `share` draws the y axis from 0 to 100%, otherwise logarithmic."""

    def draw(axes: Axes) -> None:
        for line in lines:
            colour = _TEXT if line.slot is None else colour_of(line.slot)
            style = "-" if line.slot is None else _STYLES[line.slot // COLOURS % len(_STYLES)]
            if line.band:
                low, high = zip(*line.band, strict=True)
                axes.fill_between(line.x, low, high, color=colour, alpha=0.13, linewidth=0)
            width = 2.2 if line.slot is None else 1.4
            axes.plot(line.x, line.y, style, color=colour, linewidth=width, marker="o", markersize=2.6)
        _budget_axis(axes)
        if share:
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        elif min((value for line in lines for value in line.y), default=0.0) > 0.0:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel(y_label)
        if len(lines) <= DIRECT_LABELS:
            _label_ends(axes, lines)

    return _svg(draw, height=2.9, salt=salt, title=title)


def mix_chart(bands: Sequence[Band], slots: dict[str, int], *, salt: str, title: str) -> str:
    """Shares stacked over the budget; what was spent beside training is left blank."""

    def draw(axes: Axes) -> None:
        for band in bands:
            bottom = 0.0
            for name, slot in slots.items():
                height = band.shares.get(name, 0.0)
                axes.bar(
                    band.start,
                    height,
                    width=band.end - band.start,
                    bottom=bottom,
                    align="edge",
                    color=colour_of(slot),
                    linewidth=0,
                    hatch=(None, "//", "..")[slot // COLOURS % 3],
                )
                bottom += height
        _budget_axis(axes)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel("share of training FLOPs")

    return _svg(draw, height=2.7, salt=salt, title=title)


def interval_chart(rows: Sequence[Row], *, salt: str, title: str) -> str:
    """A dot with its interval for every row, on an axis from 0 to 100%."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            axes.plot((row.low, row.high), (place, place), color=colour_of(0), linewidth=2, alpha=0.55)
            axes.plot(row.value, place, "o", color=colour_of(0), markersize=5)
            axes.annotate(
                row.note, (1.03, place), xycoords=("axes fraction", "data"), va="center", annotation_clip=False
            )
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        _name_rows(axes, rows)
        axes.grid(axis="x", color=_GRID, linewidth=0.7)

    return _svg(draw, height=0.62 + 0.25 * len(rows), salt=salt, title=title)


def bar_chart(rows: Sequence[Row], *, salt: str, title: str) -> str:
    """A horizontal bar for every row, on an axis from 0 to 100%."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            axes.barh(place, row.value, height=0.62, color=colour_of(0))
            axes.annotate(row.note, (row.value, place), xytext=(4, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("share of the budget")
        _name_rows(axes, rows)

    return _svg(draw, height=0.72 + 0.28 * len(rows), salt=salt, title=title)


def heat_chart(rows: Sequence[HeatRow], *, salt: str, title: str) -> str:
    """A strip for every row, from empty at 0 to full colour at 1, with its last value beside it."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            for start, end, value in row.cells:
                axes.barh(place, end - start, left=start, height=0.8, color=colour_of(0), alpha=value, linewidth=0)
            last = f"{row.cells[-1][2]:.0%}"
            axes.annotate(last, (1.03, place), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("share of the budget spent")
        _name_rows(axes, rows)

    return _svg(draw, height=0.72 + 0.23 * len(rows), salt=salt, title=title)


def legend(names: Sequence[tuple[str, int | None]]) -> str:
    """An HTML legend of (name, slot), which wraps where a chart cannot."""
    items = []
    for name, slot in names:
        colour = "currentColor" if slot is None else f"var(--c{slot % COLOURS})"
        style = "solid" if slot is None else ("solid", "dashed", "dotted")[slot // COLOURS % 3]
        items.append(f'<span><i style="border-top:3px {style} {colour}"></i>{html.escape(name)}</span>')
    return f'<p class="legend">{"".join(items)}</p>'


def colour_of(slot: int) -> str:
    """The placeholder of a series' colour."""
    return f"#fe01{slot % COLOURS:02x}"


def short_name(name: str) -> str:
    """A name that fits a chart."""
    return name if len(name) <= _LONGEST_NAME_CHARS else name[: _LONGEST_NAME_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _budget_axis(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("share of the budget spent")
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def _name_rows(axes: Axes, rows: Sequence[Row] | Sequence[HeatRow]) -> None:
    axes.set_yticks(range(len(rows)), [short_name(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _label_ends(axes: Axes, lines: Sequence[Line]) -> None:
    """Names at the right edge, moved apart where they would overlap."""
    to_axes = (axes.transData + axes.transAxes.inverted()).transform
    ends = sorted((float(to_axes((0.0, line.y[-1]))[1]), place) for place, line in enumerate(lines) if line.y)
    gap = 0.085
    heights: list[float] = []
    for height, _ in ends:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    overshoot = max(0.0, heights[-1] - 1.0) if heights else 0.0
    for index in range(len(heights) - 1, -1, -1):  # push down from the top what was pushed up too far
        ceiling = heights[-1] - overshoot if index == len(heights) - 1 else heights[index + 1] - gap
        heights[index] = min(heights[index], ceiling)
    for height, (_, place) in zip(heights, ends, strict=True):
        slot = lines[place].slot
        axes.text(
            1.02,
            height,
            short_name(lines[place].name),
            transform=axes.transAxes,
            va="center",
            color=_TEXT if slot is None else colour_of(slot),
            weight="bold" if slot is None else "normal",
        )


def _svg(draw: Callable[[Axes], None], *, height: float, salt: str, title: str) -> str:
    with matplotlib.rc_context(
        {
            "svg.hashsalt": salt,
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.size": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": _GRID,
            "xtick.color": _TEXT,
            "ytick.color": _TEXT,
            "text.color": _TEXT,
            "axes.labelcolor": _TEXT,
            "hatch.color": _GRID,
        }
    ):
        figure = Figure(figsize=(4.6, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return _inline(file.getvalue(), title)


def _inline(document: str, title: str) -> str:
    """An SVG document as an element of a page: no prolog, no fixed size, colours by variables, ids only where used."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    used = frozenset(re.findall(r'(?:url\(|href=")#([\w-]+)', svg))
    svg = re.sub(r' id="([\w-]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", svg, count=1)
    svg = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
    svg = svg.replace(_TEXT, "currentColor").replace(_GRID, "var(--line)")
    return re.sub(r"#fe01(0[0-6])", lambda match: f"var(--c{int(match[1])})", svg)
