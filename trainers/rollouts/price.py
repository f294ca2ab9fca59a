"""What a step on rollouts costs: writing them, the teacher's pass over them, and the student's training pass.

For B prompts padded on the left to P positions, rollouts padded on the right to C, and W tokens written in all:

    writing     a prefill of B x P positions, then C - 1 decode steps of B positions: all rows until the last has ended
    teacher     a forward pass over B x (P + C) positions
    student     a training pass over B x (P + C) positions
    heads       at the W positions that were written, each model's own

The divergence is computed in tiles that are not kept (TRL's kernel), so both heads are computed once more in the
backward pass, and twice in the forward pass of the Jensen-Shannon divergence, which needs both normalisers first.

A head is priced whole, also where its rows beyond the vocabulary, which are padding, are left out. torch is not needed
to price anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from curricula.recipe import Divergence
from trainers.pricing.flops import ModelShape, forward_flops, generate_flops, train_flops
from trainers.pricing.tuning import Tuning


@dataclass(frozen=True, kw_only=True)
class RolloutSize:
    """The size of a step's rollouts, as they are computed.

    Example: sixteen prompts of up to 30 tokens and the most that could be written for them.
        RolloutSize(rows=16, prompt_length=30, written_length=64, written_tokens=16 * 64)
    """

    rows: int
    prompt_length: int  # of the longest prompt; the others are padded to it
    written_length: int  # of the longest rollout, its end token counted; the others are padded to it
    written_tokens: int  # in all, end tokens counted

    @property
    def length(self) -> int:
        """Positions of a row in a pass over prompt and rollout."""
        return self.prompt_length + self.written_length

    @property
    def row_positions(self) -> int:
        """Positions computed for one row: by the student to write it, by the teacher, and by the student to learn."""
        return (self.length - 1) + 2 * self.length


@dataclass(frozen=True, kw_only=True)
class RolloutPrice:
    """FLOPs of steps on rollouts, of one student under one teacher."""

    student: ModelShape
    teacher: ModelShape
    tuning: Tuning
    divergence: Divergence

    def flops(self, size: RolloutSize) -> int:
        """The price of a step of that size; it grows with each of the four."""
        writing = generate_flops(
            self.student,
            rows=size.rows,
            prompt_length=size.prompt_length,
            new_tokens=size.written_length,
            adapters=self.tuning.adapters,
        )
        learning = train_flops(
            self.student,
            rows=size.rows,
            length=size.length,
            head_positions=size.written_tokens,
            tuning=self.tuning,
            narrowed=False,
        )
        head_passes = 2 if self.divergence == "jensen_shannon" else 1
        teaching = forward_flops(
            self.teacher, rows=size.rows, length=size.length, head_positions=(head_passes + 1) * size.written_tokens
        )
        # Of the student's head, `learning` has one forward pass; these are the others, and the one in the backward.
        heads = 2 * head_passes * size.written_tokens * self.student.head_weights
        return int(writing + learning + teaching + heads)
