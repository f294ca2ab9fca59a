"""Families for which a short chain suffices: hard to answer at once, easy after a few bare steps."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType

import numpy as np

from curricula.procedural.columns import LETTERS, add_columns, modular_chain, multiply_digits
from curricula.procedural.problem import Family, Problem, digits_of, size
from curricula.types import Domain


def add(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """Two-digit addition, the easy ones with small digits and few carries; three digits in the transfer domain."""
    width = size((2, 2, 2, 3), difficulty, domain)
    largest = size((6, 8, 9, 9), difficulty, domain)
    left, right = digits_of(rng, width, largest), digits_of(rng, width, largest)
    columns = add_columns(left, right)
    names = ("units", "tens", "hundreds")
    spoken = "; ".join(
        f"{name} {column.left} and {column.right} with carry {column.carry} make {column.total}, "
        f"write {column.total % 10} and carry {column.total // 10}"
        for name, column in zip(names, columns, strict=False)
    )
    return Problem(
        prompt=f"{left}+{right}=" if domain == "in_domain" else f"the sum of {left} and {right}",
        answer=str(int(left) + int(right)),
        short=" ".join(str(column.total) for column in columns),
        compressed=" ".join(column.equation for column in columns),
        reasoning=f"{left} plus {right}: {spoken}",
    )


def chain(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """A modular chain of three steps, of which ever more double; four in the transfer domain."""
    doublings = size((0, 2, 4, 4), difficulty, domain)
    walk = modular_chain(rng, size((3, 3, 3, 4), difficulty, domain), doubling_share=0.1 * doublings)
    spoken = "; ".join(
        f"step {step} makes {raw} which is {state} mod 10"
        for step, raw, state in zip(walk.steps, walk.raw, walk.states, strict=True)
    )
    return Problem(
        prompt=f"start {walk.start} {walk.listed} mod 10"
        if domain == "in_domain"
        else f"take {walk.start} then {walk.listed}, last digit",
        answer=str(walk.states[-1]),
        short=" ".join(str(state) for state in walk.states),
        compressed=" ".join(f"{step}={state}" for step, state in zip(walk.steps, walk.states, strict=True)),
        reasoning=f"begin with {walk.start}; {spoken}",
    )


def times(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """A three-digit number times a digit from 2 up to 3, 4 or 5; four digits in the transfer domain."""
    number = digits_of(rng, size((3, 3, 3, 4), difficulty, domain))
    factor = int(rng.integers(2, size((4, 5, 6, 6), difficulty, domain)))
    steps = multiply_digits(number, factor)
    spoken = "; ".join(
        f"{step.digit} times {factor} is {step.digit * factor}, with carry {step.carry} it is {step.total}, "
        f"write {step.total % 10} and carry {step.total // 10}"
        for step in steps
    )
    return Problem(
        prompt=f"{number}*{factor}=" if domain == "in_domain" else f"the product of {number} and {factor}",
        answer=str(int(number) * factor),
        short=" ".join(str(step.total) for step in steps),
        compressed=" ".join(step.equation for step in steps),
        reasoning=f"{number} times {factor}: {spoken}",
    )


def maximum(rng: np.random.Generator, difficulty: int, domain: Domain) -> Problem:
    """The largest of four numbers with different tens, the easy ones round; six numbers in the transfer domain."""
    tens = rng.permutation(9)[: size((4, 4, 4, 6), difficulty, domain)] + 1
    units = size((1, 10, 10, 10), difficulty, domain)
    numbers = [f"{ten}{rng.integers(units)}" for ten in tens]
    best = [max(numbers[: count + 1]) for count in range(len(numbers))]
    spoken = "; ".join(
        f"{letter} is {number}, against {before} it is {'more' if number > before else 'not more'}, so best is {after}"
        for letter, number, (before, after) in zip(LETTERS[1:], numbers[1:], pairwise(best), strict=False)
    )
    listed = " ".join(f"{letter}{number}" for letter, number in zip(LETTERS, numbers, strict=False))
    return Problem(
        prompt=f"max {listed}" if domain == "in_domain" else f"name the largest of {listed}",
        answer=best[-1],
        short=" ".join(best[1:]),
        compressed=" ".join(f"{letter}{after}" for letter, after in zip(LETTERS, best, strict=False)),
        reasoning=f"a is {numbers[0]}; {spoken}",
    )


CHAINS: MappingProxyType[str, Family] = MappingProxyType(
    {"add": add, "chain": chain, "times": times, "maximum": maximum}
)
