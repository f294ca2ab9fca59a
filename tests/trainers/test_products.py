"""What frozen parts, adapters, recomputation and windows cost, by hand; and what cannot be asked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.pricing.config_shape import config_shape
from trainers.pricing.flops import ModelShape, decode_flops, forward_flops, generate_flops, train_flops
from trainers.pricing.products import forward_products, training_products
from trainers.pricing.tuning import Adapters, Tuning, adapter_tuning

WIDTH, NARROW, MLP, VOCABULARY, LAYERS, RANK = 64, 32, 176, 300, 3, 4
LLAMA = config_shape(
    {
        **{"model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": MLP},
        **{"num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2},
    }
)
QKV = WIDTH * (WIDTH + 2 * NARROW)
BLOCK = QKV + WIDTH * WIDTH + 3 * WIDTH * MLP
HEAD = VOCABULARY * WIDTH
QKV_BESIDE = RANK * (3 * WIDTH + WIDTH + 2 * NARROW)
BESIDE = QKV_BESIDE + RANK * (2 * WIDTH + 3 * (WIDTH + MLP))
FEW, FEW_BESIDE = 3 * WIDTH * MLP, RANK * 3 * (WIDTH + MLP)  # the last block's MLP, and its adapters: where the head is


def test_everything_trained_is_three_forward_passes() -> None:
    products = training_products(LLAMA)
    assert (products.position, products.pair) == (3 * (LAYERS * BLOCK - FEW), 3 * 2 * LAYERS * WIDTH)
    assert products.head_position == 3 * (HEAD + FEW)
    spelled_out = training_products(LLAMA, Tuning(blocks=(0, 1, 2)))
    assert spelled_out == products
    whole = training_products(LLAMA, narrowed=False)
    assert (whole.position, whole.head_position) == (3 * LAYERS * BLOCK, 3 * HEAD)


@given(
    rank=st.integers(0, 4),
    recompute=st.booleans(),
    blocks=st.sets(st.integers(0, LAYERS - 1), min_size=1),
    norm_after=st.booleans(),
)
def test_where_every_position_is_supervised_the_last_mlp_is_computed_as_all_others(
    rank: int, recompute: bool, blocks: set[int], norm_after: bool
) -> None:
    shape = dataclasses.replace(LLAMA, norm_after=norm_after)
    adapters = Adapters(rank=rank) if rank else None
    tuning = Tuning(
        embeddings=False, head=not rank, blocks=tuple(sorted(blocks)), adapters=adapters, recompute=recompute
    )
    narrowed, whole = training_products(shape, tuning), training_products(shape, tuning, narrowed=False)
    assert narrowed.position < whole.position
    assert narrowed.position + narrowed.head_position == whole.position + whole.head_position
    assert narrowed.pair == whole.pair


def test_adapters_by_hand() -> None:
    products = training_products(LLAMA, adapter_tuning(rank=RANK))
    # Frozen weights: forward and input gradient, but in the first block nothing below q, k, v needs a gradient.
    frozen = 2 * (LAYERS * BLOCK - FEW) - QKV
    # A and B: forward, input and weight gradient; in the first block A of q, k, v has no input gradient to give.
    beside = 3 * (LAYERS * BESIDE - FEW_BESIDE) - RANK * 3 * WIDTH
    assert products.position == frozen + beside
    assert products.pair == 3 * 2 * LAYERS * WIDTH
    assert products.head_position == 2 * (HEAD + FEW) + 3 * FEW_BESIDE


def test_recomputation_runs_all_but_the_last_product_of_a_block_again() -> None:
    products = training_products(LLAMA, Tuning(recompute=True))
    assert products.position == 4 * (LAYERS * BLOCK - FEW) - (LAYERS - 1) * WIDTH * MLP
    assert products.pair == 4 * 2 * LAYERS * WIDTH
    assert products.head_position == 3 * HEAD + 4 * FEW - WIDTH * MLP
    gemma = training_products(dataclasses.replace(LLAMA, norm_after=True), Tuning(recompute=True))
    assert (gemma.position, gemma.head_position) == (4 * (LAYERS * BLOCK - FEW), 3 * HEAD + 4 * FEW)


def test_only_the_head_trained_computes_nothing_backwards_below_it() -> None:
    tuning = Tuning(embeddings=False, blocks=())
    products = training_products(LLAMA, tuning)
    assert (products.position, products.pair) == (LAYERS * BLOCK - FEW, 2 * LAYERS * WIDTH)
    assert products.head_position == FEW + 3 * HEAD  # its norm is trained: it needs the input gradient
    bare = dataclasses.replace(LLAMA, norm_before_head=False)
    assert training_products(bare, tuning).head_position == FEW + 2 * HEAD


def test_frozen_blocks_below_save_their_backward_pass_and_those_above_only_their_weights() -> None:
    upper = training_products(LLAMA, Tuning(embeddings=False, blocks=(2,)))
    assert upper.position == LAYERS * BLOCK - FEW + 2 * (BLOCK - FEW)
    lower = training_products(LLAMA, Tuning(embeddings=False, blocks=(0,), head=False))
    assert lower.position == LAYERS * BLOCK - FEW + 2 * BLOCK + (2 * BLOCK - FEW)
    assert lower.head_position == 2 * (HEAD + FEW)


def test_the_mark_on_the_embeddings_costs_the_backward_pass_of_all_that_is_frozen() -> None:
    without = training_products(LLAMA, Tuning(embeddings=False, blocks=(2,), recompute=True, marked_input=False))
    marked = training_products(LLAMA, Tuning(embeddings=False, blocks=(2,), recompute=True))
    last = WIDTH * MLP
    assert without.position == LAYERS * BLOCK - FEW + (2 + 1) * (BLOCK - FEW)
    assert without.head_position == 3 * HEAD + FEW + 2 * FEW + (FEW - last)
    assert marked.position == without.position + 2 * BLOCK + 2 * (BLOCK - last)


def test_adapters_on_a_published_student_cost_just_over_two_thirds_of_training_it() -> None:
    smollm2 = {
        **{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30},
        **{"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True},
    }
    shape = config_shape(smollm2)
    full = train_flops(shape, rows=1, length=64, head_positions=32)
    lora = train_flops(shape, rows=1, length=64, head_positions=32, tuning=adapter_tuning(rank=8))
    assert 2 / 3 < lora / full < 0.72


@given(
    prompt=st.integers(1, 60),
    new_tokens=st.integers(1, 50),
    window=st.integers(1, 70),
    windowed=st.integers(0, LAYERS),
    rank=st.integers(0, 4),
)
def test_generation_is_prefill_plus_decode_steps(
    prompt: int, new_tokens: int, window: int, windowed: int, rank: int
) -> None:
    shape = dataclasses.replace(LLAMA, window=window, windowed_layers=windowed)
    adapters = Adapters(rank=rank) if rank else None
    slow = forward_flops(shape, rows=3, length=prompt, head_positions=3, adapters=adapters)
    weights = LAYERS * (BLOCK + rank * BESIDE // RANK) + HEAD
    for attended in range(prompt + 1, prompt + new_tokens):
        pairs = (LAYERS - windowed) * attended + windowed * min(attended, window)
        step = 3 * (2 * weights + 4 * WIDTH * pairs)
        assert decode_flops(shape, rows=3, attended=attended, adapters=adapters) == step
        slow += step
    assert generate_flops(shape, rows=3, prompt_length=prompt, new_tokens=new_tokens, adapters=adapters) == slow
    prompts = np.array([prompt, prompt + 1])
    both = generate_flops(shape, rows=3, prompt_length=prompts, new_tokens=new_tokens, adapters=adapters)
    assert both[0] == slow


@given(length=st.integers(1, 500), head_positions=st.integers(0, 500))
def test_many_lengths_are_priced_as_one_by_one(length: int, head_positions: int) -> None:
    tuning = adapter_tuning(rank=2, recompute=True)
    lengths = np.array([length, length + 7])
    both = train_flops(LLAMA, rows=2, length=lengths, head_positions=head_positions, tuning=tuning)
    one = train_flops(LLAMA, rows=2, length=length + 7, head_positions=head_positions, tuning=tuning)
    assert both[1] == one
    assert isinstance(one, int)


def test_adapters_name_layers_that_exist() -> None:
    products = forward_products(LLAMA, Adapters(rank=1, layers=("q_proj",)))
    assert products.position == LAYERS * (BLOCK + 2 * WIDTH)
    with pytest.raises(ValueError, match="no linear layer 'c_attn'; it has q_proj, k_proj"):
        forward_products(LLAMA, Adapters(rank=1, layers=("c_attn",)))


def test_a_tuning_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is trained"):
        Tuning(embeddings=False, blocks=(), head=False)
    with pytest.raises(ValueError, match="rank of at least 1"):
        Adapters(rank=0)
    with pytest.raises(ValueError, match="embeddings=False and head=False"):
        Tuning(adapters=Adapters(rank=4))
    with pytest.raises(ValueError, match="there is no block 3"):
        training_products(LLAMA, Tuning(blocks=(3,)))
    tied = dataclasses.replace(LLAMA, tied=True)
    with pytest.raises(ValueError, match="train both or neither"):
        training_products(tied, Tuning(embeddings=False))


def test_a_shape_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="but their linear layers"):
        dataclasses.replace(LLAMA, layers=LAYERS + 1)


def test_sums_alone_price_no_parts() -> None:
    sums = ModelShape(layers=2, block_weights=1000, attention_width=8, head_weights=300, parameters=1300)
    with pytest.raises(ValueError, match="only the sums are known"):
        training_products(sums, Tuning(recompute=True))
    with pytest.raises(ValueError, match="only the sums are known"):
        forward_flops(sums, rows=1, length=4, head_positions=1, adapters=Adapters(rank=2))
