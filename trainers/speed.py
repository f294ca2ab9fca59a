"""How fast this machine trains a student, measured on rows of its corpus."""

from __future__ import annotations

import time

import numpy as np
import torch

from trainers.batches import BatchSizes, MicroBatch, pack
from trainers.collate import Rows, collate, packed_pass, supervised_logits, token_losses
from trainers.jobs import Precision
from trainers.pricing.step_price import StepPrice
from trainers.sft import training_precision
from trainers.student import Student
from trainers.tokens import TokenStore


def training_speed(
    student: Student, store: TokenStore, *, sizes: BatchSizes, price: StepPrice, precision: Precision, seconds: float
) -> float:
    """FLOPs of the ledger that forward and backward passes take in a second; changes no weight.

    Args:
        seconds: for so long it is measured, on rows of about median length, after one step that warms up.
    """
    rows = _typical_rows(store, sizes.step_tokens)
    batches = pack(
        np.arange(len(rows.example_R)),
        (rows.prompt_tokens_R + rows.target_tokens_R).astype(np.int64),
        rows.target_tokens_R.astype(np.int64),
        micro_batch_tokens=sizes.micro_batch_tokens,
    )
    step_flops = sum(price.flops(batch) for batch in batches)
    _forward_and_backward(student, rows, batches, precision)
    flops, began = 0, time.monotonic()
    while (spent_seconds := time.monotonic() - began) < seconds or not flops:
        _forward_and_backward(student, rows, batches, precision)
        flops += step_flops
    return flops / spent_seconds


def _typical_rows(store: TokenStore, step_tokens: int) -> Rows:
    """About one step's worth of rows, from the median length up."""
    example_R, supervision_R = np.nonzero(store.target_tokens_NS >= 0)
    length_R = store.prompt_tokens_N[example_R] + store.target_tokens_NS[example_R, supervision_R]
    count = max(1, step_tokens // int(np.median(length_R)))
    chosen = np.argsort(length_R, kind="stable")[len(length_R) // 2 :][:count]
    return Rows(store=store, example_R=example_R[chosen], supervision_R=supervision_R[chosen])


def _forward_and_backward(student: Student, rows: Rows, batches: tuple[MicroBatch, ...], precision: Precision) -> None:
    model = student.model
    for batch in batches:
        tensors = collate(rows, batch, pad_id=student.pad_id, device=model.device)
        with packed_pass(model, tensors):
            with training_precision(model.device, precision):
                loss_H = token_losses(supervised_logits(model, tensors), tensors.label_H)
            loss_H.sum().backward()
    model.zero_grad()
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)  # else the clock would read when work was asked for, not done
