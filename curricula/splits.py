"""Who is trained on and who is asked: splits by hash of the normalised prompt, so that near-copies stay together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from curricula.types import Example, Split

SHARES: tuple[tuple[Split, float], ...] = (("train", 0.92), ("probe", 0.02), ("dev", 0.03), ("test", 0.03))
"""Shares of in-domain examples that come without a split."""
TRANSFER_SHARES: tuple[tuple[Split, float], ...] = (("dev", 0.5), ("test", 0.5))
"""Shares of transfer examples that come without a split; they are never trained on or probed."""
CARVED_SHARES: tuple[tuple[Split, float], ...] = (("probe", 0.03), ("dev", 0.05))
"""Shares of train that become the splits of which a corpus with splits of its own has no in-domain example."""

_BETWEEN_WORDS = re.compile(r"[\W_]+")


def assign_splits(examples: Sequence[Example]) -> list[Split]:
    """The split of each example, in their order.

    An example keeps its own. The others follow, in this order: a near-copy (equal `normalised` prompt) that has one
    or belongs to the transfer domain; the hash of the normalised prompt. Where some examples come with a split and
    no in-domain one is in probe (or dev), that split is carved from train, near-copies together.
    """
    keys = [normalised(example.prompt) for example in examples]
    fixed: dict[str, Split] = {}
    for example, key in zip(examples, keys, strict=True):
        if example.split is not None:
            fixed.setdefault(key, example.split)
    own = bool(fixed)
    for example, key in zip(examples, keys, strict=True):
        if example.domain == "transfer":
            fixed.setdefault(key, _by_share(key, "transfer", TRANSFER_SHARES))
    splits: list[Split] = [_split(example, key, fixed) for example, key in zip(examples, keys, strict=True)]
    if own:
        present = {split for example, split in zip(examples, splits, strict=True) if example.domain == "in_domain"}
        carved: list[tuple[Split, float]] = [(split, share) for split, share in CARVED_SHARES if split not in present]
        carved.append(("train", 1.0 - sum(share for _, share in carved)))
        for row, key in enumerate(keys):
            if splits[row] == "train":
                splits[row] = _by_share(key, "carve", carved)
    return splits


def normalised(prompt: str) -> str:
    """A prompt without case, and with every run of spaces and punctuation as one space; near-copies come out equal.

    A prompt without any word or digit is only stripped, so that such prompts stay apart.

    Example:
        >>> normalised("What is 3 + 4?")
        'what is 3 4'
    """
    words = _BETWEEN_WORDS.sub(" ", prompt.casefold()).strip()
    return words or prompt.strip()


def _split(example: Example, key: str, fixed: dict[str, Split]) -> Split:
    if example.split is not None:
        return example.split
    if example.domain == "transfer" and fixed[key] in ("train", "probe"):
        return _by_share(key, "transfer", TRANSFER_SHARES)
    return fixed[key] if key in fixed else _by_share(key, "split", SHARES)


def _by_share(key: str, purpose: str, shares: Sequence[tuple[Split, float]]) -> Split:
    """The split on which a prompt's hash falls; the hashes of different purposes are independent."""
    digest = hashlib.sha256(f"{purpose}\n{key}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for split, share in shares:
        if place < share:
            return split
        place -= share
    return shares[-1][0]
