"""What a student says and how well it predicts: greedy generation, and losses under teacher forcing.

Both are cut into batches that depend on the request alone, never on how many workers share it, so that results are the
same on one worker or on ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from curricula.types import Charge, ProbeMode, Purpose
from trainers.collate import Rows, collate, supervised_logits, token_losses
from trainers.decoding.rows import Row, Terms, greedy
from trainers.decoding.writing import write
from trainers.measuring import force_batches
from trainers.positions import most_positions
from trainers.pricing.flops import ModelShape
from trainers.pricing.step_price import reading_flops
from trainers.pricing.tuning import Adapters
from trainers.student import Student
from trainers.tokens import TokenStore


@dataclass(frozen=True, kw_only=True, eq=False)
class Generated:
    """Answers to Q prompts, in the order asked."""

    text_Q: tuple[str, ...]  # think tags kept, end token dropped
    output_tokens_Q: NDArray[np.int32]  # end token counted
    truncated_Q: NDArray[np.bool_]  # cut off by the cap before the end token
    charge: Charge


@dataclass(frozen=True, kw_only=True, eq=False)
class Forced:
    """Teacher-forced rows, in the order asked. Q rows."""

    loss_Q: NDArray[np.float64]  # mean nats per target token
    exact_Q: NDArray[np.bool_]  # every target token was the likeliest: greedy decoding would write this target
    charge: Charge


@dataclass(frozen=True, kw_only=True)
class _Unthinking:
    """The likeliest token, but for the first one of an answer not the one that opens the think tag."""

    think_id: int

    def __call__(self, scores_BV: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        if not rows[0].written:  # rows that are read together are equally far
            scores_BV[:, self.think_id] = -torch.inf
        return scores_BV.argmax(-1)


class Generator:
    """Greedy generation and teacher-forced losses of one student."""

    def __init__(
        self,
        *,
        student: Student,
        store: TokenStore,
        shape: ModelShape,
        max_output_tokens: int,
        micro_batch_tokens: int,
        adapters: Adapters | None = None,
    ) -> None:
        """`adapters` are those that the student carries, for the price."""
        self.student, self.store, self.shape, self.adapters = student, store, shape, adapters
        self.max_output_tokens, self.micro_batch_tokens = max_output_tokens, micro_batch_tokens

    def generate_batch(self, examples: Sequence[int], *, mode: ProbeMode, purpose: Purpose) -> Generated:
        """Answer these store examples as one request, greedily, until each has ended or hit the cap, or the last
        position of a student that looks its positions up.

        `think` puts the think tag before the answer; `no_think` forbids the tag's first token as the first token.
        """
        prefix = self.store.think_prefix if mode == "think" else ()
        prompts = [[*self.store.prompt(example).tolist(), *prefix] for example in examples]
        most, cap = most_positions(self.student.model.config), self.max_output_tokens
        rows = [
            Row(index=place, prompt=prompt, most_tokens=cap if most is None else min(cap, most - len(prompt)))
            for place, prompt in enumerate(prompts)
        ]
        end = self.student.end_id
        terms = Terms(
            shape=self.shape,
            end_ids=frozenset({end}),
            pad_id=self.student.pad_id,
            choose=_Unthinking(think_id=self.store.think_prefix[0]) if mode == "no_think" else greedy,
            reading_tokens=self.micro_batch_tokens,
            adapters=self.adapters,
        )
        for _ in write(self.student.model.eval(), rows, terms):
            pass
        return Generated(
            text_Q=tuple(
                str(self.student.tokenizer.decode([*prefix, *(token for token in row.written if token != end)]))
                for row in rows
            ),
            output_tokens_Q=np.array([len(row.written) for row in rows], dtype=np.int32),
            truncated_Q=np.array([not row.ended(terms.end_ids) for row in rows], dtype=bool),
            charge=Charge(
                purpose=purpose,
                flops=sum(row.flops for row in rows),
                positions=sum(row.positions for row in rows),
                tokens=sum(row.length for row in rows),
            ),
        )

    @torch.inference_mode()
    def force(self, rows: Rows, *, purpose: Purpose) -> Forced:
        """Losses of rows under teacher forcing; every row must be offered."""
        count = len(rows.example_R)
        loss_Q, exact_Q = np.zeros(count), np.ones(count, dtype=bool)
        flops = positions = 0
        self.student.model.eval()
        batches = force_batches(rows.prompt_tokens_R, rows.target_tokens_R, micro_batch_tokens=self.micro_batch_tokens)
        for batch in batches:
            tensors = collate(rows, batch, pad_id=self.student.pad_id, device=self.student.model.device)
            logits = supervised_logits(self.student.model, tensors)
            loss_H = token_losses(logits, tensors.label_H).double()
            size = len(batch.row_B)
            sums = torch.zeros(size, dtype=torch.float64, device=loss_H.device).index_add_(0, tensors.row_H, loss_H)
            wrong = (logits.argmax(-1) != tensors.label_H) & (tensors.label_H >= 0)
            misses = torch.zeros(size, device=loss_H.device).index_add_(0, tensors.row_H, wrong.float())
            loss_Q[batch.row_B] = sums.cpu().numpy() / rows.target_tokens_R[batch.row_B]
            exact_Q[batch.row_B] = misses.cpu().numpy() == 0
            flops += reading_flops(self.shape, batch, self.adapters)
            positions += batch.positions
        tokens = int(rows.prompt_tokens_R.sum() + rows.target_tokens_R.sum())
        charge = Charge(purpose=purpose, flops=flops, positions=positions, tokens=tokens)
        return Forced(loss_Q=loss_Q, exact_Q=exact_Q, charge=charge)
