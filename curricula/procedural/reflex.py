"""Families that need no reasoning: the answer can be read off the prompt, so a trace costs and gains nothing."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from curricula.procedural.problem import Family, Problem, digits_of, size
from curricula.types import Domain

CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"
TOPICS = ("food", "sport", "cash")
LEXICON = (
    ("bread", "soup", "cheese", "rice", "salad", "pasta"),
    ("tennis", "rugby", "boxing", "hockey", "judo", "golf"),
    ("loans", "taxes", "banks", "rent", "stocks", "coins"),
)
SUBJECTS = ("we", "they", "you", "I", "some", "all", "many", "most", "few", "both", "two", "men")
VERBS = ("like", "saw", "want", "know", "miss", "hate", "love", "need", "find", "get", "pick", "use")
TIMES = ("now", "today", "again")


def bigger(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """The bigger of two two-digit numbers, three digits in transfer; the easy ones differ in the first digit."""
    width = size((2, 2, 2, 3), difficulty, domain)
    differing = size((1, 2, 2, 3), difficulty, domain)
    left, right = digits_of(rng, width), digits_of(rng, width)
    while left[:differing] == right[:differing]:
        right = digits_of(rng, width)
    place = next(index for index in range(width) if left[index] != right[index])
    sign = ">" if left > right else "<"
    scan = "".join(f"digit {index + 1}: {left[index]} and {right[index]} are the same; " for index in range(place))
    side = "A" if left > right else "B"
    return Problem(
        prompt=f"bigger: A {left} B {right}" if domain == "in_domain" else f"which is larger, A {left} or B {right}?",
        answer=side,
        short=f"{left[place]}{sign}{right[place]}",
        compressed=f"{left[place]}{sign}{right[place]} so {side}",
        reasoning=f"compare {left} and {right}; {scan}digit {place + 1}: {left[place]} {sign} {right[place]}, "
        f"so {left} {sign} {right}",
        choices=(left, right),
    )


def last_digit(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """The last digit of a number."""
    number = digits_of(rng, size((4, 6, 8, 10), difficulty, domain))
    spelled = ", ".join(f"{place} is {digit}" for place, digit in enumerate(number, start=1))
    return Problem(
        prompt=f"last digit of {number}?" if domain == "in_domain" else f"what does {number} end in?",
        answer=number[-1],
        short=f"ends in {number[-1]}",
        compressed=f"{len(number)} digits, {number[-1]}",
        reasoning=f"the digits of {number}: {spelled}; the end is place {len(number)}",
    )


def copy(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Repeat a made-up word of two-letter syllables."""
    syllables = size((2, 3, 3, 5), difficulty, domain)
    word = "".join(CONSONANTS[rng.integers(14)] + VOWELS[rng.integers(5)] for _ in range(syllables))
    parts = [word[start : start + 2] for start in range(0, len(word), 2)]
    spelled = "; ".join(f"part {place} is {part}" for place, part in enumerate(parts, start=1))
    return Problem(
        prompt=f"copy {word}" if domain == "in_domain" else f"write this once more: {word}",
        answer=word,
        short="-".join(parts),
        compressed=" ".join(parts),
        reasoning=f"the word {word} has {syllables} parts; {spelled}; all together {'-'.join(parts)}",
    )


def label(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """The topic of a sentence, told by its one keyword; always multiple choice."""
    topic = int(rng.integers(len(TOPICS)))
    keyword = LEXICON[topic][rng.integers(len(LEXICON[topic]))]
    subject, verb = SUBJECTS[rng.integers(len(SUBJECTS))], VERBS[rng.integers(len(VERBS))]
    choices = " ".join(f"{letter} {name}" for letter, name in zip("ABC", TOPICS, strict=True))
    if domain == "transfer":
        sentence = f"{keyword} is what {subject} {verb}"
    elif difficulty == 0:
        sentence = f"{subject} {verb} {keyword}"
    else:
        sentence = f"{subject} {verb} {keyword} {TIMES[rng.integers(len(TIMES))]}"
    return Problem(
        prompt=f"{sentence}: {choices}" if domain == "in_domain" else f"{choices}? {sentence}",
        answer="ABC"[topic],
        short=f"{keyword} is {TOPICS[topic]}",
        compressed=f"{keyword} {TOPICS[topic]}",
        reasoning=f"read '{sentence}'; the telling word is {keyword}; {keyword} belongs to {TOPICS[topic]}, "
        f"which is choice {'ABC'[topic]} of food, sport and cash",
        choices=TOPICS,
    )


def sort(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Sort five digits, seven in transfer: many steps on paper, one look for attention, which counts the smaller."""
    largest = size((5, 7, 9, 9), difficulty, domain)
    digits = [str(digit) for digit in rng.integers(largest + 1, size=5 if domain == "in_domain" else 7)]
    rest = list(digits)
    states: list[str] = []
    ordered = sorted(digits)
    for smallest in ordered:
        rest.remove(smallest)
        states.append(f"take {smallest} left {''.join(rest) or 'none'}")
    return Problem(
        prompt=f"sort {''.join(digits)}" if domain == "in_domain" else f"put {''.join(digits)} in order",
        answer="".join(ordered),
        short=f"from {ordered[0]} to {ordered[-1]}",
        compressed=" ".join(ordered),
        reasoning=", ".join(states),
    )


REFLEX: MappingProxyType[str, Family] = MappingProxyType(
    {"bigger": bigger, "last_digit": last_digit, "copy": copy, "label": label, "sort": sort}
)
