"""How long a user waits: seconds of single answers, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds of an answer at batch 1, from prompt tokens to text, on the machine that measured it.

    Example:
        Latency(median_seconds=0.12, p90_seconds=0.31, answers=16, threads=2, device="cpu")
    """

    median_seconds: float
    p90_seconds: float  # that 90% of the answers do not exceed
    answers: int
    threads: int
    device: str


def latency(seconds: Sequence[float], *, threads: int, device: str) -> Latency:
    """Sum up the seconds of single answers.

    Raises:
        ValueError: there are none.
    """
    if len(seconds) == 0:
        raise ValueError("no answers to take the seconds of")
    return Latency(
        median_seconds=float(np.median(seconds)),
        p90_seconds=float(np.quantile(seconds, 0.9, method="inverted_cdf")),
        answers=len(seconds),
        threads=threads,
        device=device,
    )


def evenly(row_Q: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` rows evenly spaced among Q, the first and the last among them; all where there are no more.

    Example:
        >>> evenly(np.arange(9), 3).tolist()
        [0, 4, 8]
    """
    return row_Q if len(row_Q) <= count else row_Q[np.linspace(0, len(row_Q) - 1, count).round().astype(np.int64)]
