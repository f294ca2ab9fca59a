"""Micro-batches as tensors, and the one loss: nats at supervised positions only, the head computed nowhere else.

Legend: B rows, L positions, H supervised positions (rounded up), V vocabulary, d hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import PreTrainedModel

from trainers.batches import Integers, MicroBatch
from trainers.tokens import IGNORED_LABEL, TokenStore

LOGIT_TOLERANCE = 1e-3
"""Absolute and relative: by how much the same fp32 logits may differ, summed in another order."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One micro-batch on a device."""

    input_ids: torch.Tensor  # (B, L), padded on the right: a causal model never sees the padding
    position_H: torch.Tensor  # flat positions b * L + l whose next token is supervised; 0 where rounded up
    label_H: torch.Tensor  # the next token there; IGNORED_LABEL where rounded up
    row_H: torch.Tensor  # which of the B rows


def collate(rows: Rows, batch: MicroBatch, *, pad_id: int, device: torch.device) -> Batch:
    """Tensors of one micro-batch. Position p predicts token p + 1, so a target is predicted from its prompt's last."""
    count, length = len(batch.row_B), batch.length
    ids = np.full((count, length), pad_id, dtype=np.int64)
    position_H = np.zeros(batch.head_positions, dtype=np.int64)
    label_H = np.full(batch.head_positions, IGNORED_LABEL, dtype=np.int64)
    row_H = np.zeros(batch.head_positions, dtype=np.int64)
    at = 0
    for b, row in enumerate(batch.row_B):
        prompt = rows.store.prompt(int(rows.example_R[row]))
        target = rows.store.target(int(rows.example_R[row]), int(rows.supervision_R[row]))
        ids[b, : len(prompt)] = prompt
        ids[b, len(prompt) : len(prompt) + len(target)] = target
        end = at + len(target)
        position_H[at:end] = b * length + len(prompt) - 1 + np.arange(len(target))
        label_H[at:end] = target
        row_H[at:end] = b
        at = end
    tensors = [torch.from_numpy(array).to(device, non_blocking=True) for array in (ids, position_H, label_H, row_H)]
    return Batch(input_ids=tensors[0], position_H=tensors[1], label_H=tensors[2], row_H=tensors[3])


def supervised_logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Logits (H, V) at the supervised positions; the head is computed nowhere else."""
    hidden = model.base_model(input_ids=batch.input_ids, use_cache=False).last_hidden_state
    head = model.get_output_embeddings()
    assert head is not None, type(model)  # a model without one has no shape that could be priced
    logits = head(hidden.flatten(0, 1).index_select(0, batch.position_H))
    softcap = vars(model.config.get_text_config()).get("final_logit_softcapping")  # to_dict would copy all of it
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


@torch.no_grad()
def check_logits(model: PreTrainedModel, store: TokenStore, *, name: str, pad_id: int) -> None:
    """Compare `supervised_logits` with the model's own on the shortest row of a store; changes nothing.

    Some architectures (Granite, Cohere) scale what comes from the head: trained and measured without that, such a
    student would learn another model than the one that answers.

    Raises:
        ValueError: they differ by more than `LOGIT_TOLERANCE`.
    """
    length_NS = np.where(store.target_tokens_NS >= 0, store.prompt_tokens_N[:, None] + store.target_tokens_NS, 2**30)
    example, supervision = divmod(int(length_NS.argmin()), length_NS.shape[1])
    rows = Rows(store=store, example_R=np.array([example]), supervision_R=np.array([supervision]))
    supervised = int(rows.target_tokens_R[0])
    row = MicroBatch(
        row_B=np.zeros(1, dtype=np.int64),
        length=int(length_NS[example, supervision]),
        head_positions=supervised,
        supervised_tokens=supervised,
    )
    batch = collate(rows, row, pad_id=pad_id, device=model.device)
    training = model.training
    model.eval()
    ours = supervised_logits(model, batch)
    whole = model(input_ids=batch.input_ids, use_cache=False).logits
    model.train(training)
    theirs = whole.flatten(0, 1).index_select(0, batch.position_H)
    # Weights that give no numbers are for the loss to tell.
    if not torch.allclose(ours, theirs, rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE, equal_nan=True):
        raise ValueError(
            f"student {name!r}: {type(model).__name__} changes its logits behind the output head, which training would "
            "leave out; name a student of another architecture (of such changes only soft-capping is known)"
        )


def token_losses(logits: torch.Tensor, label_H: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood in nats of every supervised token (H,); 0 where rounded up."""
    return F.cross_entropy(logits.float(), label_H, ignore_index=IGNORED_LABEL, reduction="none")
