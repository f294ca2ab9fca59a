"""What a model answered, and whether that is right: exact rules on text, no model, no judgement.

    text --think tags--> rest --marks--> answer --compare--> right or wrong

Marks, the last of which wins: `#### x`, `\\boxed{x}`, "answer is x", "Answer: x" (of a choice also "option is", "choice
is"). Where there is none, a choice is the last line that opens with a letter ("B", "(B)", "B) text"), and anything
else is the last line that is not blank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from curricula.rendering import THINK_CLOSE, THINK_OPEN
from curricula.types import AnswerKind

_HASHES = re.compile(r"####[ \t]*(?=\S)")
_SAYS = r"\**\s*(?:is\b\s*:?|:|=)\**\s*(?=\S)"
_PHRASE = {
    "open": re.compile(rf"\banswer{_SAYS}", re.IGNORECASE),
    "choice": re.compile(rf"\b(?:answer|option|choice){_SAYS}", re.IGNORECASE),
}
_BOXED = re.compile(r"\\boxed\s*(?=\{)")
_BRACE = re.compile(r"[{}]")
_SENTENCE_END = re.compile(r"[.!?](?=\s)")
_LETTER_ALONE = re.compile(r"[(\[]?(?P<letter>[A-Za-z])[)\]]?[.:,;!]?")
_LETTER_FIRST = re.compile(r"(?:[(\[](?P<closed>[A-Za-z])[)\]]|(?P<open>[A-Za-z])[).:](?=\s)).*", re.DOTALL)
_WRAPPERS = (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ('"', '"'), ("'", "'"))
_LAYERS = 12
"""Of wrapping that are taken off at most: a megabyte of quotes would take hours."""
_Extent = Literal["line", "sentence", "box"]
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{(?P<inside>[^{}]*)\}")
_PLAIN = r"-?(?:[0-9.,]+|[A-Za-z]|\\[A-Za-z]+)"
_FRACTION = re.compile(
    rf"(?P<before>(?:[A-Za-z]\s*=)?[\s$(+-]*)\\[dt]?frac\s*\{{\s*(?P<over>{_PLAIN})\s*\}}"
    rf"\s*\{{\s*(?P<under>{_PLAIN})\s*\}}(?P<after>(?![A-Za-z])[^\\{{}}^_/\d(]*)"
)
"""A fraction of two plain things, alone: anywhere else, as in 2\\frac{1}{2}, a slash would change its value."""
_THIN_SPACE = re.compile(r"(?<=[0-9])\\[,!](?=[0-9]{3}(?![0-9]))")
_TYPOGRAPHY = (("\\$", "$"), ("\\%", "%"), ("\\,", " "), ("\\!", ""), ("{,}", ","))
_DIGITS = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*[$€£¥]?\s*(?P<inner_sign>-?)(?P<over>{_DIGITS})"
    rf"(?:[eE](?P<exponent>[-+]?[0-9]{{1,3}})|\s*/\s*(?P<under>{_DIGITS}))?"
    r"\s*(?P<unit>%|°[CF]?|[^\W\d_]+(?:[ /-][^\W\d_]+){0,2}[²³]?|)"
)
_CODE = re.compile(r"[-+]?0[0-9].*")
_VARIABLE = re.compile(r"[A-Za-z]\s*=\s*")
_LONGEST_NUMBER_CHARS = 200
_NOT_UNITS = re.compile(
    r"\b(x|y|z|n|i|e|k|pi|and|or|to|of|plus|minus|times|over|point|squared|cubed|factorial|half|dozen|hundred|thousand|"
    r"million|billion|trillion|choose|(quarter|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|"
    r"pair|lakh|crore)s?)\b|[\u0370-\u03ff]"
)
"""Words and Greek letters behind a number that change its value: "7 and a half" or "3 million" is not 7 or 3."""
_SHORT_UNIT = re.compile(
    r"[kcmn]m|[km]g|[mcd]l|ft|in|yd|mi|lbs?|oz|hrs?|min|sec|ms|hz|k[wv]|mw|[gmkt]b|mph|km?ph|kmh|usd|eur|gbp|rs|[ap]m|"
    r"st|nd|rd|th|sq|cu|mol|rad|deg"
)
"""Units of two or three letters. Other letters right behind a number may be variables: 12ab is not 12."""
_LETTER_UNITS = "mgshljwvcfd"
"""Units of one letter, known as such by the blank before them: 5 m is 5, and 5m may be five times m."""


@dataclass(frozen=True, kw_only=True)
class _Number:
    """A number with the unit that was written behind it ("" where none)."""

    value: Fraction
    unit: str
    variable: str  # the x of "x = 5", "" where none


@dataclass(frozen=True, kw_only=True)
class Given:
    """The piece of text that gives an answer.

    Example:
        >>> find_answer("It costs 3.\\nThe answer is **7**.", "open")
        Given(text='7', marked=True)
    """

    text: str  # without the typography around it
    marked: bool  # by "answer is" or the like; otherwise it is the last line


def extract_answer(text: str, kind: AnswerKind) -> str | None:
    """The final answer a text gives: for `choice` an upper-case letter where one was given, else the words.

    Only what follows the think block counts. A marked answer ends with its line or its sentence.

    Returns:
        None where the text gives no answer: nothing but blanks, or a think block that was never closed.

    Example:
        >>> extract_answer("<think>3+4=7</think>The answer is 7.", "open")
        '7'
        >>> extract_answer("(b) Paris", "choice")
        'B'
    """
    given = find_answer(text, kind)
    if given is None:
        return None
    return (_letter(given.text) or given.text) if kind == "choice" else given.text


def is_correct(text: str, answer: str, kind: AnswerKind, choices: tuple[str, ...] = ()) -> bool:
    """Whether the final answer of `text` is `answer`.

    Open answers are compared as numbers where both are numbers (1,234 = 1234.0; a currency sign and a unit that
    only one of them carries are passed over), else as text without case and with blanks collapsed. A reference
    with a leading zero ("021") is a code, not a number. A choice is right by its letter or by its exact text;
    `answer` itself may be either, and counts as text first unless it is one letter.

    Raises:
        ValueError: a choice's reference is neither the letter nor the text of one of `choices`.
    """
    given = find_answer(text, kind)
    if kind == "choice":
        return same_choice("" if given is None else given.text, answer, choices) and given is not None
    return given is not None and same_answer(given.text, answer)


def same_choice(given: str, reference: str, choices: tuple[str, ...]) -> bool:
    """Whether two answers name the same choice, by the rules of `is_correct`.

    Raises:
        ValueError: the reference is neither the letter nor the text of one of `choices`.
    """
    right = choice_index(reference, choices)
    if right is None:
        raise ValueError(f"answer {reference!r} is neither the letter nor the text of one of the choices {choices}")
    return choice_index(given, choices) == right


def same_answer(given: str, reference: str) -> bool:
    """Whether two open answers mean the same, by the rules of `is_correct`."""
    same = same_number(given, reference)
    return same_text(given, reference) if same is None else same


def same_text(given: str, reference: str, *, any_case: bool = True) -> bool:
    """Whether two answers are one text, blanks collapsed and typography taken off, by default without case."""
    if any_case:
        return _folded(given) == _folded(reference)
    return bare(given).split() == bare(reference).split()


def is_number(text: str) -> bool:
    """Whether a text is one number, with or without a unit."""
    return _number(text) is not None


def same_number(given: str, reference: str) -> bool | None:
    """Whether two answers are the same number, by the rules of `is_correct`; None where one is anything else."""
    wanted = None if _CODE.fullmatch(bare(reference)) else _number(reference)
    found = _number(given) if wanted is not None else None
    if wanted is None or found is None:
        return None
    if wanted.variable and found.variable and wanted.variable != found.variable:
        return False
    if {wanted.unit, found.unit} == {"%", ""}:  # 50% is 0.5, and stands for 50 where the question asks for percent
        smaller, larger = (wanted, found) if wanted.unit == "" else (found, wanted)
        return smaller.value in (larger.value, larger.value / 100)
    units_agree = not wanted.unit or not found.unit or wanted.unit == found.unit
    return wanted.value == found.value and units_agree


def find_answer(text: str, kind: AnswerKind) -> Given | None:
    """The piece of text that gives the final answer, by the rules of `extract_answer`; None where there is none."""
    rest = text.rpartition(THINK_CLOSE)[2]  # not split_thinking's rest, which keeps what stands before the block
    if THINK_OPEN in rest:
        return None
    marks = sorted(_marks(rest, kind), reverse=True)
    closing = _closing_braces(rest) if any(extent == "box" for _, extent in marks) else {}
    for start, extent in marks:  # the last counts, and the others are not read
        if marked := bare(_marked(rest, start, extent, closing)):
            return Given(text=marked, marked=True)
    lines = [line for line in reversed(rest.splitlines()) if line and not line.isspace()]
    named = (stripped for line in lines if _letter(stripped := bare(line))) if kind == "choice" else iter(())
    last = next(named, None) or next((stripped for line in lines if (stripped := bare(line))), None)
    return None if last is None else Given(text=last, marked=False)


def _marks(text: str, kind: AnswerKind) -> Iterator[tuple[int, _Extent]]:
    """Where what an explicit mark points at begins, and how far it goes, for every mark."""
    for match in _HASHES.finditer(text):
        yield match.end(), "line"
    for match in _PHRASE[kind].finditer(text):
        yield match.end(), "sentence"
    for match in _BOXED.finditer(text):
        yield match.end(), "box"


def _marked(text: str, start: int, extent: _Extent, closing: Mapping[int, int]) -> str:
    """What a mark points at; nothing where its box is never closed."""
    if extent == "box":
        return text[start + 1 : closing.get(start, 0)]
    end = text.find("\n", start)
    line = text[start:] if end < 0 else text[start:end]
    return line if extent == "line" else _SENTENCE_END.split(line, maxsplit=1)[0]


def _closing_braces(text: str) -> dict[int, int]:
    """Where each opened brace is closed; one that is never closed is left out."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif opened:
            closing[opened.pop()] = match.start()
    return closing


