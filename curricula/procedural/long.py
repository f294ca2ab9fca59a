"""Families that only a long chain solves: compression at a uniform ratio drops states that a small student needs."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType

import numpy as np

from curricula.procedural.columns import LETTERS, add_columns, modular_chain
from curricula.procedural.problem import Family, Problem, digits_of, every, size
from curricula.types import Domain

ROADS = {"r": "3071958246", "g": "7620814593", "b": "1598763402"}
"""The map of `walk`: ROADS[colour][place] is where that road leads; the roads of a colour form a permutation."""


def long_add(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Four-digit addition, places named by letter; the easy ones carry less; five digits in the transfer domain."""
    width = size((4, 4, 4, 5), difficulty, domain)
    largest = size((5, 7, 9, 9), difficulty, domain)
    left, right = digits_of(rng, width, largest), digits_of(rng, width, largest)
    columns = add_columns(left, right)
    equations: list[str] = []
    states: list[str] = []
    written = ""
    for place, (letter, column) in enumerate(zip(LETTERS, columns, strict=False), start=1):
        written = f"{column.total % 10 if place < width else column.total}{written}"
        equation = f"{letter}{column.left}+{letter.upper()}{column.right}+{column.carry}={column.total:02d}"
        equations.append(equation)
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
        compressed=every(equations, 3),
        reasoning=", ".join(states),
    )


def long_chain(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """A modular chain of six steps, of which ever more double; eight in the transfer domain."""
    doublings = size((0, 2, 4, 4), difficulty, domain)
    walk = modular_chain(rng, size((6, 6, 6, 8), difficulty, domain), doubling_share=0.1 * doublings)
    states = [str(state) for state in walk.states]
    equations = [f"{step}={state}" for step, state in zip(walk.steps, states, strict=True)]
    return Problem(
        prompt=f"start {walk.start} {walk.listed} mod 10"
        if domain == "in_domain"
        else f"take {walk.start} {walk.listed}, end?",
        answer=states[-1],
        short=every(states[:-1], 2),
        compressed=every(equations, 3),
        reasoning=" ".join(equations),
    )


def walk(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Six steps along red, green (and, but for the easy ones, blue) roads of one fixed map, never shown: see ROADS."""
    length = size((6, 6, 6, 8), difficulty, domain)
    colours = size((2, 3, 3, 3), difficulty, domain)
    path = [str(rng.integers(10))]
    moves: list[str] = []
    for letter in LETTERS[:length]:
        colour = "rgb"[rng.integers(colours)]
        path.append(ROADS[colour][int(path[-1])])
        moves.append(f"{letter}{colour}")
    listed = " ".join(moves)
    return Problem(
        prompt=f"from {path[0]} walk {listed}" if domain == "in_domain" else f"at place {path[0]}, follow {listed}",
        answer=path[-1],
        short=every(path[1:-1], 2),
        compressed=every([f"{move} {place}" for move, place in zip(moves, path[1:], strict=True)], 2),
        reasoning=" ".join(
            f"{move}{before}={after}" for move, (before, after) in zip(moves, pairwise(path), strict=True)
        ),
    )


def swaps(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Three cups in a row, exchanged six times: 1 the first two, 2 the last two, 3 (not in easy ones) the outer two."""
    length = size((6, 6, 6, 8), difficulty, domain)
    kinds = size((2, 3, 3, 3), difficulty, domain)
    states = ["".join("xyz"[place] for place in rng.permutation(3))]
    moves: list[str] = []
    for letter in LETTERS[:length]:
        move = int(rng.integers(1, kinds + 1))
        left, middle, right = states[-1]
        states.append({1: middle + left + right, 2: left + right + middle, 3: right + middle + left}[move])
        moves.append(f"{letter}{move}")
    listed = " ".join(moves)
    return Problem(
        prompt=f"{states[0]} swap {listed}" if domain == "in_domain" else f"cups {states[0]}, trade {listed}",
        answer=states[-1],
        short=every(states[1:-1], 2),
        compressed=every([f"{move} {state}" for move, state in zip(moves, states[1:], strict=True)], 2),
        reasoning=", ".join(f"{move} gives {state}" for move, state in zip(moves, states[1:], strict=True)),
    )


LONG: MappingProxyType[str, Family] = MappingProxyType(
    {
        "long_add": long_add,
        "long_chain": long_chain,
        "walk": walk,
        "swaps": swaps,
    }
)
