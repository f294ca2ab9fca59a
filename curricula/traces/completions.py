"""What teaching cost: targets made from one completion say all of its cost each, and it was paid once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa

from curricula.types import Cost, Supervision


class Completions:
    """What the completions behind some targets cost, each once.

    A teacher writes one completion for an example with its thinking on and one with its thinking off. The full trace,
    the response and what was compressed or cut from the trace are all made from the first, and each says all of its
    cost.
    """

    def __init__(self) -> None:
        self._total = Cost()
        self._example = -1
        self._of_example: dict[tuple[bool, str | None], Cost] = {}

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Go on with the next rows of a corpus's targets; those of one example follow each other."""
        columns = [batch.column(f"teach_{unit}") for unit in ("flops", "tokens", "dollars")]
        charged = np.flatnonzero(np.any([column.to_numpy() > 0 for column in columns], axis=0))
        taken = [column.take(pa.array(charged)).to_pylist() for column in columns]
        examples = batch.column("example").take(pa.array(charged)).to_pylist()
        names = batch.column("supervision").take(pa.array(charged)).to_pylist()
        for example, name, flops, tokens, dollars in zip(examples, names, *taken, strict=True):
            if example != self._example:
                self._total, self._example, self._of_example = self.cost(), example, {}
            key = _completion(name)
            known = self._of_example.get(key, Cost())
            self._of_example[key] = Cost(
                flops=max(flops, known.flops), tokens=max(tokens, known.tokens), dollars=max(dollars, known.dollars)
            )

    def cost(self) -> Cost:
        """Of all that was added."""
        return sum(self._of_example.values(), self._total)


@lru_cache(maxsize=4096)
def _completion(spelling: str) -> tuple[bool, str | None]:
    """Which completion a target is made from: with or without thinking, and whose."""
    supervision = Supervision.parse(spelling)
    return supervision.kind == "short", supervision.teacher
