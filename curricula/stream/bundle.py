"""Some rows on their way into a corpus: read, checked each by itself, and laid out in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from curricula.columns import example_table, target_table
from curricula.sieve import Sifted
from curricula.splits import places
from curricula.stream.intake import Drop

OFFERS = pa.schema(
    [
        ("where", pa.string()),
        ("own_id", pa.bool_()),
        ("targets", pa.int32()),
        ("split_place", pa.uint64()),
        ("transfer_place", pa.uint64()),
        ("carve_place", pa.uint64()),
    ]
)
DROPS = pa.schema([("example", pa.int32()), ("where", pa.string()), ("reason", pa.string()), ("shown", pa.string())])
NO_EXAMPLE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """Some rows on their way into a corpus, as Arrow tables: cheap to send and to write.

    Example:
        Bundle.pack([sift(example, where) for example, where in read], lost_rows=[], rows=2048)
    """

    examples: pa.Table  # EXAMPLES; the split is null where the example has none
    offers: pa.Table  # beside each example, what the writer has to know of it
    targets: pa.Table  # TARGETS; `example` counts from this bundle's first
    drops: pa.Table  # losses, each of an example of this bundle or of none
    rows: int  # raw rows read for it
    lost_rows: int  # of these, how many never became an example

    @classmethod
    def pack(
        cls, sifted: Sequence[Sifted], *, lost: Sequence[Drop] = (), left: Sequence[Drop] = (), rows: int
    ) -> Bundle:
        """Lay out examples and losses.

        Args:
            lost: rows that never became an example.
            left: targets that never became one, and other losses that are listed but are nobody's fault here.
        """
        place_N3 = [places(one.example.prompt) for one in sifted]
        offers = {
            "where": [_writable(one.where) for one in sifted],
            "own_id": [one.example.id is not None for one in sifted],
            "targets": [one.offered_targets for one in sifted],
            "split_place": [place for place, _, _ in place_N3],
            "transfer_place": [place for _, place, _ in place_N3],
            "carve_place": [place for _, _, place in place_N3],
        }
        owned = [(row, drop) for row, one in enumerate(sifted) for drop in one.drops]
        owned += [(NO_EXAMPLE, drop) for drop in (*lost, *left)]
        drops = {
            "example": [row for row, _ in owned],
            "where": [_writable(drop.where) for _, drop in owned],
            "reason": [_writable(drop.reason) for _, drop in owned],
            "shown": [_writable(drop.shown) for _, drop in owned],
        }
        examples = [one.example for one in sifted]
        return cls(
            examples=example_table(examples, [one.identity for one in sifted], [one.split for one in examples]),
            offers=pa.table(offers, schema=OFFERS),
            targets=target_table([one.targets for one in sifted]),
            drops=pa.table(drops, schema=DROPS),
            rows=rows,
            lost_rows=len(lost),
        )

    def to_bytes(self) -> bytes:
        """Everything, to be sent to another process."""
        sink = pa.BufferOutputStream()
        counts = pa.table({"rows": [self.rows], "lost_rows": [self.lost_rows]})
        for table in (self.examples, self.offers, self.targets, self.drops, counts):
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
        return sink.getvalue().to_pybytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Bundle:
        """What `to_bytes` wrote; the columns stay in the bytes given."""
        source = pa.BufferReader(content)
        examples, offers, targets, drops, counts = (pa.ipc.open_stream(source).read_all() for _ in range(5))
        rows, lost_rows = counts["rows"][0].as_py(), counts["lost_rows"][0].as_py()
        return cls(examples=examples, offers=offers, targets=targets, drops=drops, rows=rows, lost_rows=lost_rows)


def _writable(text: str) -> str:
    """A message as UTF-8 can hold it: half a surrogate pair of a broken row, or of a file's name, as its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
