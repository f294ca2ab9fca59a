"""Bands of questions by what is known of them before anybody answers: the length of the prompt, or of the solution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curricula.corpus import Corpus
from curricula.rendering import split_thinking
from curricula.types import Ints, Supervision, SupervisionKind

QUARTERS = (0.25, 0.5, 0.75, 1.0)
THIRDS = (1 / 3, 2 / 3, 1.0)
WORKED: tuple[SupervisionKind, ...] = ("reasoning", "short", "response")
"""The kinds of target that show a question's working in full, the fullest first."""


def length_bands(chars_N: Ints, shares: Sequence[float] = QUARTERS) -> tuple[str, ...]:
    """The band of each text by its length, by default quarters; texts of one length share a band.

    Args:
        shares: of the texts that do not exceed each band's longest one, ascending to 1.

    Example:
        >>> length_bands(np.array([8, 9, 12, 40], dtype=np.int32))[0]
        '1: 8 to 8 characters'
    """
    edges = np.unique(np.quantile(chars_N, shares, method="inverted_cdf"))
    band_N = np.searchsorted(edges, chars_N)  # the first edge that is not exceeded
    spans = [(chars_N[band_N == band].min(), chars_N[band_N == band].max()) for band in range(len(edges))]
    names = [f"{band}: {low} to {high} characters" for band, (low, high) in enumerate(spans, start=1)]
    return tuple(names[band] for band in band_N)


def difficulty_bands(corpus: Corpus, row_Q: NDArray[np.integer]) -> tuple[str, ...] | None:
    """The difficulty of Q distinct corpus rows: thirds by the length of their worked solution, in characters.

    A corpus has no column of difficulty, and a difficulty model of a run's own would give every run other bands. How
    much working a question takes is known of every corpus with traces, whoever the student. Lengths are compared under
    one supervision only: of the fullest kind that is there (the reasoning, without its answer; a short or a whole
    response), the one that most of the questions have. Those without it have a band of their own.

    Returns:
        None where no question has working.

    Example:
        '2: 61 to 118 characters of reasoning'
    """
    held = np.flatnonzero(np.isin(corpus.targets["example"].to_numpy(), row_Q))
    columns = corpus.targets.select(["example", "supervision", "text"]).take(held).to_pydict()
    supervision = _fullest(columns["supervision"])
    if supervision is None:
        return None
    place_of = {row: place for place, row in enumerate(row_Q.tolist())}
    chars_Q = np.full(len(row_Q), -1, dtype=np.int32)
    for row, name, text in zip(columns["example"], columns["supervision"], columns["text"], strict=True):
        if name == supervision:
            trace, rest = split_thinking(text)
            chars_Q[place_of[row]] = len(trace if trace is not None else rest or "")
    known = np.flatnonzero(chars_Q >= 0)
    bands = [f"without {supervision}"] * len(row_Q)
    for place, band in zip(known.tolist(), length_bands(chars_Q[known], THIRDS), strict=True):
        bands[place] = f"{band} of {supervision}"
    return tuple(bands)


def _fullest(supervisions: Sequence[str]) -> str | None:
    """Of supervisions, one for each target, the most frequent one of the fullest kind, the first by name of equals."""
    names, counts = np.unique(np.array(supervisions, dtype=np.str_), return_counts=True)
    for kind in WORKED:
        of_kind = [
            (-int(count), str(name))
            for name, count in zip(names, counts, strict=True)
            if Supervision.parse(str(name)).kind == kind
        ]
        if of_kind:
            return min(of_kind)[1]
    return None
