"""Who is trained on and who is asked: splits by hash of the normalised prompt, so that near-copies stay together.

Axes: N examples, K distinct normalised prompts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from curricula.types import SPLITS, Bools, Example, Split

SHARES: tuple[tuple[Split, float], ...] = (("train", 0.92), ("probe", 0.02), ("dev", 0.03), ("test", 0.03))
"""Shares of in-domain examples that come without a split."""
TRANSFER_SHARES: tuple[tuple[Split, float], ...] = (("dev", 0.5), ("test", 0.5))
"""Shares of transfer examples that come without a split; they are never trained on or probed."""
CARVED_SHARES: tuple[tuple[Split, float], ...] = (("probe", 0.03), ("dev", 0.05))
"""Shares of train that become the splits of which a corpus with splits of its own has no in-domain example."""
NO_SPLIT = -1
"""In place of a split's index: the example comes without one."""

Places = NDArray[np.uint64]

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_TRAIN, _PROBE = SPLITS.index("train"), SPLITS.index("probe")


def assign_splits(examples: Sequence[Example]) -> list[Split]:
    """The split of each example, in their order, by the rules of `split_indices`."""
    if not examples:
        return []
    place_N3 = np.array([places(example.prompt) for example in examples], dtype=np.uint64)
    own_N = np.array([NO_SPLIT if one.split is None else SPLITS.index(one.split) for one in examples], dtype=np.int8)
    transfer_N = np.array([example.domain == "transfer" for example in examples], dtype=bool)
    return [SPLITS[index] for index in split_indices(own_N, transfer_N, place_N3)]


def split_indices(own_N: NDArray[np.int8], transfer_N: Bools, place_N3: Places) -> NDArray[np.int8]:
    """The split of each example, as an index of SPLITS: int8 [N].

    An example keeps its own. The others follow, in this order: a near-copy (equal `normalised` prompt) that has one
    or belongs to the transfer domain; the hash of the normalised prompt. Where some examples come with a split and
    no in-domain one is in probe (or dev), that split is carved from train, near-copies together.

    Args:
        own_N: the index of the split that each comes with; NO_SPLIT where none.
        transfer_N: whether each belongs to the transfer domain.
        place_N3: the `places` of each prompt. The first tells prompts apart: two of a million that differ are taken
            for near-copies with a probability of 3e-8.
    """
    split_place_N, transfer_place_N, carve_place_N = place_N3.T
    keys, key_N = np.unique(split_place_N, return_inverse=True)
    fixed_K = np.full(len(keys), NO_SPLIT, dtype=np.int8)
    given = np.flatnonzero(own_N != NO_SPLIT)
    key_given, first = np.unique(key_N[given], return_index=True)
    fixed_K[key_given] = own_N[given[first]]

    elsewhere_N = _by_share(transfer_place_N, TRANSFER_SHARES)
    transfer = np.flatnonzero(transfer_N & (fixed_K[key_N] == NO_SPLIT))
    fixed_K[key_N[transfer]] = elsewhere_N[transfer]  # copies of one prompt have one place

    fixed_N = fixed_K[key_N]
    split_N = np.where(fixed_N == NO_SPLIT, _by_share(split_place_N, SHARES), fixed_N)
    split_N = np.where(transfer_N & ((fixed_N == _TRAIN) | (fixed_N == _PROBE)), elsewhere_N, split_N)
    split_N = np.where(own_N == NO_SPLIT, split_N, own_N)
    if len(given):
        present = {SPLITS[index] for index in np.unique(split_N[~transfer_N])}
        carved: list[tuple[Split, float]] = [(split, share) for split, share in CARVED_SHARES if split not in present]
        carved.append(("train", 1.0 - sum(share for _, share in carved)))
        split_N = np.where(split_N == _TRAIN, _by_share(carve_place_N, carved), split_N)
    return split_N.astype(np.int8)


def refuse_empty(examples_of: Mapping[Split, int], *, name: str) -> None:
    """Refuse a corpus that cannot be trained on or probed.

    Raises:
        ValueError: no example stands in train, or none in probe.
    """
    remedies: dict[Split, str] = {"train": "give in-domain examples", "probe": "give more examples, or splits"}
    for split, remedy in remedies.items():
        if not examples_of[split]:
            found = ", ".join(f"{each} {count}" for each, count in examples_of.items())
            raise ValueError(f"corpus {name!r}: the {split} split is empty ({found}); {remedy}")


def places(prompt: str) -> tuple[int, int, int]:
    """Where a prompt's hashes fall in [0, 2**64), for sharing out, transfer and carving; near-copies fall alike."""
    key = normalised(prompt)
    return _place(key, "split"), _place(key, "transfer"), _place(key, "carve")


def normalised(prompt: str) -> str:
    """A prompt without case, and with every run of spaces and punctuation as one space; near-copies come out equal.

    A prompt without any word or digit is only stripped, so that such prompts stay apart.

    Example:
        >>> normalised("What is 3 + 4?")
        'what is 3 4'
    """
    words = _BETWEEN_WORDS.sub(" ", prompt.casefold()).strip()
    return words or prompt.strip()


def _place(key: str, purpose: str) -> int:
    """Where the hash of a key falls; those of different purposes are independent."""
    return int.from_bytes(hashlib.sha256(f"{purpose}\n{key}".encode()).digest()[:8], "big")


def _by_share(place_N: Places, shares: Sequence[tuple[Split, float]]) -> NDArray[np.int8]:
    """The index of the split on which each place falls."""
    rest_N = place_N.astype(np.float64) / 2**64
    split_N = np.full(len(place_N), SPLITS.index(shares[-1][0]), dtype=np.int8)
    open_N = np.ones(len(place_N), dtype=bool)
    for split, share in shares:
        falls_N = open_N & (rest_N < share)
        split_N[falls_N] = SPLITS.index(split)
        open_N &= ~falls_N
        rest_N = rest_N - share
    return split_N
