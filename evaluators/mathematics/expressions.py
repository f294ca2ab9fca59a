r"""The outer form of a mathematical answer, read from its tokens: brackets, items, equations, the unit behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from evaluators.mathematics.notation import FUNCTIONS, begins_operand, closing, depths, is_number, plain, tokenize

RELATIONS = ("=", "<", ">", "\\le", "\\ge")

Tokens = tuple[str, ...]
Judgement = Literal["same", "different", "undecided"]
"""Of two answers; undecided wherever either of the others would be a guess."""

_SHORT_UNIT = r"(?:sq\.? |cu\.? )?(?:km|cm|mm|nm|kg|mg|ml|mL|ft|in|yd|mi|lb|oz|hr|min|sec|ms|mph|Hz|usd|USD|rad|deg)"
_UNIT = re.compile(
    r"(?:\s*(?P<degrees>\^\\circ\s*[CF]?)|\s*(?P<percent>%|percent)"
    rf"|(?<=[\s\d}})\]])(?P<word>[A-Za-z]{{4,}}(?:[ /-][A-Za-z]+){{0,2}}|{_SHORT_UNIT})(?P<power>\^\{{?[23]\}}?)?)\s*$"
)
_NOT_UNITS = re.compile(
    r"\b(infinity|theta|alpha|beta|lambda|sqrt|thousand|million|billion|trillion|hundred|dozen|half|halves|thirds?|"
    r"quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|squared|cubed|"
    r"factorial|plus|minus|times|over|where|when|with|choose|pairs?|more|less|than|arcsin|arccos|arctan|and|or|to|of)\b"
)
_ANGLED = FUNCTIONS - {"\\frac", "\\sqrt"}
"""Functions of which a degree sign may belong to the argument."""


@dataclass(frozen=True, kw_only=True)
class Form:
    r"""An answer taken apart.

    Example: "(0, \frac{1}{2}]" is
        Form(opening="(", closing="]", items=(("0",), ("\\frac", "{", "1", "}", "{", "2", "}")), unit="")
    """

    opening: str  # "(", "[", "\\{", or "" where no brackets stand around the list
    closing: str
    items: tuple[Tokens, ...]
    unit: str  # "%", "\N{DEGREE SIGN}", words, or ""


def read(text: str) -> list[Form] | None:
    r"""The pieces of an answer that `\cup` joins, mostly one; None where it cannot be read in one sure way."""
    text = plain(text)
    unit = ""
    if match := _UNIT.search(text):
        text, unit = text[: match.start()], _unit(match)
        if _NOT_UNITS.search(unit):
            return None
    tokens = tokenize(text)
    if tokens is None or (unit[:1] == "\N{DEGREE SIGN}" and _ANGLED.intersection(tokens)):
        return None
    if tokens[1:2] == ("\\in",):
        tokens = tokens[2:]
    forms = [_form(piece, unit) for piece in _split(tokens, ("\\cup",))]
    return forms if all(form.items and all(form.items) for form in forms) else None


def sides(item: Tokens) -> tuple[list[Tokens], Tokens]:
    """An item split at its relations: the sides, and the relations between them."""
    relations = tuple(token for token, depth in depths(item) if depth == 0 and token in RELATIONS)
    return _split(item, RELATIONS), relations


def is_name(tokens: Tokens) -> bool:
    r"""Whether tokens are a variable or a function of one: x, \theta, x_{1}, f(x)."""
    if not tokens or not (tokens[0].isalpha() or tokens[0].startswith("\\")) or tokens[0] in ("e", "i", "\\pi"):
        return False
    rest = tokens[1:]
    subscript = len(rest) == 4 and rest[:2] == ("_", "{")
    argument = len(rest) == 3 and rest[0] == "(" and rest[1].isalpha()
    return not rest or subscript or argument


def bare_logarithm(forms: Sequence[Form]) -> bool:
    """Whether a logarithm stands without its base."""
    tokens = [token for form in forms for item in form.items for token in (*item, "")]
    return any(token == "\\log" and after != "_" for token, after in pairwise(tokens))


def latex(tokens: Tokens) -> str:
    """Tokens as LaTeX, products written out where a parser may see a mixed number or a function."""
    written: list[str] = []
    for position, token in enumerate(tokens):
        before = tokens[position - 1] if position else ""
        if (
            (is_number(before) and token in ("(", "\\frac"))
            or (before == ")" and begins_operand(token))
            or (before == "}" and token == "(" and not _of_function(tokens, position - 1))
        ):
            written.append("\\cdot")
        written.append(token)
    return " ".join(written)


def _of_function(tokens: Tokens, close: int) -> bool:
    r"""Whether the braces that close here are a power or base of a function, as in `\sin^{2}(x)`."""
    depth = 0
    for position in range(close, -1, -1):
        depth += (tokens[position] == "}") - (tokens[position] == "{")
        if depth == 0:
            return position > 1 and tokens[position - 1] in ("^", "_") and tokens[position - 2] in FUNCTIONS
    return False


def _form(tokens: Tokens, unit: str) -> Form:
    if tokens and closing(tokens, 0) == len(tokens) - 1:
        inside = _split(tokens[1:-1], (",", ";"))
        if tokens[0] == "\\{" or (tokens[0] in ("(", "[") and len(inside) > 1):
            return Form(opening=tokens[0], closing=tokens[-1], items=_items(inside), unit=unit)
    equation = _split(tokens, ("=",))
    if len(equation) > 1 and all(len(_split(side, (",", ";"))) == 1 for side in equation):
        last = _form(equation[-1], unit)
        if last.opening:  # (x, y) = (1, 2)
            return last
    items = [item for item in _split(tokens, (",", ";")) if item]
    return Form(opening="", closing="", items=_items(items), unit=unit)


def _items(items: list[Tokens]) -> tuple[Tokens, ...]:
    r"""The items, those with one \pm in them twice: with plus and with minus."""
    written: list[Tokens] = []
    for item in items:
        if item.count("\\pm") == 1:
            place = item.index("\\pm")
            for sign in ("+", "-"):
                signed = () if sign == "+" and (place == 0 or item[place - 1] in RELATIONS) else (sign,)
                written.append((*item[:place], *signed, *item[place + 1 :]))
        else:
            written.append(item)
    return tuple(written)


def _unit(match: re.Match[str]) -> str:
    if match["percent"]:
        return "%"
    if match["degrees"]:
        return match["degrees"].replace("^\\circ", "\N{DEGREE SIGN}").replace(" ", "")
    word = match["word"]
    power = (match["power"] or "").replace("{", "").replace("}", "")
    return (word.casefold().rstrip("s") if len(word) > 3 else word) + power


def _split(tokens: Tokens, separators: tuple[str, ...]) -> list[Tokens]:
    """The stretches between separators that stand outside all brackets."""
    parts: list[list[str]] = [[]]
    for token, depth in depths(tokens):
        if depth == 0 and token in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    return [tuple(part) for part in parts]
