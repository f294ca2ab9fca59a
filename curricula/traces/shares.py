"""How much of each trace to keep: the same share of all, or more of the hard ones.

Difficulty is what a corpus knows without asking a model: where the length of a trace stands among those of its task.
Harder questions take their teacher longer, inside one task (arXiv 2509.22193 finds wrong traces, those of the hardest
questions, 1.5 to 2 times as long); across tasks length says more of the task than of the question. That hard examples
suffer from compression and easy ones do not is in the literature's close reading of trace compression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curricula.types import Floats, Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class LengthRanks:
    """Where a length stands among those of its task.

    Example: three traces of one task.
        >>> LengthRanks.of({"add": [40, 20, 20]}).rank("add", 40)
        0.8333333333333334
    """

    length_of: Mapping[str, Ints]  # distinct lengths of each task, ascending
    rank_of: Mapping[str, Floats]  # of each of them, in (0, 1)

    @classmethod
    def of(cls, lengths_by_task: Mapping[str, Sequence[int] | Ints]) -> LengthRanks:
        """Ranks of the lengths of each task: the share of its traces that are shorter, equal ones counted half.

        So the mean rank of a task's traces is one half.
        """
        length_of: dict[str, Ints] = {}
        rank_of: dict[str, Floats] = {}
        for task in sorted(lengths_by_task):
            length, count = np.unique(np.asarray(lengths_by_task[task], dtype=np.int32), return_counts=True)
            length_of[task] = length
            rank_of[task] = (np.cumsum(count) - count / 2) / max(1, count.sum())
        return cls(length_of=length_of, rank_of=rank_of)

    def rank(self, task: str, length: int) -> float:
        """Rank of a trace, in (0, 1); that of the nearest shorter one where its length was not counted.

        Raises:
            ValueError: no trace of the task was counted.
        """
        if not len(self.length_of.get(task, ())):
            raise ValueError(f"no trace of task {task!r} was counted, so difficulty within it is not known")
        place = int(np.searchsorted(self.length_of[task], length, side="right")) - 1
        return float(self.rank_of[task][max(0, place)])


def share_at(ratio: float, rank: float) -> float:
    """The share to keep of a trace of that rank: linear in the rank, `ratio` on average, never 0 nor 1.

    The hardest keep half as much again as the mean, or half of what remains to the whole where that is less; the
    easiest that much less.

    Example:
        >>> [round(share_at(0.3, rank), 3) for rank in (0.0, 0.5, 1.0)]
        [0.15, 0.3, 0.45]
    """
    return ratio + min(ratio, 1.0 - ratio) * (rank - 0.5)
