"""What the steps cost without any trainer: a bare PyTorch loop, as lean as one writes it by hand.

Rows lie in memory as tensors, in a new random order every pass; a step pads its rows to the longest and masks nothing,
since a causal model never sees padding on the right; the head and the loss are computed at every position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from trainers.collate import Rows
from trainers.jobs import Precision
from trainers.sft import GRADIENT_NORM, training_precision
from trainers.stage import ADAM_BETAS
from trainers.student import Student
from trainers.tokens import IGNORED_LABEL
from trainers.yardsticks.clock import Count
from trainers.yardsticks.rows import token_lists


class BareLoop:
    """Trains for ever, and counts."""

    def __init__(
        self,
        student: Student,
        rows: Rows,
        *,
        batch_rows: int,
        learning_rate: float,
        seed: int,
        precision: Precision = "fp32",
    ) -> None:
        self._student, self._batch_rows, self._seed = student, batch_rows, seed
        self._precision: Precision = precision
        ids, labels = token_lists(rows)
        self._ids_R = [torch.tensor(row) for row in ids]
        self._labels_R = [torch.tensor(row) for row in labels]
        self._optimizer = torch.optim.AdamW(
            student.model.parameters(), lr=learning_rate, betas=ADAM_BETAS, weight_decay=0.0, fused=True
        )
        self._tokens = self._positions = 0

    def counted(self, _: int) -> Count:
        """What has been computed so far."""
        return Count(tokens=self._tokens, positions=self._positions)

    def train(self, step_done: Callable[[], None]) -> None:
        """Step after step, until `step_done` raises."""
        model = self._student.model.train()
        for row_B in self._batches():
            ids = pad_sequence(
                [self._ids_R[row] for row in row_B], batch_first=True, padding_value=self._student.pad_id
            )
            labels = pad_sequence([self._labels_R[row] for row in row_B], batch_first=True, padding_value=IGNORED_LABEL)
            with training_precision(model.device, self._precision):
                logits = model(input_ids=ids.to(model.device), use_cache=False).logits
                loss = F.cross_entropy(
                    logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten().to(model.device), ignore_index=IGNORED_LABEL
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            self._optimizer.step()
            self._optimizer.zero_grad()
            self._tokens += sum(len(self._ids_R[row]) for row in row_B)
            self._positions += ids.numel()
            step_done()

    def _batches(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed)
        while True:
            order = torch.randperm(len(self._ids_R), generator=generator).tolist()
            for start in range(0, len(order) - self._batch_rows + 1, self._batch_rows):
                yield order[start : start + self._batch_rows]
