"""Hashes of texts and of all their runs of n words, many texts at once: what near-copies and leakage are found by.

Words stand between single spaces, as in a normalised prompt (curricula.splits). Everything is arithmetic modulo 2**64.

Axes: G runs of words, W words, B bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

CHUNK_CHARS = 1_000_000
"""About so many characters are hashed at once, and no text is to be longer."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Of the polynomials; odd, so that it has an inverse modulo 2**64."""

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]


def whole_hashes(texts: Sequence[str]) -> Hashes:
    """BLAKE2b of each text, 64 bits."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def runs(texts: Sequence[str], n: int) -> Iterator[tuple[Rows, Hashes]]:
    """Hashes of every run of n words of some texts, of a shorter text that of all of it: (place of the text, hash).

    Texts come in pieces of bounded size, none in two of them, and in the order given.
    """
    start, size = 0, 0
    for place, text in enumerate(texts):
        if size and size + len(text) > CHUNK_CHARS:
            place_G, run_G = _runs_at_once(texts[start:place], n)
            yield start + place_G, run_G
            start, size = place, 0
        size += len(text)
    if start < len(texts):
        place_G, run_G = _runs_at_once(texts[start:], n)
        yield start + place_G, run_G


def _runs_at_once(texts: Sequence[str], n: int) -> tuple[Rows, Hashes]:
    """`runs` of a few texts at once.

    A word's hash is the difference of two sums of its bytes' random numbers times powers of one factor, divided by the
    power at its start, and then mixed; a run's is a polynomial in those of its words, mixed again.
    """
    encoded = [text.encode() for text in texts]
    byte_B = np.frombuffer(b" ".join(encoded) + b" ", dtype=np.uint8)
    end_W = np.flatnonzero(byte_B == ord(" "))
    text_end = np.cumsum([len(text) + 1 for text in encoded]) - 1
    text_W = np.searchsorted(text_end, end_W)
    start_W = np.concatenate([[0], end_W[:-1] + 1])
    power_B = np.cumprod(np.full(len(byte_B), FACTOR))
    sum_B = np.cumsum(_OF_BYTE[byte_B] * power_B)
    inverse_B = np.cumprod(np.full(len(byte_B), np.uint64(pow(int(FACTOR), -1, 2**64))))
    before_W = np.where(start_W > 0, sum_B[start_W - 1], np.uint64(0))
    word_W = mixed((sum_B[end_W] - before_W) * inverse_B[start_W])
    run_W = np.zeros(max(0, len(word_W) - n + 1), dtype=np.uint64)
    for k in range(n):
        run_W = run_W * FACTOR + word_W[k : k + len(run_W)]
    inside = np.flatnonzero(text_W[: len(run_W)] == text_W[n - 1 :])
    short = np.flatnonzero(np.bincount(text_W, minlength=len(texts)) < n)
    place_G = np.concatenate([text_W[inside], short])
    run_G = np.concatenate([mixed(run_W[inside]), whole_hashes([texts[place] for place in short.tolist()])])
    order = np.argsort(place_G, kind="stable")
    return place_G[order], run_G[order]


def mixed(value: Hashes) -> Hashes:
    """Every bit of the result depends on every bit of the value: the end of SplitMix64 (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


_OF_BYTE = mixed(np.arange(1, 257, dtype=np.uint64) * FACTOR)
