"""The frame of a report: one HTML file with its style and its script, which the browser lets do nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from experiments.page.markup import Html, joined, note, tag

_HERE = Path(__file__).parent


def section(key: str, title: str, question: str, *parts: str) -> Html:
    """A part of the page that its contents lead to: a title and the question it answers."""
    asked = tag("p", question, class_="question") if question else ""
    return tag("section", tag("h2", title), asked, *parts, id=key)


def cards(figures: Sequence[tuple[str, str, str]]) -> Html:
    """Figures that stand out: (what, how much, more about it)."""
    shown = [tag("div", tag("span", name), tag("b", value), tag("small", more)) for name, value, more in figures]
    return tag("div", *shown, class_="cards") if shown else Html("")


def page(*, title: str, lead: Sequence[str], contents: Sequence[tuple[str, str]], body: Sequence[str]) -> str:
    """The whole file.

    The policy in its head allows the style and the script below by their hashes, and nothing from anywhere else: no
    request, no frame, no form, no style or script that a text might bring along.

    Args:
        lead: what was found, a paragraph each.
        contents: (id, title) of the sections.
    """
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Html(style)),
    )
    links = [tag("a", name, href=f"#{key}") for key, name in contents]
    header = tag("header", tag("h1", title), *(tag("p", words, class_="lead") for words in lead), class_="top")
    navigation = tag("nav", *links, aria_label="contents") if len(links) > 1 else ""
    footer = tag("footer", note("Written by experiments.report. This file asks nothing of a network."))
    inside = joined([header, navigation, tag("main", *body), footer, tag("script", Html(script))])
    whole = f'<!DOCTYPE html>\n<html lang="en">{head}<body>{inside}</body></html>\n'
    return whole.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair, which an output may end in


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
