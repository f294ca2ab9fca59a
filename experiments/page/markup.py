"""HTML and SVG as text that cannot be escaped by mistake: what is not markup already is escaped where it enters."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_VOID = frozenset({"br", "hr", "input", "link", "meta"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Text as markup; markup as it is.

    Example:
        >>> escaped("a < b"), escaped(Html("<b>"))
        ('a &lt; b', '<b>')
    """
    return text if isinstance(text, Html) else Html(html.escape(text))


def joined(parts: Iterable[str]) -> Html:
    """Parts in a row, each escaped unless it is markup."""
    return Html("".join(escaped(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """An element. Attributes that are None are left out; `class_` is class, and `data_tip` is data-tip.

    Example:
        >>> tag("td", "a < b", class_="wide")
        '<td class="wide">a &lt; b</td>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value if isinstance(value, str) else coordinate(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    end = "" if name in _VOID else f"{joined(children)}</{name}>"
    return Html(f"<{name}{written}>{end}")


def coordinate(value: float) -> str:
    """A length in a drawing, to a tenth of its unit.

    Example:
        >>> coordinate(12.04), coordinate(3)
        ('12', '3')
    """
    return f"{value:.1f}".removesuffix(".0")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric_from: int = 1, class_: str = "") -> Html:
    """A table in a box that scrolls by itself, its first column the heads of its rows.

    Args:
        numeric_from: the first column that is aligned to the right; len(header) for none.
    """

    def row(cells: Sequence[str]) -> Html:
        return tag(
            "tr",
            tag("th", cells[0], scope="row"),
            *(
                tag("td", cell, class_="n" if place >= numeric_from else None)
                for place, cell in enumerate(cells[1:], start=1)
            ),
        )

    head = [
        tag("th", name, scope="col", class_="n" if place >= numeric_from else None) for place, name in enumerate(header)
    ]
    body = tag("tbody", *map(row, rows))
    inside = tag("table", tag("thead", tag("tr", *head)), body, class_=class_ or None)
    return tag("div", inside, class_="table", tabindex="0", role="region", aria_label=f"table: {header[0]} and more")


def note(*parts: str) -> Html:
    """A paragraph that says how to read what stands above it."""
    return tag("p", *parts, class_="note")


def figure(title: str, chart: str, *notes: str) -> Html:
    """A chart with its title and notes; nothing where there is no chart."""
    if not chart:
        return Html("")
    return tag("figure", tag("h3", title), chart, *(note(text) for text in notes if text))


def folded(title: str, *parts: str) -> Html:
    """Parts behind a line that opens them."""
    return tag("details", tag("summary", title), *parts)
