"""What a model answered, and whether that is right: exact rules on text, no model, no judgement.

    text --think tags--> rest --marks--> answer --compare--> right or wrong

Marks, the last of which wins: `#### x`, `\\boxed{x}`, "answer is x", "Answer: x" (of a choice also "option is", "choice
is"). Where there is none, a choice is the last line that opens with a letter ("B", "(B)", "B) text"), and anything
else is the last line that is not blank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from curricula.rendering import THINK_CLOSE, THINK_OPEN, split_thinking
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
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{(?P<inside>[^{}]*)\}")
_FRACTION_COMMAND = re.compile(r"\\[dt]?frac\s*\{(?P<over>[^{}]*)\}\s*\{(?P<under>[^{}]*)\}")
_TYPOGRAPHY = (("\\$", "$"), ("\\%", "%"), ("\\,", ""), ("\\!", ""), ("{,}", ","))
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
    r"\b(x|y|z|n|i|e|k|pi|and|or|to|of|plus|minus|times|over|point|squared|cubed|factorial|half|quarter|dozen|hundred|"
    r"thousand|million|billion|trillion)\b"
)
"""Words behind a number that change its value, so that "7 and a half" or "3 million" is not 7 or 3."""


@dataclass(frozen=True, kw_only=True)
class _Number:
    """A number with the unit that was written behind it ("" where none)."""

    value: Fraction
    unit: str


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
    given = _given(text, kind)
    return (_letter(given) or given) if given is not None and kind == "choice" else given


def is_correct(text: str, answer: str, kind: AnswerKind, choices: tuple[str, ...] = ()) -> bool:
    """Whether the final answer of `text` is `answer`.

    Open answers are compared as numbers where both are numbers (1,234 = 1234.0; a currency sign and a unit that
    only one of them carries are passed over), else as text without case and with blanks collapsed. A reference
    with a leading zero ("021") is a code, not a number. A choice is right by its letter or by its exact text;
    `answer` itself may be either, and counts as text first unless it is one letter.

    Raises:
        ValueError: a choice's reference is neither the letter nor the text of one of `choices`.
    """
    right = _choice_index(answer, choices)
    if kind == "choice" and right is None:
        raise ValueError(f"answer {answer!r} is neither the letter nor the text of one of the choices {choices}")
    given = _given(text, kind)
    if given is None:
        return False
    return same_answer(given, answer) if kind == "open" else _choice_index(given, choices) == right


def same_answer(given: str, reference: str) -> bool:
    """Whether two open answers mean the same, by the rules of `is_correct`."""
    wanted = None if _CODE.fullmatch(_bare(reference)) else _number(reference)
    found = _number(given) if wanted is not None else None
    if wanted is None or found is None:
        return _folded(given) == _folded(reference)
    units_agree = not wanted.unit or not found.unit or wanted.unit == found.unit
    return wanted.value == found.value and units_agree


def _given(text: str, kind: AnswerKind) -> str | None:
    """The piece of text that gives the answer; None where there is none."""
    rest = text.rpartition(THINK_CLOSE)[2]  # not split_thinking's rest, which keeps what stands before the block
    if split_thinking(text)[1] is None or THINK_OPEN in rest:
        return None
    marks = sorted(mark for mark in _marks(rest, kind) if mark[1])
    if marks:
        return marks[-1][1]
    lines = [bare for line in rest.splitlines() if (bare := _bare(line))]
    if kind == "choice":
        lines = [line for line in lines if _letter(line)] or lines
    return lines[-1] if lines else None


def _marks(text: str, kind: AnswerKind) -> Iterator[tuple[int, str]]:
    """(position, answer) of every explicit mark; the answer is empty where nothing is marked."""
    for match in _HASHES.finditer(text):
        yield match.end(), _bare(_line_from(text, match.end()))
    for match in _PHRASE[kind].finditer(text):
        yield match.end(), _bare(_SENTENCE_END.split(_line_from(text, match.end()), maxsplit=1)[0])
    closing = _closing_braces(text)
    for match in _BOXED.finditer(text):
        yield match.end(), _bare(text[match.end() + 1 : closing.get(match.end(), 0)])


def _line_from(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start:] if end < 0 else text[start:end]


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


def _bare(text: str) -> str:
    """The text without the typography around it: blanks, emphasis, quotes, math signs, a final period."""
    text = _TEXT_COMMAND.sub(r"\g<inside>", text)
    text = _FRACTION_COMMAND.sub(r"\g<over>/\g<under>", text)
    for written, plain in _TYPOGRAPHY:
        text = text.replace(written, plain)
    text, before = text.strip(), ""
    while text != before:
        before = text
        text = text.strip("*`").strip() or text
        for opening, closing in _WRAPPERS:
            if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
                text = text[len(opening) : -len(closing)].strip()
        if len(text) > 1 and text.endswith(".") and not text.endswith(".."):
            text = text[:-1].strip()
    return text


def _folded(text: str) -> str:
    return " ".join(_bare(text).casefold().split())


def _letter(text: str) -> str | None:
    """The choice letter a piece of text gives, upper-case; a sentence that begins with "A" gives none."""
    alone = _LETTER_ALONE.fullmatch(text)
    if alone is not None:
        return alone["letter"].upper()
    first = _LETTER_FIRST.fullmatch(text)
    return (first["closed"] or first["open"]).upper() if first is not None else None


def _choice_index(text: str, choices: tuple[str, ...]) -> int | None:
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
    text = _VARIABLE.sub("", _bare(text).replace("\N{MINUS SIGN}", "-"), count=1)
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER_CHARS else None
    if match is None:
        return None
    unit = match["unit"].casefold().replace("percent", "%").rstrip("s")
    under = _fraction(match["under"] or "1")
    if under == 0 or _NOT_UNITS.search(unit):
        return None
    sign = -1 if (match["sign"] + match["inner_sign"]).count("-") == 1 else 1
    value = sign * _fraction(match["over"]) / under * Fraction(10) ** int(match["exponent"] or 0)
    return _Number(value=value, unit=unit)


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip("."))
