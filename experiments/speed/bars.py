"""The bars that the trainer's figures are held against, and the tables that show both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from experiments.speed.figures import Figures, median_speed, ratio, utilisation
from experiments.speed.sides import SIDES, Played


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a figure should be.

    Example:
        Bar(what="seconds to the next stage", below=0.1).verdict(0.2)  # "MISS"
    """

    what: str  # for people
    at_least: float | None = None
    below: float | None = None

    @property
    def text(self) -> str:
        """The bar as it is shown; empty where there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.below is None else f"under {self.below:g}"

    def verdict(self, figure: float) -> str:
        """pass or MISS; empty where there is no bar."""
        if not self.text:
            return ""
        holds = figure >= self.at_least if self.at_least is not None else figure < (self.below or 0.0)
        return "pass" if holds else "MISS"


BARS: dict[str, Bar] = {
    "tiny_similar_vs_default": Bar(what="tiny, similar lengths: over plain TRL", at_least=1.05),
    "tiny_similar_vs_bare_loop": Bar(what="tiny, similar lengths: over a bare loop", at_least=0.95),
    "tiny_mixed_vs_default": Bar(what="tiny, all supervisions: over plain TRL", at_least=2.5),
    "tiny_mixed_vs_grouped": Bar(what="tiny, all supervisions: over TRL by length", at_least=1.1),
    "smollm_similar_vs_default": Bar(what="SmolLM2, similar lengths: over plain TRL", at_least=1.15),
    "smollm_mixed_vs_default": Bar(what="SmolLM2, all supervisions: over plain TRL", at_least=2.5),
    "two_actors_vs_one": Bar(what="two actors on two cores over one on one", at_least=1.8),
    "next_stage_warm": Bar(what="seconds to the next stage's first step, ours", below=0.1),
    "next_stage_plain_trl": Bar(what="the same, a TRL trainer built anew"),
    "actor_cold_start": Bar(what="seconds from no actor to its first steps", below=12.0),
    "plan_million_fixed": Bar(what="seconds to plan a stage of many rows, Fixed", below=0.3),
    "plan_million_mixed": Bar(what="the same, Mixed", below=0.3),
    "plan_million_routed": Bar(what="the same, Routed", below=3.0),
    "plan_million_adaptive": Bar(what="the same, Adaptive", below=3.0),
    "controller": Bar(what="controller's share of a run", below=0.01),
}
"""By the figure's name."""


def verdicts(figures: Figures) -> dict[str, str]:
    """Every figure that has a bar: the bar, and whether it holds."""
    return {
        name: f"{BARS[name].text}: {BARS[name].verdict(figure)}"
        for name, figure in figures.all().items()
        if name in BARS and BARS[name].text
    }


def speed_table(played: Sequence[Played]) -> Table:
    """Every side's speed, and ours over it, by both clocks."""
    table = Table(title="unpadded tokens a second, medians", title_justify="left")
    table.add_column("student, rows", overflow="fold")
    table.add_column("side", no_wrap=True)
    for heading in ("tokens/s", "ours\nover it", "by CPU\ntime", "tokens\na step", "padding", "MFU"):
        table.add_column(heading, justify="right")
    for match in played:
        for side in SIDES:
            share = utilisation(match, side)
            own = [one for one in match.rounds if one.side == side]
            table.add_row(
                f"{match.match.name}, {match.match.rows}",
                side,
                f"{median_speed(match, side):,.0f}",
                f"{ratio(match, side):.2f}",
                f"{ratio(match, side, by_cpu=True):.2f}",
                f"{statistics.mean(one.tokens / one.steps for one in own):.0f}",
                f"{1 - sum(one.tokens for one in own) / sum(one.positions for one in own):.0%}",
                "" if share is None else f"{share:.1%}",
            )
    return table


def bars_table(figures: Figures) -> Table:
    """Every figure beside its bar."""
    table = Table(title="figures and bars", title_justify="left")
    table.add_column("figure")
    for heading in ("measured", "bar"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    found = figures.all()
    for name, bar in BARS.items():
        if name in found:
            table.add_row(bar.what, f"{found[name]:.3g}", bar.text, bar.verdict(found[name]))
    return table