def bare(text: str) -> str:
    r"""A text without the typography around it: blanks, emphasis, quotes, math signs, `\text`, a final period."""
    if "\\" in text or "{" in text:
        text = _THIN_SPACE.sub("", _TEXT_COMMAND.sub(r"\g<inside>", text))
        for written, plain in _TYPOGRAPHY:
            text = text.replace(written, plain)
    text, before = text.strip(), ""
    for _ in range(_LAYERS):
        if text == before:
            break
        before = text
        text = text.strip("*`").strip() or text
        for opening, closing in _WRAPPERS:
            if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
                text = text[len(opening) : -len(closing)].strip()
        if len(text) > 1 and text.endswith(".") and not text.endswith(".."):
            text = text[:-1].strip()
    fraction = _FRACTION.fullmatch(text) if "frac" in text else None
    return text if fraction is None else "{before}{over}/{under}{after}".format(**fraction.groupdict())


def _folded(text: str) -> str:
    return " ".join(bare(text).casefold().split())


def _letter(text: str) -> str | None:
    """The choice letter a piece of text gives, upper-case; a sentence that begins with "A" gives none."""
    alone = _LETTER_ALONE.fullmatch(text)
    if alone is not None:
        return alone["letter"].upper()
    first = _LETTER_FIRST.fullmatch(text)
    return (first["closed"] or first["open"]).upper() if first is not None else None


