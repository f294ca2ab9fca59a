"""What a stage pays for a micro-batch, by hand: where gradients enter and end, and a teacher beside the student."""

from __future__ import annotations

import numpy as np

from trainers.batches import MicroBatch
from trainers.pricing.config_shape import config_shape
from trainers.pricing.flops import forward_flops, train_flops
from trainers.pricing.products import training_products
from trainers.pricing.step_price import StepPrice
from trainers.pricing.tuning import GradientPaths, Tuning

WIDTH, LAYERS, VOCABULARY = 64, 4, 300
STUDENT = config_shape(
    {
        **{"model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 176},
        **{"num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2},
    }
)
TEACHER = config_shape(
    {
        **{"model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 128, "intermediate_size": 352},
        **{"num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 4},
    }
)
BLOCK = STUDENT.block_weights // LAYERS
FEW = 3 * WIDTH * 176  # the last block's MLP, which is computed where the head is
BATCH = MicroBatch(
    row_B=np.arange(3),
    length_B=np.full(3, 40),
    width_B=np.full(3, 40),
    groups=((0, 3),),
    positions=120,
    head_positions=64,
    supervised_tokens=50,
)


def test_a_block_whose_input_is_detached_is_the_lowest_that_the_head_reaches() -> None:
    cut = training_products(STUDENT, paths=GradientPaths(detached_block=2))
    frozen = training_products(STUDENT, Tuning(embeddings=False, blocks=(2, 3)))
    assert cut == frozen  # the norm in front of attention is trained, so that the queries' input has a gradient too
    assert cut.position == LAYERS * BLOCK - FEW + 2 * (2 * BLOCK - FEW)
    below = training_products(STUDENT, Tuning(blocks=(), head=False), GradientPaths(detached_block=2))
    assert below.position == LAYERS * BLOCK - FEW  # all that is trained lies below the cut


def test_the_lower_blocks_are_computed_backwards_from_the_highest_aligned_one_below_the_cut() -> None:
    both = training_products(STUDENT, paths=GradientPaths(aligned=(1, 4), detached_block=2))
    assert both.position == LAYERS * BLOCK - FEW + 2 * (3 * BLOCK - FEW)
    at_the_cut = training_products(STUDENT, paths=GradientPaths(aligned=(2,), detached_block=2))
    assert at_the_cut == training_products(STUDENT)
    states = training_products(STUDENT, paths=GradientPaths(head=False, aligned=(3,)))
    assert states.position == LAYERS * BLOCK - FEW + 3 * 2 * BLOCK
    assert states.head_position == FEW + STUDENT.head_weights  # its losses are reported, and send no gradient


def test_without_anything_else_a_step_costs_a_training_pass() -> None:
    assert StepPrice(shape=STUDENT).flops(BATCH) == train_flops(STUDENT, rows=3, length=40, head_positions=64)


def test_a_teacher_costs_a_forward_pass_with_its_head_where_it_is_used() -> None:
    alone = StepPrice(shape=STUDENT).flops(BATCH)
    taught = StepPrice(shape=STUDENT, teacher=TEACHER)
    spared = 2 * (120 - 64) * 3 * 128 * 352  # by its last MLP, at the positions that its head does not read
    assert taught.flops(BATCH) - alone == forward_flops(TEACHER, rows=3, length=40, head_positions=64) - spared
    states = StepPrice(shape=STUDENT, teacher=TEACHER, teacher_head=False, alignment=3 * WIDTH * 128)
    without_head = forward_flops(TEACHER, rows=3, length=40, head_positions=0)
    assert states.flops(BATCH) - alone == without_head - spared + 64 * 2 * 3 * WIDTH * 128
