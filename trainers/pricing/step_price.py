"""What a stage pays for a micro-batch: the student's passes, and a white-box teacher's. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from trainers.batches import MicroBatch
from trainers.pricing.linear_layers import ModelShape
from trainers.pricing.products import Products, forward_products, training_products
from trainers.pricing.tuning import EVERYTHING, FROM_THE_HEAD, Adapters, GradientPaths, Tuning


@dataclass(frozen=True, kw_only=True)
class StepPrice:
    """Forward and backward of the student as a stage tunes it; one forward pass of its teacher, if it asks one.

    The teacher reads the micro-batches that the student reads, and its head is computed at the same positions.

    Example: half of a student's four blocks, taught by another model's logits.
        StepPrice(shape=student, tuning=Tuning(embeddings=False, blocks=(2, 3)), teacher=teacher)
    """

    shape: ModelShape
    tuning: Tuning = EVERYTHING
    paths: GradientPaths = FROM_THE_HEAD
    teacher: ModelShape | None = None
    teacher_head: bool = True  # whether its logits are used; its hidden states need no head
    alignment: int = 0  # multiply-adds of the hidden loss for every supervised position, forward and backward

    @cached_property
    def products(self) -> Products:
        """All multiply-adds of a micro-batch, by what they grow with.

        Raises:
            ValueError: the tuning does not fit the shape.
        """
        student = training_products(self.shape, self.tuning, self.paths)
        position, pair, head_position = student.position, student.pair, student.head_position + self.alignment
        if self.teacher is not None:
            teacher = forward_products(self.teacher, narrowed=True)
            position, pair = position + teacher.position, pair + teacher.pair
            head_position += teacher.head_position - (0 if self.teacher_head else self.teacher.head_weights)
        return Products(position=position, pair=pair, head_position=head_position)

    def flops(self, batch: MicroBatch) -> int:
        """Price of training on one micro-batch."""
        return _priced(self.products, batch)


def reading_flops(shape: ModelShape, batch: MicroBatch, adapters: Adapters | None = None) -> int:
    """Price of one forward pass over a micro-batch, the head at its supervised positions."""
    return _priced(forward_products(shape, adapters, narrowed=True), batch)


def _priced(products: Products, batch: MicroBatch) -> int:
    return products.flops(positions=batch.positions, pairs=batch.pairs, head_positions=batch.head_positions)
