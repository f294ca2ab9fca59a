"""Arithmetic written out step by step, shared by the short and the long families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MODULUS = 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Steps are named by letter in prompts and traces, so that a small student finds the next one by matching."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a written sum, units first.

    Example: the tens of 47+38, where the units carried one.
        Column(left=4, right=3, carry=1, total=8)
    """

    left: int
    right: int
    carry: int  # into this column
    total: int  # left + right + carry

    @property
    def equation(self) -> str:
        """The column as an equation, the carry named only where there is one."""
        carry = f"+{self.carry}" if self.carry else ""
        return f"{self.left}+{self.right}{carry}={self.total}"


def add_columns(left: str, right: str) -> list[Column]:
    """The columns of left + right, units first; the shorter number is padded with zeros."""
    width = max(len(left), len(right))
    columns: list[Column] = []
    carry = 0
    for first, second in zip(reversed(left.zfill(width)), reversed(right.zfill(width)), strict=True):
        total = int(first) + int(second) + carry
        columns.append(Column(left=int(first), right=int(second), carry=carry, total=total))
        carry = total // 10
    return columns


@dataclass(frozen=True, kw_only=True)
class Partial:
    """One digit of a product with a one-digit number, units first.

    Example: the tens of 47*8, where the units carried five.
        Partial(digit=4, factor=8, carry=5, total=37)
    """

    digit: int
    factor: int
    carry: int
    total: int  # digit * factor + carry

    @property
    def equation(self) -> str:
        """The step as an equation, the carry named only where there is one."""
        carry = f"+{self.carry}" if self.carry else ""
        return f"{self.digit}*{self.factor}{carry}={self.total}"


def multiply_digits(number: str, factor: int) -> list[Partial]:
    """The steps of number * factor, units first."""
    steps: list[Partial] = []
    carry = 0
    for digit in reversed(number):
        total = int(digit) * factor + carry
        steps.append(Partial(digit=int(digit), factor=factor, carry=carry, total=total))
        carry = total // 10
    return steps


@dataclass(frozen=True, kw_only=True)
class ModularChain:
    """A start in [0, 10) and operations, each followed by reduction mod 10.

    Example: from 8 double, then add 5.
        ModularChain(start=8, operations=("x", "5"), raw=(16, 11), states=(6, 1))
    """

    start: int
    operations: tuple[str, ...]  # a digit is added, "x" doubles
    raw: tuple[int, ...]  # after each operation, before reduction
    states: tuple[int, ...]  # after each operation, reduced

    @property
    def listed(self) -> str:
        """The operations, each under its letter."""
        return " ".join(f"{letter}{operation}" for letter, operation in zip(LETTERS, self.operations, strict=False))

    @property
    def steps(self) -> list[str]:
        """The left side of each step's equation: letter, operation and the state it meets, side by side."""
        before = (self.start, *self.states[:-1])
        return [
            f"{letter}{operation}+{value}"
            for letter, operation, value in zip(LETTERS, self.operations, before, strict=False)
        ]


def modular_chain(rng: np.random.Generator, length: int, doubling_share: float) -> ModularChain:
    """A random chain in which a share of the operations double (x stands for the state itself): so order matters."""
    start = value = int(rng.integers(MODULUS))
    operations: list[str] = []
    raw: list[int] = []
    for _ in range(length):
        doubles = rng.random() < doubling_share
        addend = value if doubles else int(rng.integers(1, MODULUS))
        operations.append("x" if doubles else str(addend))
        raw.append(value + addend)
        value = raw[-1] % MODULUS
    states = tuple(total % MODULUS for total in raw)
    return ModularChain(start=start, operations=tuple(operations), raw=tuple(raw), states=states)
