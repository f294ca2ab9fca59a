"""A description as one picture: lengths, ratios, verdicts and cost, a row for every supervision.

Drawn on a light ground of its own, so that it reads the same on a light page and on a dark one. The colours are the
report's (experiments.page); they keep their order in luminance, and verdicts differ by hatching too, so that nothing
hangs on telling red from green.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from curricula.description.description import Description, Lengths, Offered
from curricula.types import Cost, Supervision, Verdict
from experiments.corpora.tables import dollars_text
from experiments.page.svg import short_name
from experiments.summary import flops_text, share_text

BACK, FRONT, SOFT, LINE = "#fcfcfa", "#1d2126", "#5b636d", "#dcdfe3"
BLUE, LIGHT_BLUE, VERMILION, OCHRE = "#0072b2", "#9cc8e3", "#d55e00", "#e3b23c"
DOTS_PER_INCH = 110
MOST_ROWS = 24
_VERDICTS: tuple[tuple[str, tuple[Verdict, ...], str, str], ...] = (
    ("found right", ("exact", "numeric", "choice", "math"), BLUE, ""),
    ("right by its source", ("declared",), LIGHT_BLUE, ""),
    ("unchecked", ("unchecked",), LINE, ""),
    ("no answer", ("no_answer",), OCHRE, "///"),
    ("wrong", ("wrong",), VERMILION, "xxx"),
)


def draw(description: Description, folder: Path) -> tuple[Path, Path]:
    """Write description.png and description.svg to a folder that is there; returns both.

    Raises:
        OSError: they cannot be written.
    """
    parts = description.offered[:MOST_ROWS]
    with matplotlib.rc_context(
        {
            "svg.hashsalt": "description",
            "svg.fonttype": "none",  # text stays text: a sixth of the size, and it can be searched
            "font.size": 9.5,
            "text.parse_math": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.spines.left": False,
            "axes.edgecolor": LINE,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.titlecolor": FRONT,
            "xtick.color": SOFT,
            "ytick.color": FRONT,
            "text.color": FRONT,
            "axes.labelcolor": SOFT,
            "hatch.color": BACK,
            "hatch.linewidth": 1.1,
            "figure.facecolor": BACK,
            "axes.facecolor": BACK,
            "savefig.facecolor": BACK,
        }
    ):
        # The panels of a row share their names, which stand once, on the left.
        figure = Figure(figsize=(10.4, 3.3 + 0.56 * len(parts)), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.12))
        FigureCanvasAgg(figure)
        figure.suptitle(_title(description), x=0.012, ha="left", fontsize=12.5, weight="bold")
        grid = figure.subplots(2, 2, sharey="row", height_ratios=(len(parts) + 1, len(parts)), width_ratios=(1, 1.08))
        _draw_lengths(grid[0][0], description, parts)
        _draw_ratios(grid[0][1], parts)
        _draw_verdicts(grid[1][0], parts)
        _draw_costs(grid[1][1], description, parts)
        for axes, names in ((grid[0][0], ["(prompt)"]), (grid[1][0], [])):
            _name_rows(axes, [*names, *(part.supervision for part in parts)])
        for axes in grid.flat:
            axes.tick_params(axis="y", length=0)
            axes.tick_params(axis="x", color=LINE)
            axes.grid(axis="x", color=LINE, linewidth=0.7)
            axes.set_axisbelow(True)
        return (_save(figure, folder / "description.png"), _save(figure, folder / "description.svg"))


def _save(figure: Figure, path: Path) -> Path:
    """Write under another name, then rename: a reader sees the whole file or none."""
    aside = path.with_name(f".{path.stem}.part{path.suffix}")
    kind = path.suffix.removeprefix(".")
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(aside, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    os.replace(aside, path)
    return path


def _title(description: Description) -> str:
    shown = f", {MOST_ROWS} of {len(description.offered)} supervisions" if len(description.offered) > MOST_ROWS else ""
    return f"{description.name}: {description.examples:,} examples, {description.targets:,} targets{shown}"


def _draw_lengths(axes: Axes, description: Description, parts: Sequence[Offered]) -> None:
    """A bar from 10% to 90%, a line to 99%, a tick at the longest, a dot at the median."""
    counted = description.tokenizer is not None
    rows = [("(prompt)", description.prompt_tokens or description.prompt_chars)]
    rows += [(part.supervision, part.tokens or part.chars) for part in parts]
    for place, (name, lengths) in enumerate(rows):
        colour = SOFT if place == 0 else _colour(name)
        _draw_spread(axes, place, lengths, colour)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if description.max_tokens is not None:
        axes.axvline(description.max_tokens, color=FRONT, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"training row {description.max_tokens:,}",
            (description.max_tokens, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8.5,
            color=SOFT,
        )
    axes.set_title("Length")
    unit = f"tokens of {short_name(Path(description.tokenizer or '').name)}" if counted else "characters"
    axes.set_xlabel(f"{unit}: 10% to 90%, median, 99%, longest")


def _draw_spread(axes: Axes, place: int, lengths: Lengths, colour: str) -> None:
    low, middle, high, top, most = (
        max(value, 0.8) for value in (lengths.p10, lengths.p50, lengths.p90, lengths.p99, lengths.most)
    )
    axes.plot((high, top), (place, place), color=colour, linewidth=1.3, solid_capstyle="butt")
    axes.plot((low, high), (place, place), color=colour, linewidth=8, alpha=0.4, solid_capstyle="butt")
    axes.plot(middle, place, "o", color=colour, markersize=5.5)
    axes.plot(most, place, "|", color=colour, markersize=9, markeredgewidth=1.4)


def _draw_ratios(axes: Axes, parts: Sequence[Offered]) -> None:
    """Paired length over the reference's; a diamond where the compressor's own measure is stored."""
    references = sorted({part.reference for part in parts if part.reference is not None})
    whose = references[0] if len(references) == 1 else "the same teacher's trace"
    axes.set_title(f"Length over that of {short_name(whose)}")
    largest, stored_any = 1.0, False
    for place, part in enumerate(parts, start=1):  # beside its lengths, below those of the prompts
        ratios = part.token_ratios or part.char_ratios
        stored = part.stored_token_ratios or part.stored_char_ratios
        if ratios is None:
            axes.annotate(
                "reference" if part.reference is None else "on no example both", (0.02, place), va="center", color=SOFT
            )
        else:
            colour = _colour(part.supervision)
            axes.plot((ratios.p10, ratios.p90), (place, place), color=colour, linewidth=8, alpha=0.4)
            axes.plot(ratios.p50, place, "o", color=colour, markersize=5.5)
            largest = max(largest, ratios.p90)
        if stored is not None:
            stored_any = True
            axes.plot(stored.p50, place, "D", color=BACK, markeredgecolor=FRONT, markersize=5, markeredgewidth=1.1)
        if (asked := Supervision.parse(part.supervision).ratio) is not None:
            axes.plot((asked, asked), (place - 0.32, place + 0.32), color=FRONT, linewidth=1, linestyle=(0, (2, 1.5)))
    axes.axvline(1.0, color=LINE, linewidth=1)
    axes.set_xlim(0, largest * 1.06)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    unit = "tokens" if any(part.token_ratios for part in parts) else "characters"
    notes = [f"{unit}: 10% to 90%, median"]
    if stored_any:
        notes.append("\N{WHITE DIAMOND} stored")
    if any(Supervision.parse(part.supervision).ratio is not None for part in parts):
        notes.append("\N{BOX DRAWINGS LIGHT TRIPLE DASH VERTICAL} asked")
    axes.set_xlabel("  ".join(notes))


def _draw_verdicts(axes: Axes, parts: Sequence[Offered]) -> None:
    """Shares of the targets by what is known of their answers."""
    axes.set_title("Final answers")
    shown = [group for group in _VERDICTS if any(part.verdicts.get(name) for part in parts for name in group[1])]
    for place, part in enumerate(parts):
        start = 0.0
        for _, names, colour, hatch in shown:
            share = sum(part.verdicts.get(name, 0) for name in names) / part.targets
            axes.barh(place, share, left=start, height=0.62, color=colour, hatch=hatch, linewidth=0)
            start += share
        wrong = sum(part.verdicts.get(name, 0) for name in ("wrong", "no_answer"))
        note = f"n={part.targets:,}" + (f", {share_text(wrong / part.targets)} wrong" if wrong else "")
        axes.annotate(note, (1.015, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5, color=SOFT)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    patches = [Patch(facecolor=colour, hatch=hatch, label=label) for label, _, colour, hatch in shown]
    axes.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.13),
        ncols=3,
        frameon=False,
        fontsize=8.5,
        handlelength=1.3,
        columnspacing=1.2,
    )


def _draw_costs(axes: Axes, description: Description, parts: Sequence[Offered]) -> None:
    """What one target cost, teaching and compressing."""
    axes.set_title("Cost of a target")
    unit = _unit(parts)
    if unit is None:
        axes.annotate(
            "none is recorded",
            (0.5, 0.5),
            xycoords="axes fraction",
            ha="center",
            va="center",
            color=SOFT,
            fontsize=10.5,
        )
        axes.set_axis_off()
        axes.set_title("Cost of a target")
        return
    largest = 0.0
    for place, part in enumerate(parts):
        teach, compress = (_amount(cost, unit) / part.targets for cost in (part.teach, part.compress))
        axes.barh(place, teach, height=0.62, color=BLUE, linewidth=0)
        axes.barh(place, compress, left=teach, height=0.62, color=OCHRE, hatch="///", linewidth=0)
        note = _amount_text(teach + compress, unit) if teach + compress else "none"
        axes.annotate(
            note, (teach + compress, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5
        )
        largest = max(largest, teach + compress)
    axes.set_xlim(0, largest * 1.22)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _amount_text(value, unit)))
    totals = [
        f"{label} {_amount_text(_amount(cost, unit), unit)} in all"
        for label, cost in (("teach", description.teach), ("compress", description.compress))
    ]
    patches = [
        Patch(facecolor=BLUE, label=totals[0]),
        Patch(facecolor=OCHRE, hatch="///", label=totals[1]),
    ]
    axes.set_xlabel(unit)
    axes.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.2),
        ncols=2,
        frameon=False,
        fontsize=8.5,
        handlelength=1.3,
        columnspacing=1.2,
    )


def _unit(parts: Sequence[Offered]) -> str | None:
    """The unit in which most of the costs are known: FLOPs, tokens or dollars; None where there are no costs."""
    costs = [cost for part in parts for cost in (part.teach, part.compress)]
    known = {unit: sum(_amount(cost, unit) > 0 for cost in costs) for unit in ("FLOPs", "tokens", "dollars")}
    best = max(known, key=lambda unit: known[unit])
    return best if known[best] else None


def _amount(cost: Cost, unit: str) -> float:
    return {"FLOPs": float(cost.flops), "dollars": cost.dollars, "tokens": float(cost.tokens)}[unit]


def _amount_text(amount: float, unit: str) -> str:
    if unit == "FLOPs":
        return flops_text(amount)
    return dollars_text(amount) if unit == "dollars" else f"{amount:,.0f}"


def _colour(supervision: str) -> str:
    """Thinking targets in one colour, the others in another: the names beside them tell the rest."""
    return BLUE if Supervision.parse(supervision).thinks else VERMILION


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [short_name(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
