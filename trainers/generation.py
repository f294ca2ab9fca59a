"""What a student says and how well it predicts: greedy generation, and losses under teacher forcing.

Both are cut into batches that depend on the request alone, never on how many workers share it, so that results are the
same on one worker or on ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, PreTrainedModel

from curricula.types import Charge, ProbeMode, Purpose
from trainers.batches import round_up
from trainers.collate import Rows, collate, supervised_logits, token_losses
from trainers.measuring import PROMPT_MULTIPLE, force_batches, generation_phases
from trainers.pricing.flops import ModelShape, generate_flops
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


@contextmanager
def no_habits(model: PreTrainedModel) -> Iterator[None]:
    """Without the model's own generation settings, which would fill whatever a request leaves open.

    A repetition penalty or beams of a pretrained student would make its answers other than greedy, and forcing a
    target would no longer say what it writes. They are put back, so that an export keeps them.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


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

    @torch.inference_mode()
    def generate_batch(self, examples: Sequence[int], *, mode: ProbeMode, purpose: Purpose) -> Generated:
        """Answer these store examples as one batch, greedily, until each has ended or hit the cap.

        `think` puts the think tag before the answer; `no_think` forbids the tag's first token as the first token.
        """
        prefix = self.store.think_prefix if mode == "think" else ()
        prompts = [[*self.store.prompt(example).tolist(), *prefix] for example in examples]
        written: list[list[int]] = [[] for _ in prompts]
        end = self.student.end_id
        running = list(range(len(prompts)))
        flops = positions = 0
        for start, new_tokens in generation_phases(self.max_output_tokens):
            if not running:
                break
            suppress_think = mode == "no_think" and start == 0
            rows = [prompts[row] + written[row] for row in running]
            new, used_flops, used_positions = self._continue(rows, new_tokens, suppress_think=suppress_think)
            for row, tokens in zip(running, new, strict=True):
                written[row] += tokens[: tokens.index(end) + 1] if end in tokens else tokens
            running = [row for row in running if end not in written[row]]
            flops, positions = flops + used_flops, positions + used_positions
        return Generated(
            text_Q=tuple(
                str(self.student.tokenizer.decode([*prefix, *(token for token in tokens if token != end)]))
                for tokens in written
            ),
            output_tokens_Q=np.array([len(tokens) for tokens in written], dtype=np.int32),
            truncated_Q=np.array([end not in tokens for tokens in written], dtype=bool),
            charge=Charge(
                purpose=purpose,
                flops=flops,
                positions=positions,
                tokens=sum(len(prompt) + len(tokens) for prompt, tokens in zip(prompts, written, strict=True)),
            ),
        )

    def _continue(
        self, rows: list[list[int]], new_tokens: int, *, suppress_think: bool
    ) -> tuple[list[list[int]], int, int]:
        """Up to `new_tokens` more tokens for each row, padded on the left to one length; FLOPs, and positions."""
        model, pad = self.student.model.eval(), self.student.pad_id
        length = round_up(max(len(row) for row in rows), PROMPT_MULTIPLE)
        ids = np.full((len(rows), length), pad, dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, length - len(row) :] = row
        mask = np.arange(length) >= length - np.array([len(row) for row in rows])[:, None]
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=new_tokens,
            eos_token_id=self.student.end_id,
            pad_token_id=pad,
            use_cache=True,
            begin_suppress_tokens=[self.store.think_prefix[0]] if suppress_think else None,
        )
        with no_habits(model):
            output = model.generate(  # pyright: ignore[reportCallIssue] the mixin's signature is not typed
                input_ids=torch.from_numpy(ids).to(model.device),
                attention_mask=torch.from_numpy(mask.astype(np.int64)).to(model.device),
                generation_config=config,
            )
        new = output[:, length:].cpu().tolist()
        steps = len(new[0])
        flops = generate_flops(
            self.shape, rows=len(rows), prompt_length=length, new_tokens=steps, adapters=self.adapters
        )
        return new, flops, len(rows) * (length + steps - 1)

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
