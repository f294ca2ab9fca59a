"""Micro-batches as tensors, and the one loss: nats at supervised positions only, the head computed nowhere else.

Legend: B rows, L positions of a row, T packed positions, H supervised positions (rounded up), V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from trainers.attention import is_packed, packed_attention
from trainers.batches import Integers, MicroBatch, pack
from trainers.components import decoder_blocks
from trainers.jobs import Precision
from trainers.last_mlp import Supervised, last_mlp_narrowed
from trainers.packing import Group, GroupIndices, Packing
from trainers.tokens import IGNORED_LABEL, TokenStore

LOGIT_TOLERANCE = 1e-3
"""Absolute and relative: by how much the same fp32 logits may differ, summed in another order."""
ROUGH_TOLERANCE = 0.1
"""Of all logits together: bf16 keeps three digits, and a wrong mask is far from them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows that can be computed: store examples under supervisions. R rows."""

    store: TokenStore
    example_R: Integers  # of the store, not of a split's table
    supervision_R: Integers

    @cached_property
    def prompt_tokens_R(self) -> NDArray[np.int32]:
        """Tokens of each row's prompt."""
        return self.store.prompt_tokens_N[self.example_R]

    @cached_property
    def target_tokens_R(self) -> NDArray[np.int32]:
        """Tokens of each row's target, the end token counted."""
        return self.store.target_tokens_NS[self.example_R, self.supervision_R]

    @cached_property
    def thinking_tokens_R(self) -> NDArray[np.int32]:
        """Tokens of each row's think block, with which its target begins; 0 where it has none."""
        return self.store.thinking_tokens_NS[self.example_R, self.supervision_R]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One micro-batch on a device, packed."""

    input_ids: torch.Tensor  # (1, T): the rows one after another, then what fills the end
    position_ids: torch.Tensor  # (1, T): from 0 in every row
    packing: Packing
    position_H: torch.Tensor  # packed positions whose next token is supervised; 0 where rounded up
    label_H: torch.Tensor  # the next token there; IGNORED_LABEL where rounded up
    row_H: torch.Tensor  # which of the B rows
    supervised_tokens: int  # how many of the H are not rounding


def collate(rows: Rows, batch: MicroBatch, *, pad_id: int, device: torch.device) -> Batch:
    """Tensors of one micro-batch."""
    example_B, supervision_B = rows.example_R[batch.row_B].tolist(), rows.supervision_R[batch.row_B].tolist()
    prompts = [rows.store.prompt(example) for example in example_B]
    targets = [rows.store.target(*pair) for pair in zip(example_B, supervision_B, strict=True)]
    return collate_tokens(prompts, targets, batch, pad_id=pad_id, device=device)


def collate_tokens(
    prompts: Sequence[Integers], targets: Sequence[Integers], batch: MicroBatch, *, pad_id: int, device: torch.device
) -> Batch:
    """Tensors of B rows given as tokens. Position p predicts token p + 1, so a target begins at its prompt's last."""
    start_B = np.cumsum(batch.width_B) - batch.width_B
    filled = int(batch.width_B.sum())
    ids_T = np.full(batch.positions, pad_id, dtype=np.int64)
    real = np.repeat(start_B, batch.length_B) + _counted(batch.length_B)
    ids_T[real] = np.concatenate([part for row in zip(prompts, targets, strict=True) for part in row])
    position_T = np.concatenate([_counted(batch.width_B), np.arange(batch.positions - filled)])
    target_B = np.array([len(target) for target in targets])
    first_B = start_B + batch.length_B - target_B - 1
    head_fill = np.zeros(batch.head_positions - batch.supervised_tokens, dtype=np.int64)
    starts = np.concatenate([start_B, [filled], [batch.positions] if batch.positions > filled else []])
    indices = [_group_indices(batch.width_B[first:last]) for first, last in batch.groups]
    arrays = [
        ids_T,
        position_T,
        np.concatenate([np.repeat(first_B, target_B) + _counted(target_B), head_fill]),
        np.concatenate([*targets, head_fill + IGNORED_LABEL]),
        np.concatenate([np.repeat(np.arange(len(target_B)), target_B), head_fill]),
        starts,
        *itertools.chain.from_iterable(indices),
    ]
    ids, position_ids, position_H, label_H, row_H, start_tensor, *rest = _on_device(arrays, device)
    remaining = iter(rest)
    groups = tuple(
        Group(
            first=int(start_B[first]),
            last=int(start_B[last - 1] + batch.width_B[last - 1]),
            rows=last - first,
            length=int(batch.width_B[last - 1]),
            indices=GroupIndices(*itertools.islice(remaining, 3)) if arrays_of_group else None,
        )
        for (first, last), arrays_of_group in zip(batch.groups, indices, strict=True)
    )
    longest = max(int(batch.width_B[-1]), batch.positions - filled)
    return Batch(
        input_ids=ids[None],
        position_ids=position_ids[None],
        packing=Packing(starts=start_tensor.int(), longest=longest, groups=groups),
        position_H=position_H,
        label_H=label_H,
        row_H=row_H,
        supervised_tokens=batch.supervised_tokens,
    )


