"""Near-copies among many texts: those whose sets of runs of 5 words have a Jaccard similarity of about 0.8 or more.

The similarity is estimated as the share of 32 hash functions under which both sets have the same least value (Broder
1997, On the resemblance and containment of documents); its standard error at 0.8 is 0.07. Candidates are texts that
agree in all 4 minima of one of 8 bands (as in Lee et al. 2022, Deduplicating training data makes language models
better): of pairs with a similarity of 0.8, 98% do; of 0.5, 40%. A text is compared with the 4 before it in each bucket,
so that a crowded bucket may lose some.

Axes: G runs of words, R texts, K minima.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curricula.description.word_runs import FACTOR, Hashes, Rows, mixed, runs

NEAR_RUN_WORDS = 5
NEAR_SIMILARITY = 0.8
"""Estimated similarity from which two texts are near-copies."""

_BANDS, _BAND_MINIMA = 8, 4
MINIMA = _BANDS * _BAND_MINIMA
"""Numbers that stand for a text."""
_BUCKET_REACH = 4  # earlier texts of a bucket that a text is compared with
_MULTIPLIERS = mixed(np.arange(1_000, 1_000 + MINIMA, dtype=np.uint64) * FACTOR) | np.uint64(1)

Minima = NDArray[np.uint32]


def minima_of(texts: Sequence[str]) -> tuple[Rows, Minima]:
    """Of each text of more than one run of words its least hash under every hash function: (places, uint32 [R, K]).

    Texts stand as in curricula.description.word_runs. A text of one run is nearly equal to its equals alone.
    """
    places, found = [np.zeros(0, np.int64)], [np.zeros((0, MINIMA), np.uint32)]
    for place, run_G in runs(texts, NEAR_RUN_WORDS):
        owner, start, count = np.unique(place, return_index=True, return_counts=True)
        minima = np.empty((len(owner), MINIMA), dtype=np.uint32)
        for k in range(MINIMA):
            # The upper half of a product with an odd number: its lower bits depend on few bits of the hash.
            hashed = ((run_G * _MULTIPLIERS[k]) >> np.uint64(32)).astype(np.uint32)
            minima[:, k] = np.minimum.reduceat(hashed, start)
        several = count > 1
        places.append(owner[several])
        found.append(minima[several])
    return np.concatenate(places), np.concatenate(found)


def near_copies(minima_RK: Minima, row_R: Rows) -> list[tuple[int, int]]:
    """Rows nearly equal to an earlier one, each with the most similar of those it was compared with; ascending.

    Args:
        minima_RK: of texts that differ, in their order.
        row_R: their rows, ascending.
    """
    best_R = np.zeros(len(row_R), dtype=np.int64)  # minima that agree
    with_R = np.zeros(len(row_R), dtype=np.int64)
    for band in range(_BANDS):
        key_R = _combined(minima_RK[:, band * _BAND_MINIMA : (band + 1) * _BAND_MINIMA].astype(np.uint64))
        order = np.argsort(key_R, kind="stable")  # of a bucket the earlier prompts come first
        for back in range(1, _BUCKET_REACH + 1):
            same = np.flatnonzero(key_R[order[back:]] == key_R[order[:-back]])
            for part in np.array_split(same, len(same) // 65_536 + 1):
                later, earlier = order[part + back], order[part]
                agree = (minima_RK[later] == minima_RK[earlier]).sum(1)
                better = agree > best_R[later]
                best_R[later[better]], with_R[later[better]] = agree[better], earlier[better]
    near = np.flatnonzero(best_R >= NEAR_SIMILARITY * MINIMA)
    return list(zip(row_R[near].tolist(), row_R[with_R[near]].tolist(), strict=True))


def _combined(value_RK: Hashes) -> Hashes:
    total = np.zeros(len(value_RK), dtype=np.uint64)
    for k in range(value_RK.shape[1]):
        total = mixed(total * FACTOR + value_RK[:, k])
    return total
