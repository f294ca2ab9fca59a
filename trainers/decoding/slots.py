"""Keys and values of rows that are written side by side, one slot a row, all ending at the same place.

    slot 0   . . . . k k k k k k k|            k: a key of the row; |: where the next token of every row will stand
    slot 1   . . . . . . . k k k k|            the columns that any row has in use are attended to, the others not
    slot 2   . k k k k k k k k k k|

A row that joins is written into a free slot, right up to the end; one that leaves hands its slot to the last row. So
neither moves the others. Columns are taken to the right; where they run out, those in use move to the left.

Legend: R slots, K key-value heads, G query heads that share one, C columns, A attended columns, W head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from trainers.measuring import spare_columns

DECODING = "decoding"
KeysAndValues = tuple[torch.Tensor, ...]
"""Two, of one layer."""
_Mask = torch.Tensor | None


class Slots:
    """The cache of one request, allocated once rows are read."""

    def __init__(self) -> None:
        self._end = 0
        self._layers: list[tuple[torch.Tensor, ...]] = []  # keys and values (R, K, C, W)
        self._length_R: list[int] = []  # columns in use, by slot
        # Of the step at hand:
        self._used_R = torch.zeros(0, dtype=torch.int64)  # columns in use, the new one included
        self._mask_of: dict[int, _Mask] = {}  # by attended columns

    def __len__(self) -> int:
        return len(self._length_R)

    @property
    def width(self) -> int:
        """Columns of the longest row."""
        return max(self._length_R, default=0)

    def join(self, layers: Sequence[KeysAndValues], length_B: Sequence[int], *, most: int) -> None:
        """Take up rows that were read, each from the left end of (B, K, L, W) on, its first `length_B` positions.

        Args:
            most: rows that may stand side by side from now on, as in `advance`; it never grows.
        """
        if not self._layers:
            self._layers = [tuple(read[:0, :, :0] for read in layer) for layer in layers]
        self._make_room(max(length_B), 0, most)
        first = len(self)
        for kept_layer, layer in zip(self._layers, layers, strict=True):
            for kept, read in zip(kept_layer, layer, strict=True):
                for place, length in enumerate(length_B):
                    kept[first + place, :, self._end - length : self._end] = read[place, :, :length]
        self._length_R += length_B

    @torch.inference_mode()
    def leave(self, slot: int) -> None:
        """Free a slot; the last row moves there."""
        last = len(self) - 1
        if slot != last:
            used = slice(self._end - self._length_R[last], self._end)
            for layer in self._layers:
                for kept in layer:
                    kept[slot, :, used] = kept[last, :, used]
            self._length_R[slot] = self._length_R[last]
        self._length_R.pop()

    def advance(self, *, most: int) -> torch.Tensor:
        """Make place for one more token in every row; their positions (rows, 1)."""
        self._make_room(0, 1, most)
        self._end += 1
        position_R = torch.tensor(self._length_R, device=self._layers[0][0].device)
        self._length_R = [length + 1 for length in self._length_R]
        self._mask_of.clear()
        self._used_R = position_R + 1
        return position_R[:, None]

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """One new token a row over its row so far, itself included: queries (rows, K G, 1, W) -> (rows, 1, K G, W)."""
        rows, at = len(self), self._end - 1
        keys, values = self._layers[layer]
        keys[:rows, :, at : at + 1], values[:rows, :, at : at + 1] = key, value
        if keys.dtype != torch.float32 and softcap is None:
            return self._attend_alone(query, keys, values, scaling=scaling, window=window)
        width = self.width if window is None else min(self.width, window)
        keys, values = keys[:rows, :, self._end - width : self._end], values[:rows, :, self._end - width : self._end]
        grouped = query.unflatten(1, (keys.shape[1], -1)).squeeze(3)  # (rows, K, G, W)
        scores = grouped @ keys.transpose(2, 3)
        scores *= query.shape[-1] ** -0.5 if scaling is None else scaling
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        mask = self._mask(width, scores)
        if mask is not None:
            scores += mask
        weights = scores.softmax(-1, dtype=torch.float32).to(values.dtype)
        return (weights @ values).flatten(1, 2)[:, None]

    def _attend_alone(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        *,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """The same row by row, over no column but its own, as the row would be attended to if it were the only one.

        Where sums are rounded to 8 bits, masked columns beside a row change its answers (experiments/LOG.md).
        """
        outputs = []
        for slot, used in enumerate(self._length_R):
            own = slice(self._end - (used if window is None else min(used, window)), self._end)
            row = slice(slot, slot + 1)
            outputs.append(
                scaled_dot_product_attention(
                    query[row], keys[row, :, own], values[row, :, own], scale=scaling, enable_gqa=True
                )
            )
        return torch.cat(outputs).transpose(1, 2)

    def _mask(self, width: int, like: torch.Tensor) -> _Mask:
        """What is added to the scores of `width` columns (rows, 1, 1, width); None where all rows fill them."""
        if width not in self._mask_of:
            needed = min(self._length_R) < width
            column_A = torch.arange(width, device=like.device)
            before = column_A < width - self._used_R[:, None]
            mask = torch.zeros(before.shape, dtype=like.dtype, device=like.device).masked_fill_(before, -torch.inf)
            self._mask_of[width] = mask[:, None, None] if needed else None
        return self._mask_of[width]

    def _make_room(self, length: int, more: int, most: int) -> None:
        """Let rows of `length` end where the others do, and every row grow by `more` columns.

        What is moved has room for `most` rows alone: of many answers the last is often long alone.
        """
        columns = self._layers[0][0].shape[2]
        if length <= self._end and self._end + more <= columns:
            return
        used = self.width
        end = max(used, length)

        def moved(old: torch.Tensor) -> torch.Tensor:
            # Zeros, for what is masked counts nothing only if it is a number.
            new = old.new_zeros((most, old.shape[1], end + spare_columns(end), old.shape[3]))
            new[: len(self), :, end - used : end] = old[: len(self), :, self._end - used : self._end]
            return new

        for number, layer in enumerate(self._layers):
            self._layers[number] = tuple(moved(old) for old in layer)
        self._end = end


def _decoding(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    slots: Slots,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers asks for it, of one new token in every slot."""
    layer = vars(module)["layer_idx"]
    return slots.attend(layer, query, key, value, scaling=scaling, window=sliding_window, softcap=softcap), None


# Without a mask function of the same name, transformers builds no mask for it.
AttentionInterface.register(DECODING, _decoding)


@contextmanager
def decoding_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, a forward pass takes one token a row, and attends through the slots that it is handed."""
    own = model.config._attn_implementation
    model.config._attn_implementation = DECODING
    try:
        yield
    finally:
        model.config._attn_implementation = own
