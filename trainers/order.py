"""Data order: which row stands at which place of a stage, as a function of (seed, the plan's rows, rows already drawn).

    place --shuffle of its pass--> ticket --shares--> row

A pass has as many places as there are rows, and can be entered anywhere: what is not drawn of it costs nothing, so that
a stage of ten thousand rows out of three million is planned in milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from curricula.types import Floats

BLOCK_ROWS = 4096  # drawn at once
ROUNDS = 6  # of a shuffle; with four, the 120 orders of five rows are not yet equally likely


def rows_digest(example_R: NDArray[np.integer], supervision_R: NDArray[np.integer], share_R: Floats) -> str:
    """Identity of a plan's rows and relative shares, the key of its data order."""
    digest = hashlib.sha256(np.ascontiguousarray(example_R, dtype="<i4").data)
    # Neighbours are mostly alike in these two: where they change says it all.
    for column_R, whole in ((supervision_R, 1.0), (share_R, share_R.sum())):
        start_G = np.flatnonzero(np.concatenate([[True], column_R[1:] != column_R[:-1]]))
        digest.update(f"{len(start_G)};".encode())
        digest.update(start_G.astype("<i4").data)
        digest.update((column_R[start_G] / whole).astype("<f8").data)
    return digest.hexdigest()[:32]


def draw_rows(share_R: Floats, *, seed: int, key: str, drawn: int) -> Iterator[NDArray[np.int64]]:
    """Rows in order, from the `drawn`-th on, without end, up to `BLOCK_ROWS` at once and never of two passes.

    A pass draws row r share_r * R times in expectation: its whole part in every pass, the fractional part by
    systematic sampling (one uniform offset a pass). So equal shares give plain epochs, each row once.
    """
    rows = len(share_R)
    edges_R = np.zeros(0)
    if share_R.min() != share_R.max():
        edges_R = np.cumsum(share_R)
        edges_R *= rows / edges_R[-1]
    number, place = divmod(drawn, rows)
    while True:
        entropy = int.from_bytes(hashlib.sha256(f"{seed}/{key}/{number}".encode()).digest()[:16], "little")
        rng = np.random.Generator(np.random.PCG64(entropy))
        shuffle = Shuffle(rows, rng)
        offset = rng.random()
        for start in range(place, rows, BLOCK_ROWS):
            ticket_B = shuffle(np.arange(start, min(start + BLOCK_ROWS, rows)))
            if not len(edges_R):
                yield ticket_B
            else:
                # Rounding may leave the last edge a little below the last ticket.
                at_B = np.minimum(ticket_B + (1.0 - offset), edges_R[-1])
                yield np.searchsorted(edges_R, at_B)
        number, place = number + 1, 0


class Shuffle:
    """A random order of the numbers below `size`, of which any part can be had without the rest.

    The numbers stand in a table of about as many rows as columns, and some cells beyond the last number. A round moves
    every row's cells along by an amount drawn for that row, then every column's: a Feistel network with random tables
    for round functions (Luby and Rackoff 1988, How to construct pseudorandom permutations, SIAM J. Comput. 17(2)), over
    Z_a x Z_b as in Black and Rogaway 2002 (Ciphers with arbitrary finite domains, CT-RSA), whose cycle walking brings
    back what lands beyond the last number.

    Example:
        Shuffle(5, np.random.default_rng(0))(np.arange(5))  # 0 to 4, in some order
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        """Draw the amounts: about 2 * ROUNDS * sqrt(size) numbers."""
        self.size = size
        self.height = isqrt(size - 1) + 1
        self.width = -(-size // self.height)
        self.down_KW = rng.integers(0, self.height, (ROUNDS, self.width))
        self.along_KH = rng.integers(0, self.width, (ROUNDS, self.height))

    def __call__(self, place_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers at these places, which lie in [0, size)."""
        number_B = self._moved(place_B)
        while len(beyond := np.flatnonzero(number_B >= self.size)):
            number_B[beyond] = self._moved(number_B[beyond])
        return number_B

    def _moved(self, number_B: NDArray[np.int64]) -> NDArray[np.int64]:
        row_B, column_B = np.divmod(number_B, self.width)
        for down_W, along_H in zip(self.down_KW, self.along_KH, strict=True):
            row_B = (row_B + down_W[column_B]) % self.height
            column_B = (column_B + along_H[row_B]) % self.width
        return row_B * self.width + column_B
