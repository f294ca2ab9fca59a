"""The one place of wording: how thinking is marked, how a question is put, and what it is to end in an answer.

A target is one text. Where it thinks, it opens with a think block:

    <think>3+4=7 7*2=14</think>14

Trainers tokenize what stands here, compressors rewrite what stands between the tags, evaluators read what follows.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from curricula.types import ANSWER_KINDS, AnswerKind

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
CHOICE_LETTERS = string.ascii_uppercase
"""Letters of the choices, in order; a question offers at most this many."""

_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
_SPACE = re.compile(r"\s+")
_CLOSING = re.compile(r"""(?:[\s.,;:!?)\]}$*"'`_\\\u2019\u201d\u3002\uff01]|</\w+>)*""")
"""What may follow an answer at the end of a text: punctuation, closing brackets, quotes, mathematics and markup."""
_UNSPACED_SCRIPTS = "\u2e80"
"""Ideographs and kana begin here; these scripts put no space between words."""


def think(trace: str, answer: str) -> str:
    """A target that thinks: the trace in a think block, then the answer. `split_thinking` undoes it.

    Example:
        >>> think("3+4=7", "7")
        '<think>3+4=7</think>7'

    Raises:
        ValueError: the trace holds the closing tag, so that the block would end inside it.
    """
    if THINK_CLOSE in trace:
        raise ValueError(f"a trace must not hold {THINK_CLOSE}; pass the text between the tags, got {trace[:80]!r}")
    return f"{THINK_OPEN}{trace}{THINK_CLOSE}{answer}"


def split_thinking(text: str) -> tuple[str | None, str | None]:
    """Take a text apart into what is thought and what is said: (trace, rest).

    The trace is None where the text does not think; the rest is None where the block is never closed. A closing
    tag without an opening one ends a trace too: a chat template may have opened the block in the prompt. Text before
    the block belongs to the rest. A block ends at its first closing tag.

    Example:
        >>> split_thinking("<think>3+4=7</think>7")
        ('3+4=7', '7')
        >>> split_thinking("<think>3+4=")
        ('3+4=', None)
        >>> split_thinking("7")
        (None, '7')
    """
    before, opening, after = text.partition(THINK_OPEN)
    if THINK_CLOSE in before:
        trace, _, rest = text.partition(THINK_CLOSE)
        return trace, rest
    if not opening:
        return None, text
    trace, closing, rest = after.partition(THINK_CLOSE)
    return trace, before + rest if closing else None


def prompt_text(prompt: str, kind: AnswerKind, choices: Sequence[str] = ()) -> str:
    """The question as the student reads it; the same for every supervision.

    A choice question gets its choices appended, one per line as "A) text", unless the prompt already holds every one
    of them behind its letter ("A) text", "(A) text", "A. text", "A: text" or "A text").

    Raises:
        ValueError: the kind does not exist, or there are more choices than letters.
    """
    if kind not in ANSWER_KINDS:
        raise ValueError(f"kind {kind!r} does not exist; it is one of {', '.join(ANSWER_KINDS)}")
    if kind == "open" or not choices:
        return prompt
    if len(choices) > len(CHOICE_LETTERS):
        raise ValueError(f"a question has at most {len(CHOICE_LETTERS)} choices, got {len(choices)}: {prompt[:80]!r}")
    lettered = tuple(zip(CHOICE_LETTERS, choices, strict=False))
    if all(re.search(rf"\b{letter}(?:[).:]\s*|\s+){re.escape(choice)}(?!\w)", prompt) for letter, choice in lettered):
        return prompt
    return "\n".join([prompt.rstrip(), *(f"{letter}) {choice}" for letter, choice in lettered)])


def messages(prompt: str) -> list[dict[str, str]]:
    """The chat that a question opens: one user message, no system message, no word about how to answer."""
    return [{"role": "user", "content": prompt}]


def ends_in_answer(text: str, answer: str) -> bool:
    r"""Whether what follows the think block ends in the answer; never where the block is left open.

    Tolerated: letter case, spacing, thousands commas, a minus sign of either spelling, and after the answer
    punctuation, closing brackets, quotes, markup and tags. The answer must begin where a word or a number begins: 17
    ends neither "117" nor "-17", "3.17" nor "3/17". Amounts are compared as they are written: 17 does not end "17.0".

    Example:
        >>> [ends_in_answer(text, "17") for text in ("#### 17", r"$\boxed{17}$.", "117", "<think>17")]
        [True, True, False, False]
    """
    _, rest = split_thinking(text)
    if rest is None:
        return False
    sought = answer.strip()
    if not sought:
        return False
    if rest.endswith(sought) and _begins(rest, len(rest) - len(sought)):
        return True
    rest, sought = _plain(rest), _plain(sought)
    sought = sought.removesuffix(".") or sought
    start = rest.rfind(sought)
    return start >= 0 and _begins(rest, start) and _CLOSING.fullmatch(rest, start + len(sought)) is not None


def holds_answer(text: str, answer: str) -> bool:
    """Whether the answer stands anywhere in a text as a whole word or number; tolerant as `ends_in_answer` is.

    A one-letter answer must keep its case: the article "a" is not choice A.
    """
    sought = answer.strip()
    if len(sought) > 1:
        text, sought = _plain(text), _plain(sought).removesuffix(".")
    if not sought:
        return False
    start = text.find(sought)
    while start >= 0:
        if _begins(text, start) and _ends(text, start + len(sought)):
            return True
        start = text.find(sought, start + 1)
    return False


def _plain(text: str) -> str:
    """Spelling that does not distinguish case, spacing, thousands commas and minus signs."""
    return _SPACE.sub(" ", _THOUSANDS.sub("", text.replace("\u2212", "-"))).strip().casefold()


def _joined(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word or number."""
    if left.isdecimal() and right.isdecimal():
        return True
    return left.isalnum() and right.isalnum() and max(left, right) < _UNSPACED_SCRIPTS


def _begins(text: str, start: int) -> bool:
    """Whether a word or number begins at `start`, with nothing before it that would make it another one."""
    if start == 0:
        return True
    before, first = text[start - 1], text[start]
    if first in "-\u2212+":
        return not (before.isalnum() or before == ")")
    if not first.isalnum():
        return True
    if before == "_" or _joined(before, first):
        return False
    if first.isdecimal():
        comma_in_number = before == "," and start > 1 and text[start - 2].isdecimal()
        return before not in "-\u2212\u2013./^" and not comma_in_number
    return True


def _ends(text: str, end: int) -> bool:
    """Whether a word or number ends before `end`."""
    if end == len(text):
        return True
    last, after = text[end - 1], text[end]
    if after == "_" or _joined(last, after):
        return False
    if last.isdecimal() and after in ".,/%" and end + 1 < len(text):
        return not (after == "%" or text[end + 1].isdecimal())
    return True
