"""A trace as steps: where each begins and ends, which verify or repeat, and which carry the result.

    "He sold 48/2 = 24. Wait, let me check: 24*2 = 48. So 48+24 = 72."
     carries            verifies                        carries

Steps are lines and, inside a line, sentences and what semicolons set apart. A trace that is one step by these is cut
at commas, and one that is nothing but equations at its spaces. No model is asked; what words say is told by words.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from curricula.traces.carrying import carrying_steps

_BLOCKS = re.compile(r"```.*?(?:```|\Z)|\\\[.*?\\\]|\$\$.*?\$\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.DOTALL)
"""Code and displayed mathematics: never cut inside."""
_LINE = re.compile(r"\n\s*")
_SENTENCE = re.compile(r"""(?<=[.!?])[)"'*\u201d\u2019]*\s+(?=[^a-z\s])|(?<=[\u3002\uff01\uff1f])""")
_SEMICOLON = re.compile(r";\s+")
_COMMA = re.compile(r",\s+")
_SPACE = re.compile(r"\s+")
_NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|approx|resp|eq|fig|mr|mrs|ms|dr|st)\.|(?:^|\n)\s*\W*\d+\.)$", re.I)
"""What ends in a full stop and ends no sentence: abbreviations, and the number of a list's item."""

_ASIDE = r"(?:(?:but|oh|so|and|okay|ok|hmm+|um|actually|well|no|yes|yep|yeah|great|good|perfect)\b[\s,.\u2014-]*)*"
_CHECK = r"(?:double[- ]?check|re-?check|check|verify|confirm|re-?verify|re-?calculate|re-?compute|re-?examine)"
_VERIFIES = re.compile(
    rf"""^\W*{_ASIDE}(?:
        wait\b | hold\ on\b | alternatively\b | another\ way\b | on\ second\ thou?ght
        | (?:(?:just\ )?to|let\ me|let's|let\ us|i'll|i\ will|i\ should|i\ can|we\ can|we\ should|we)\ (?:just\ |also\ |
          quickly\ |now\ )*(?:{_CHECK}|be\ (?:\w+\ )?(?:sure|certain)|make\ sure|see\ if\ (?:that|this|it)\b
          |test\ (?:this|it))
        | {_CHECK}(?:ing|ed|ication)?\b[\s:,] | verif(?:y|ying|ication)\b | check(?:ing)?\s*:
        | (?:that|this|it|which|everything|all)\ (?:all\ )?(?:\w+\ )?(?:seems|looks|checks|adds\ up|makes\ sense
          |matches)\b
        | (?:that's|that\ is|this\ is|is\ that|is\ this)\ (?:\w+\ )?(?:right|correct)\b
    )
    | \b(?:double[- ]?check|let\ me\ (?:re-?)?check|let's\ (?:re-?)?check|to\ verify|let\ me\ verify|let's\ verify
        | sanity\ check|just\ to\ (?:be\ sure|confirm|make\ sure)
        | let\ me\ (?:make\ sure|re-?think|reconsider|re-?read))\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ARITHMETIC = frozenset("0123456789.+-*/^()%$x\\\u00d7\u00f7\u2212")
_RIGHT = re.compile(r"[\s$\\({]*-?\d+(?:[.,]\d+)*")
_REACH_CHARS = 200
"""Of an equation, to either side of its sign."""
RESTATED_SHARE, TELLING_WORDS, TELLING_CHARS = 0.75, 4, 4
"""A step restates the question when this share of its telling words stands there, of so many at least: numbers, and
words of so many characters."""
_WORD = re.compile(r"[^\W_]+|[+*/=<>\u00d7\u00f7\u2212^-]")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a trace, and what it does there.

    Example:
        Step(start=0, end=18, verifies=False, repeats=False, carries=True)
    """

    start: int  # characters of the trace; with the space behind it, so that steps follow each other without a gap
    end: int
    verifies: bool = False  # it checks what was done, doubts it, or does it another way
    repeats: bool = False  # it says what the question or an earlier step has said, or comes after the result
    carries: bool = False  # the answer comes from it, or a number does from which the answer comes


def read_steps(trace: str, *, prompt: str, answers: Sequence[str]) -> tuple[Step, ...]:
    """The steps of a trace, in order; together they are the trace.

    Args:
        prompt: the question; its numbers need not be explained.
        answers: the final answer in each of its spellings, such as the letter and the text of a choice.

    Raises:
        ValueError: there is no answer to look for.
    """
    if not any(answer.strip() for answer in answers):
        raise ValueError("the steps that carry the answer cannot be told without an answer")
    spans = split_steps(trace)
    texts = [trace[start:end] for start, end in spans]
    opens = [bool(_VERIFIES.search(text)) for text in texts]
    carrying = carrying_steps(texts, prompt=prompt, answers=answers, doubtful=_in_checks(texts, opens, set()))
    verifies = _in_checks(texts, opens, carrying)
    steps = [Step(start=start, end=end) for start, end in spans]
    return tuple(
        replace(step, verifies=checks, repeats=again or place > max(carrying), carries=place in carrying)
        for place, (step, checks, again) in enumerate(zip(steps, verifies, _repeating(texts, prompt), strict=True))
    )


def split_steps(trace: str) -> list[tuple[int, int]]:
    """First and last character (exclusive) of every step; the spans follow each other and cover the trace.

    A step without a letter or digit belongs to the one before it, one that ends in a colon to the one after it.
    """
    blocks = [match.span() for match in _BLOCKS.finditer(trace)]
    ends = sorted(
        match.end()
        for pattern in (_LINE, _SENTENCE, _SEMICOLON)
        for match in pattern.finditer(trace)
        if not any(start < match.end() < end for start, end in blocks)
        and not (pattern is _SENTENCE and _NO_END.search(trace[max(0, match.start() - 12) : match.start()]))
    )
    spans = _merged(trace, ends)
    if len(spans) == 1 and not blocks:
        spans = _merged(trace, [match.end() for match in _COMMA.finditer(trace)])
    if len(spans) == 1 and all("=" in word for word in trace.split()):
        spans = _merged(trace, [match.end() for match in _SPACE.finditer(trace)])
    return spans


def _merged(trace: str, ends: Sequence[int]) -> list[tuple[int, int]]:
    """Spans between boundaries, those that are no step by themselves joined to a neighbour."""
    spans: list[tuple[int, int]] = []
    edges = sorted({0, *ends, len(trace)})
    for start, end in itertools.pairwise(edges):
        empty = not any(character.isalnum() for character in trace[start:end])
        if spans and (empty or trace[slice(*spans[-1])].rstrip(" \t\n*_").endswith(":")):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    if len(spans) > 1 and not any(character.isalnum() for character in trace[slice(*spans[0])]):
        spans[:2] = [(spans[0][0], spans[1][1])]
    return spans


def join_steps(trace: str, steps: Sequence[Step], kept: Sequence[bool]) -> str:
    """The text of the kept steps in order; where others were left out, the widest space among them stays.

    Example: of "a. b.\\n\\nc." without its second step remains "a.\\n\\nc."
    """
    pieces: list[str] = []
    gap = ""
    for step, keep in zip(steps, kept, strict=True):
        text = trace[step.start : step.end]
        space = text[len(text.rstrip()) :]
        if keep:
            pieces += [gap if pieces else "", text.rstrip()]
            gap = space
        elif space.count("\n") > gap.count("\n"):
            gap = space
    return "".join(pieces).strip().rstrip(";,")


def _in_checks(texts: Sequence[str], opens: Sequence[bool], carrying: set[int]) -> list[bool]:
    """Which steps stand in a check: from the step that opens it to the end of its line, or to a step that carries."""
    checks: list[bool] = []
    inside = False
    for place, (text, opening) in enumerate(zip(texts, opens, strict=True)):
        inside = (inside or opening) and place not in carrying
        checks.append(inside)
        inside = inside and "\n" not in text[len(text.rstrip()) :]
    return checks


def _repeating(texts: Sequence[str], prompt: str) -> list[bool]:
    """Which steps say again what the question or an earlier one said: in its words, or with no equation that is new."""
    said: set[str] = set()
    asked = set(_words(prompt))
    asked_in_order = f" {' '.join(_words(prompt))} "
    repeating: list[bool] = []
    for text in texts:
        words = _words(text)
        in_order = " ".join(words)
        telling = [word for word in words if len(word) >= TELLING_CHARS or word.isdecimal()]
        known = sum(word in asked for word in telling)
        restates = f" {in_order} " in asked_in_order or (
            len(telling) >= TELLING_WORDS and known >= RESTATED_SHARE * len(telling)
        )
        equations = _equations(text.casefold())
        repeating.append(restates or in_order in said or (bool(equations) and equations <= said))
        said |= {in_order, *equations}
    return repeating


def _words(text: str) -> list[str]:
    """The words and operators of a text, whatever their case and what stands between them."""
    return _WORD.findall(text.casefold())


def _equations(text: str) -> set[str]:
    """The equations between numbers in a text, without spaces."""
    found: set[str] = set()
    for sign in re.finditer("=", text):
        left = text[max(0, sign.start() - _REACH_CHARS) : sign.start()]
        begins = len(left)
        while begins and (left[begins - 1] in _ARITHMETIC or left[begins - 1].isspace()):
            begins -= 1
        right = _RIGHT.match(text, sign.end())
        if right is not None and any(character.isdecimal() for character in left[begins:]):
            found.add("".join(f"{left[begins:]}={right.group()}".split()))
    return found
