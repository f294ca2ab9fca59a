"""Families that only a long chain solves: compression at a uniform ratio drops states that a small student needs."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType

import numpy as np

from curricula.procedural.columns import LETTERS, add_columns, modular_chain, multiply_digits
from curricula.procedural.problem import Family, Problem, digits_of, every, size
from curricula.types import Domain


def long_add(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Four-digit addition, places named by letter; the easy ones carry less; five digits in the transfer domain."""
    width = size((4, 4, 4, 5), difficulty, domain)
    largest = size((5, 7, 9, 9), difficulty, domain)
    left, right = ("".join(str(digit) for digit in rng.integers(1, largest + 1, size=width)) for _ in range(2))
    columns = add_columns(left, right)
    states: list[str] = []
    written = ""
    for place, (letter, column) in enumerate(zip(LETTERS, columns, strict=False), start=1):
        written = f"{column.total % 10 if place < width else column.total}{written}"
        equation = f"{letter}{column.left}+{letter.upper()}{column.right}+{column.carry}={column.total:02d}"
        # Padded to one width, so that each step copies the sum so far from a constant distance.
        states.append(f"{equation} {written:.>6}")
    totals = [str(column.total) for column in columns]
    places = LETTERS[width - 1 :: -1]
    first = " ".join(f"{letter}{digit}" for letter, digit in zip(places, left, strict=True))
    second = " ".join(f"{letter}{digit}" for letter, digit in zip(places.upper(), right, strict=True))
    return Problem(
        prompt=f"{first} + {second}" if domain == "in_domain" else f"sum {first} and {second}",
        answer=str(int(left) + int(right)),
        short=every(totals, 2),
        compressed=every(totals, 3),
        reasoning=", ".join(states),
    )


def long_times(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """A two-digit number times another whose digits are 1 to 5; three by two digits in the transfer domain."""
    number = digits_of(rng, size((2, 2, 2, 3), difficulty, domain))
    factor = f"{rng.integers(1, 6)}{rng.integers(1, 6)}"
    products = [f"{int(number) * int(digit) * 10**place:04d}" for place, digit in enumerate(reversed(factor))]
    rows = [
        " ".join(step.padded for step in multiply_digits(number, int(digit))) + f" row {product},"
        for digit, product in zip(reversed(factor), products, strict=True)
    ]
    columns = add_columns(products[0], products[1])
    return Problem(
        prompt=f"{number}*{factor}=" if domain == "in_domain" else f"the product of {number} and {factor}",
        answer=str(int(number) * int(factor)),
        short=str(int(products[0])),
        compressed=str(int(products[1])),
        reasoning=f"{' '.join(rows)} {' '.join(column.padded for column in columns)}",
    )


def long_chain(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """A modular chain of six steps, of which ever more double; eight in the transfer domain."""
    walk = modular_chain(rng, size((6, 6, 6, 8), difficulty, domain), doubling_share=0.2 * difficulty)
    states = [str(state) for state in walk.states]
    return Problem(
        prompt=f"start {walk.start} {walk.listed} mod 10"
        if domain == "in_domain"
        else f"take {walk.start} {walk.listed}, end?",
        answer=states[-1],
        short=every(states[:-1], 2),
        compressed=every(states[:-1], 3),
        reasoning=", ".join(
            f"{step}={raw:02d} so {state}" for step, raw, state in zip(walk.steps, walk.raw, states, strict=True)
        ),
    )


def walk(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Follow one-way roads between lettered places: three or four steps on a ring of seven, five on eight in transfer.

    The ring is longer than the walk by three or more, so that going backwards is no short cut.
    """
    length = size((3, 4, 4, 5), difficulty, domain)
    places = "abcdefg" if domain == "in_domain" else "abcdefgh"
    order = [places[index] for index in rng.permutation(len(places))]
    path = order[: length + 1]
    roads = dict(zip(order, order[1:] + order[:1], strict=True))
    # The far end of a road is a capital, so that a place is found as a start and never taken for an end.
    listed = " ".join(f"{place}{roads[place].upper()}" for place in places)
    return Problem(
        prompt=f"{listed} from {path[0]} go {length}"
        if domain == "in_domain"
        else f"{listed}, {length} on from {path[0]}",
        answer=path[-1],
        short=every(path[1:-1], 2),
        compressed=every(path[1:-1], 2),
        reasoning=", ".join(
            f"step {number} is {path[number - 1]}{path[number].upper()}" for number in range(1, length + 1)
        ),
    )


def swaps(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Three cups in a row, exchanged pair by pair: 1 the first two, 2 the last two, 3 the outer two."""
    length = size((5, 5, 6, 8), difficulty, domain)
    states = ["".join("xyz"[place] for place in rng.permutation(3))]
    moves: list[str] = []
    for letter in LETTERS[:length]:
        move = int(rng.integers(1, 4))
        left, middle, right = states[-1]
        states.append({1: middle + left + right, 2: left + right + middle, 3: right + middle + left}[move])
        moves.append(f"{letter}{move}")
    listed = " ".join(moves)
    return Problem(
        prompt=f"{states[0]} swap {listed}" if domain == "in_domain" else f"cups {states[0]}, trade {listed}",
        answer=states[-1],
        short=every(states[1:-1], 2),
        compressed=every(states[1:-1], 3),
        reasoning=", ".join(
            f"{move} {before} to {after}" for move, (before, after) in zip(moves, pairwise(states), strict=True)
        ),
    )


LONG: MappingProxyType[str, Family] = MappingProxyType(
    {
        "long_add": long_add,
        "long_times": long_times,
        "long_chain": long_chain,
        "walk": walk,
        "swaps": swaps,
    }
)
