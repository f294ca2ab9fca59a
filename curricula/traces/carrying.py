r"""Which steps of a trace carry its result: the answer is traced back through the numbers it was made from.

    48/2 = 24.  They met in May.  48+24 = 72.            the answer is 72: made of 48 (given) and 24, made of 48 and 2
    carries                       carries

A number is made by the last step before its use that calculates it, in preference to one that only states it, and to
one that stands in a check; what the question gives need only be traced to a calculation. What cannot be traced is kept
rather than lost: where no step names the answer, as when it is written digit by digit, every step that calculates may
carry it.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from curricula.rendering import holds_answer

_NUMBER = re.compile(r"\d+(?:\.\d+)?|(?<![\w.])\.\d+")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,)(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_OPERATORS = (("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("\u00d7", "*"), ("\u00f7", "/"), ("\u2212", "-"))
_EQUALS = re.compile(r"\\(?:approx|equiv)\b|[\u2248\u2261\u21d2\u2192]|->|=>|==")
_TIMES = re.compile(r"(?<=\d)\s*x\s*(?=[\d$])")
_MARKUP = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|boxed)\b|\\[()\[\]!,;]|\\(?:left|right|quad|implies)\b|[${}]|\*\*"
)
_CLAUSE = re.compile(r"[,;:?](?!\d)|\.(?=\s|$)")
_SAYS = re.compile(
    r"\b(?:is|are|was|were|makes?|gives?|equals?|becomes?|leaves?|left|gets?|got|has|have|totals?|yields?|be|remains?|of)\b"
)
_CALCULATES = re.compile(
    r"[+*/^]|(?<=\d)\s*-\s*(?=\d)|\b(?:plus|minus|times|divided|multipl\w+|add(?:s|ed|ing)?|subtract\w*|sum|product|"
    r"difference|half|twice|double[sd]?|triple|percent|mod|modulo|squared|more than|less than|together|carry|step)\b"
)
_CONCLUDES = re.compile(r"\b(?:so|thus|hence|therefore)\b", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z]{2,}")
_VARIABLE = re.compile(r"(?<![A-Za-z'\\])[b-zB-HJ-Z](?![A-Za-z'])")
_ONE_NUMBER = re.compile(r"[^\w.]*-?(\d+(?:\.\d+)?|\.\d+)[^\w]*(?:[A-Za-z%\u00b0]+)?[^\w]*")


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """The numbers of a step, each in one spelling.

    Example: of "He sold 48/2 = 24 clips."
        _Facts(results={"24"}, uses={"48", "2"}, variables=set(), calculates=True)
    """

    results: frozenset[str]  # what it arrives at
    uses: frozenset[str]  # what it takes from elsewhere; its results too where it only states them
    variables: frozenset[str]  # letters of its equations
    calculates: bool


@dataclass(frozen=True, kw_only=True)
class _Makers:
    """Which steps arrive at a number, ascending, and how far each is to be trusted."""

    places: Mapping[str, Sequence[int]]
    rank: Sequence[tuple[bool, bool]]  # of every step: stands in no check, calculates

    def last(self, value: str, *, before: int) -> int | None:
        """The best step before another that arrives at a number, the last of equals; None where none does."""
        earlier = self.places.get(value, ())
        earlier = earlier[: bisect.bisect_left(earlier, before)]
        return max(earlier, key=lambda place: (self.rank[place], place), default=None)


def carrying_steps(texts: Sequence[str], *, prompt: str, answers: Sequence[str], doubtful: Sequence[bool]) -> set[int]:
    """Places of the steps from which the answer comes.

    Args:
        answers: the final answer, in each of its spellings.
        doubtful: which steps stand in a check: taken only for what no other step says.
    """
    facts = [_facts(text) for text in texts]
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, fact in enumerate(facts):
        for value in fact.results:
            places[value].append(place)
    rank = [(not doubt, fact.calculates) for doubt, fact in zip(doubtful, facts, strict=True)]
    makers = _Makers(places=places, rank=rank)
    root = _root(texts, makers, answers)
    if root is None:
        sure = {place for place, trust in enumerate(rank) if trust == (True, True)}
        calculating = sure or {place for place, fact in enumerate(facts) if fact.calculates}
        return calculating or {max(range(len(texts)), key=lambda place: (rank[place], place))}
    return _traced(root, facts, makers, given=frozenset(_numbers(_plain(prompt))))


def _traced(root: int, facts: Sequence[_Facts], makers: _Makers, *, given: frozenset[str]) -> set[int]:
    """The steps that a step was made from, and those that these were made from, and so on."""
    carrying: set[int] = set()
    waiting = [root]
    while waiting:
        place = waiting.pop()
        if place in carrying:
            continue
        carrying.add(place)
        fact = facts[place]
        unexplained = False
        for value in sorted(fact.uses):
            maker = makers.last(value, before=place)
            if maker is not None and (value not in given or facts[maker].calculates):
                waiting.append(maker)
            elif value not in given:
                unexplained = True
        if unexplained and fact.variables:
            earlier = (step for step in range(place - 1, -1, -1) if facts[step].variables & fact.variables)
            waiting += itertools.islice(earlier, 1)
    return carrying


def _root(texts: Sequence[str], makers: _Makers, answers: Sequence[str]) -> int | None:
    """The step that arrives at the answer; None where none names it."""
    for answer in answers:
        value = _one_number(answer)
        maker = None if value is None else makers.last(value, before=len(texts))
        if maker is not None:
            return maker
    named = [place for place, text in enumerate(texts) if any(_names(text, answer) for answer in answers)]
    return max(named, key=lambda place: (makers.rank[place], place), default=None)


def _names(text: str, answer: str) -> bool:
    """Whether a step holds the answer, as it is spelled or without markup and spaces."""
    bare = "".join(_plain(answer).split())
    return holds_answer(text, answer) or (len(bare) > 2 and bare in "".join(_plain(text).split()))


def _facts(text: str) -> _Facts:
    plain = _plain(text)
    equations = [clause.split("=") for clause in _CLAUSE.split(plain) if "=" in clause.strip("= ")]
    results: set[str] = set()
    uses: set[str] = set()
    calculates = False
    for segments in equations:
        found = _numbers(_before_words(segments[-1]))
        operands = [number for segment in segments[:-1] for number in _numbers(segment)]
        made = bool(_CALCULATES.search("=".join(segments[:-1]))) and bool(operands)
        results.update(found)
        uses.update(operands if made else [*operands, *found])
        calculates |= made
    if not equations:
        says = list(_SAYS.finditer(plain))
        found = [number for match in says for number in _numbers(plain[match.end() :])[:1]]
        before = _numbers(plain[: says[0].start()]) if says else []
        calculates = bool(found and before) and bool(_CALCULATES.search(plain) or _CONCLUDES.search(plain))
        results.update(found)
        # In words it is seldom plain whether a number is made or mentioned: all of them are looked for.
        uses.update(_numbers(plain))
    letters = {letter for segments in equations for letter in _VARIABLE.findall("=".join(segments))}
    return _Facts(results=frozenset(results), uses=frozenset(uses), variables=frozenset(letters), calculates=calculates)


def _before_words(text: str) -> str:
    """The beginning of a text, up to its first word that follows a number."""
    number = _NUMBER.search(text)
    word = _WORDS.search(text, number.end()) if number else None
    return text[: word.start()] if word else text


def _plain(text: str) -> str:
    """A text without markup, its operators in one spelling."""
    text = _THOUSANDS.sub("", text)
    for written, operator in _OPERATORS:
        text = text.replace(written, operator)
    text = _FRACTION.sub(r"\1/\2", text)
    return _TIMES.sub("*", _EQUALS.sub("=", _MARKUP.sub(" ", text)))


def _numbers(plain: str) -> list[str]:
    return [_key(number) for number in _NUMBER.findall(plain)]


def _key(number: str) -> str:
    """A number in one spelling: without leading zeros, nor zeros behind the point.

    Example:
        >>> [_key(number) for number in ("09", "5.50", ".5", "100")]
        ['9', '5.5', '0.5', '100']
    """
    return f"{Decimal(number).normalize():f}"


def _one_number(answer: str) -> str | None:
    """The number that an answer is, whatever its unit; None where it is something else, such as digits in order."""
    match = _ONE_NUMBER.fullmatch(_plain(answer))
    return _key(match[1]) if match and not re.match(r"0\d", match[1]) else None