def choice_index(text: str, choices: tuple[str, ...]) -> int | None:
    """Position of the choice that a piece of text names: one letter, or exact text, or a letter before text."""
    folded = [_folded(choice) for choice in choices]
    if len(text) > 1 and _folded(text) in folded:
        return folded.index(_folded(text))
    letter = _letter(text)
    position = ord(letter) - ord("A") if letter is not None else len(choices)
    if position < len(choices):
        return position
    return folded.index(_folded(text)) if _folded(text) in folded else None


def _number(text: str) -> _Number | None:
    """The number a text is; None where it is anything else."""
    text = bare(text).replace("\N{MINUS SIGN}", "-")
    variable = _VARIABLE.match(text)
    match = _NUMBER.fullmatch(text, variable.end() if variable else 0) if len(text) <= _LONGEST_NUMBER_CHARS else None
    if match is None:
        return None
    unit = match["unit"].casefold().replace("percent", "%").rstrip("s") if match["unit"] else ""
    under = _fraction(match["under"]) if match["under"] else 1
    if under == 0 or (unit and not _is_unit(match["unit"].casefold(), apart=text[match.start("unit") - 1].isspace())):
        return None
    sign = -1 if (match["sign"] + match["inner_sign"]).count("-") == 1 else 1
    value = sign * _fraction(match["over"]) / under
    if match["exponent"]:
        value *= Fraction(10) ** int(match["exponent"])
    return _Number(value=value, unit=unit, variable=variable[0][0] if variable else "")


def _is_unit(words: str, *, apart: bool) -> bool:
    """Whether words behind a number, in lower case, are its unit; `apart` says that a blank stands between."""
    if words[0] in "%\N{DEGREE SIGN}":
        return True
    first = re.split(r"[ /-]", words, maxsplit=1)[0].rstrip("\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT THREE}")
    if not first.isalpha() or _NOT_UNITS.search(words):
        return False
    if not first.isascii() or len(first) > 3 or _SHORT_UNIT.fullmatch(first):
        return True
    return apart and (len(first) == 3 or first in _LETTER_UNITS)


def _fraction(digits: str) -> Fraction:
    digits = digits.replace(",", "").rstrip(".")
    return Fraction(int(digits) if digits.isdecimal() else digits)
