"""Raw rows of a hub dataset, streamed: nothing is kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from datasets import IterableDataset, load_dataset
from datasets.exceptions import DatasetsError

from curricula.stream.intake import Drop
from curricula.stream.rows import Chunk, Row
from curricula.stream.sources import UNKNOWN_ROWS


@dataclass(frozen=True, kw_only=True)
class HubChunk(Chunk):
    """One shard of a streamed dataset; `path` is its id."""

    hub_split: str
    subset: str | None
    shard: int
    shards: int

    def read(self) -> Iterator[tuple[str, Row] | Drop]:
        """One row a row."""
        where = f"{self.path}, split {self.hub_split}" + (f", shard {self.shard + 1}" if self.shards > 1 else "")
        try:
            stream = _stream(self.path, subset=self.subset, split=self.hub_split)
            if self.shards > 1:
                stream = stream.shard(num_shards=self.shards, index=self.shard)
            for number, row in enumerate(islice(stream, self.rows), start=self.first):
                yield f"{where}, row {number}", row
        except (DatasetsError, OSError) as error:
            raise ValueError(f"{where}: {_why(error)}") from error


def hub_chunks(name: str, *, subset: str | None, split: str, sharded: bool) -> Iterator[HubChunk]:
    """One chunk for each shard, or for all where they are not to be told apart.

    Raises:
        ValueError: the hub cannot be reached, has no such dataset, subset or split, or asks for a login.
    """
    try:
        stream = _stream(name, subset=subset, split=split)
        shards = stream.num_shards if sharded else 1
        known = (stream.info.splits or {}).get(split) if shards == 1 else None
    except (DatasetsError, OSError, ValueError) as error:
        raise ValueError(f"hub dataset {name!r}: {_why(error)}") from error
    rows = UNKNOWN_ROWS if known is None or not known.num_examples else known.num_examples
    for shard in range(shards):
        yield HubChunk(path=name, first=1, rows=rows, hub_split=split, subset=subset, shard=shard, shards=shards)


def _stream(name: str, *, subset: str | None, split: str) -> IterableDataset:
    stream = load_dataset(name, subset, split=split, streaming=True)
    assert isinstance(stream, IterableDataset)
    return stream


def _why(error: Exception) -> str:
    """One line for a person."""
    said = " ".join(str(error).split()) or type(error).__name__
    if "gated" in said or "authenticated" in said:
        return f"{said}; log in with `hf auth login` once its terms are accepted, or set HF_TOKEN"
    if isinstance(error, ConnectionError):
        return f"{said}; there is no such path here, and the hub cannot be reached: download the files, or go online"
    return said