def _counted(count_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2, ... of every row, one row after another."""
    return np.arange(count_B.sum()) - np.repeat(np.cumsum(count_B) - count_B, count_B)


def _group_indices(width_B: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """What `GroupIndices` holds of a group with rows of these widths, the widest last; nothing if all are equal."""
    longest = width_B[-1]
    if width_B[0] == longest:
        return ()
    start_B = np.cumsum(width_B) - width_B
    real_S = (np.arange(longest) < width_B[:, None]).ravel()
    take_S = (start_B[:, None] + np.arange(longest)).ravel()
    return np.minimum(take_S, width_B.sum() - 1), np.flatnonzero(real_S), np.flatnonzero(~real_S)


def _on_device(arrays: Sequence[NDArray[np.int64]], device: torch.device) -> Sequence[torch.Tensor]:
    """Whole numbers as tensors, copied together: a copy to an accelerator costs the same for one as for all."""
    together = torch.from_numpy(np.concatenate(arrays).astype(np.int64, copy=False))
    if device.type == "cuda":
        together = together.pin_memory()
    return together.to(device, non_blocking=True).split([len(array) for array in arrays])


@contextmanager
def packed_pass(model: PreTrainedModel, batch: Batch) -> Iterator[None]:
    """Inside, the model computes this micro-batch: rows apart, the last MLP only where the head reads.

    A pass inside it is part of it.
    """
    if is_packed(model):
        yield
        return
    supervised = Supervised(position_H=batch.position_H, tokens=batch.supervised_tokens)
    with packed_attention(model), last_mlp_narrowed(model, supervised):
        yield


def supervised_logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Logits (H, V) at the supervised positions; the head is computed nowhere else.

    Where activations are recomputed, the backward pass too must run inside `packed_pass(model, batch)`.
    """
    return head_logits(model, supervised_states(model, batch)[-1])


def supervised_states(model: PreTrainedModel, batch: Batch, layers: Sequence[int] = ()) -> tuple[torch.Tensor, ...]:
    """States (H, d) at the supervised positions: outputs of the blocks `layers`, then what the head reads.

    Args:
        layers: counted from 1 at the bottom. The output of the last one is taken before the norm that follows it.
    """
    blocks = decoder_blocks(model) if layers else []
    aligned = [blocks[layer - 1] for layer in layers]
    with packed_pass(model, batch), _recorded(aligned) as output_of:
        hidden = model.base_model(
            input_ids=batch.input_ids, position_ids=batch.position_ids, packing=batch.packing, use_cache=False
        ).last_hidden_state
    states = [*(output_of[block] for block in aligned), hidden]
    return tuple(state[0].index_select(0, batch.position_H) for state in states)


def head_logits(model: PreTrainedModel, state_Hd: torch.Tensor) -> torch.Tensor:
    """Logits (H, V) from what the head reads."""
    head = model.get_output_embeddings()
    assert head is not None, type(model)  # a model without one has no shape that could be priced
    logits = head(state_Hd)
    softcap = vars(model.config.get_text_config()).get("final_logit_softcapping")  # to_dict would copy all of it
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


@contextmanager
def _recorded(blocks: Sequence[nn.Module]) -> Iterator[dict[nn.Module, torch.Tensor]]:
    """The output (B, L, d) of each of these blocks in the forward pass inside; a recomputation is not recorded."""
    output_of: dict[nn.Module, torch.Tensor] = {}

    def record(block: nn.Module, _: object, output: torch.Tensor) -> None:
        output_of[block] = output

    handles = [block.register_forward_hook(record) for block in dict.fromkeys(blocks)]
    try:
        yield output_of
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def check_logits(
    model: PreTrainedModel, store: TokenStore, *, name: str, pad_id: int, precision: Precision = "fp32"
) -> None:
    """Compare `supervised_logits` with the model's own on the shortest row of a store; changes nothing.

    Some architectures (Granite, Cohere) scale what comes from the head: trained and measured without that, such a
    student would learn another model than the one that answers. In bf16 a GPU attends by another kernel, whose logits
    are compared with those in fp32.

    Raises:
        ValueError: they differ by more than `LOGIT_TOLERANCE` (in bf16 `ROUGH_TOLERANCE`), or the model cannot compute
            packed rows.
    """
    length_NS = np.where(store.target_tokens_NS >= 0, store.prompt_tokens_N[:, None] + store.target_tokens_NS, 2**30)
    example, supervision = divmod(int(length_NS.argmin()), length_NS.shape[1])
    rows = Rows(store=store, example_R=np.array([example]), supervision_R=np.array([supervision]))
    length, target = int(length_NS[example, supervision]), int(rows.target_tokens_R[0])
    # Twice in one micro-batch: the second copy must not see the first.
    twice = pack(np.zeros(2, dtype=np.int64), np.full(2, length), np.full(2, target), micro_batch_tokens=2 * length)[0]
    batch = collate(rows, twice, pad_id=pad_id, device=model.device)
    training = model.training
    model.eval()
    try:
        ours = supervised_logits(model, batch)[: 2 * target]
    except ValueError as error:
        raise ValueError(f"student {name!r}: {error}") from None
    whole = model(input_ids=batch.input_ids[:, :length], use_cache=False).logits[0]
    model.train(training)
    theirs = whole[batch.position_H[:target]].repeat(2, 1)
    # Weights that give no numbers are for the loss to tell.
    if not torch.allclose(ours, theirs, rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE, equal_nan=True):
        raise ValueError(
            f"student {name!r}: {type(model).__name__} changes its logits behind the output head, which training would "
            "leave out; name one of another architecture (of such changes only soft-capping is known)"
        )
    if model.device.type == "cuda" and precision == "bf16":
        with torch.autocast("cuda", dtype=torch.bfloat16):
            rough = supervised_logits(model, batch)[: 2 * target].float()
        apart = float((rough - ours).norm() / ours.norm())
        if apart > ROUGH_TOLERANCE:
            raise ValueError(
                f"student {name!r}: in bf16 this GPU computes other logits than in fp32, {apart:.0%} away; "
                "set --precision fp32"
            )


def token_losses(logits: torch.Tensor, label_H: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood in nats of every supervised token (H,); 0 where rounded up."""
    return F.cross_entropy(logits.float(), label_H, ignore_index=IGNORED_LABEL, reduction="none")
