"""Which layout some rows have, and layouts by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from curricula.layouts.conversation import Messages, ShareGPT
from curricula.layouts.gsm8k import GSM8K
from curricula.layouts.instruction import Alpaca, PromptCompletion
from curricula.layouts.layout import Layout
from curricula.layouts.mixchain import MixChain
from curricula.layouts.openr1 import OpenR1Math
from curricula.layouts.openthoughts import OpenThoughts, OpenThoughtsMetadata
from curricula.layouts.own import Own
from curricula.layouts.paired import Paired
from curricula.layouts.problem_solution import LongSolutions, ShortSolutions
from curricula.layouts.s1k import S1K

LAYOUTS: tuple[Layout, ...] = (
    Own(),
    OpenR1Math(),
    S1K(),
    MixChain(),
    Paired(),
    OpenThoughtsMetadata(),
    OpenThoughts(),
    GSM8K(),
    ShortSolutions(),
    LongSolutions(),
    Alpaca(),
    PromptCompletion(),
    Messages(),
    ShareGPT(),
)
"""Every known layout, the most specific first."""


def layout_named(name: str) -> Layout:
    """The layout of that name, with its default options.

    Raises:
        ValueError: there is none; the message gives the nearest names, else all.
    """
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    names = [layout.name for layout in LAYOUTS]
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    asked = f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(names)}"
    raise ValueError(f"unknown layout {name!r}{asked}")


def detect(rows: Sequence[Mapping[str, object]]) -> Layout:
    """The layout that fits most of the rows, and at least half of them; of equals the most specific.

    A few rows of another form do not decide: they are dropped and counted when they are read. `short-solutions` and
    `long-solutions` have the same columns, and the first is taken; name the other.

    Raises:
        ValueError: there is no row, or no layout fits half of them; the message lists the columns found.
    """
    if not rows:
        raise ValueError("no row to tell the layout from; the source is empty, or none of its rows could be read")
    counts = [sum(layout.fits(row) for row in rows) for layout in LAYOUTS]
    best = max(counts)
    if 2 * best >= len(rows):
        return LAYOUTS[counts.index(best)]
    columns = dict.fromkeys(str(name) for row in rows for name in row)
    known = "; ".join(f"{layout.name}: {', '.join(layout.columns)}" for layout in LAYOUTS)
    raise ValueError(
        f"no known layout has the columns {', '.join(columns)}. Name them by hand, as in --columns.prompt question "
        f"--columns.answer gold --columns.completion output, or name a layout. Known are {known}"
    )
