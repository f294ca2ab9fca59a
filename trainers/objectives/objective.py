"""What a stage minimises: one number for every supervised token, from a micro-batch.

Legend: H supervised positions (rounded up).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import PreTrainedModel

from trainers.collate import Batch, supervised_logits, token_losses


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """Of one micro-batch; 0 at the positions that are rounded up."""

    loss_H: torch.Tensor  # what is minimised: the weighted sum of the objectives
    nats_H: torch.Tensor  # negative log-likelihood of the target, without a gradient: what is reported


class Objective(Protocol):
    """From a student and a micro-batch to its losses."""

    def __call__(self, model: PreTrainedModel, batch: Batch) -> Losses:
        """The losses of every supervised position."""
        ...


def text_losses(model: PreTrainedModel, batch: Batch) -> Losses:
    """The cross-entropy with the target's tokens."""
    loss_H = token_losses(supervised_logits(model, batch), batch.label_H)
    return Losses(loss_H=loss_H, nats_H=loss_H.detach())
