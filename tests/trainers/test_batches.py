"""Data order, shapes and prices of a stage, before anything is computed."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainers.batches import (
    GROUP_OVERHEAD_PAIRS,
    BatchSizes,
    Step,
    attention_groups,
    computed_size,
    pack,
    plan_steps,
)
from trainers.order import rows_digest
from trainers.pricing.flops import ModelShape
from trainers.pricing.step_price import StepPrice

SHAPE = ModelShape(layers=2, block_weights=5000, attention_width=16, head_weights=800, parameters=5800)
SIZES = BatchSizes(step_tokens=300, micro_batch_tokens=400)


def _plan(
    target_tokens: np.ndarray, *, ceiling_flops: int, share: np.ndarray | None = None, drawn: int = 0, seed: int = 0
) -> tuple[Step, ...]:
    share = np.ones(len(target_tokens)) if share is None else share
    steps, _ = plan_steps(
        prompt_tokens_R=np.full(len(target_tokens), 11, dtype=np.int32),
        target_tokens_R=target_tokens,
        share_R=share,
        price=StepPrice(shape=SHAPE).flops,
        sizes=SIZES,
        ceiling_flops=ceiling_flops,
        seed=seed,
        key=rows_digest(np.arange(len(share)), np.zeros(len(share), dtype=np.int64), share),
        drawn=drawn,
    )
    return steps


def _rows(steps: tuple[Step, ...]) -> list[set[int]]:
    return [{int(row) for batch in step.micro_batches for row in batch.row_B} for step in steps]


@given(st.lists(st.integers(1, 200), min_size=3, max_size=40), st.integers(10**6, 10**9), st.integers(0, 5))
def test_steps_never_cost_more_than_the_ceiling_and_one_more_would(lengths: list[int], ceiling: int, seed: int) -> None:
    targets = np.array(lengths, dtype=np.int32)
    steps, following = plan_steps(
        prompt_tokens_R=np.full(len(lengths), 7, dtype=np.int32),
        target_tokens_R=targets,
        share_R=np.ones(len(lengths)),
        price=StepPrice(shape=SHAPE).flops,
        sizes=SIZES,
        ceiling_flops=ceiling,
        seed=seed,
        key="k",
        drawn=0,
    )
    spent = sum(step.flops for step in steps)
    assert spent <= ceiling < spent + following.flops
    assert spent == sum(StepPrice(shape=SHAPE).flops(batch) for step in steps for batch in step.micro_batches)


@given(st.integers(0, 30), st.integers(1, 12))
def test_a_stage_cut_in_two_draws_what_one_would(seed: int, cut: int) -> None:
    targets = np.random.default_rng(seed).integers(1, 150, 60).astype(np.int32)
    whole = _plan(targets, ceiling_flops=10**9, seed=seed)
    first = whole[:cut]
    rest = _plan(
        targets,
        ceiling_flops=10**9 - sum(step.flops for step in first),
        drawn=sum(step.rows for step in first),
        seed=seed,
    )
    assert _rows(whole) == _rows(first) + _rows(rest)


LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=30)


@given(LENGTHS)
def test_micro_batches_hold_every_row_once_in_groups_of_their_own(lengths: list[int]) -> None:
    length_R, target_R = np.array(lengths), np.ones(len(lengths), dtype=np.int64)
    batches = pack(np.arange(len(lengths)), length_R, target_R, micro_batch_tokens=512)
    rows = np.concatenate([batch.row_B for batch in batches])
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert np.array_equal(batch.length_B, length_R[batch.row_B])
        tokens = int(batch.length_B.sum())
        assert len(batch.row_B) == 1 or tokens <= 512
        assert [row for start, end in batch.groups for row in range(start, end)] == list(range(len(batch.row_B)))
        assert tokens <= batch.positions <= tokens * 33 / 32 * 129 / 128
        assert (batch.width_B >= batch.length_B).all()
        assert batch.width_B.sum() <= batch.positions
        assert batch.pairs >= (batch.length_B**2).sum()
        assert batch.head_positions >= batch.supervised_tokens == len(batch.row_B)


@given(st.integers(1, 10**6))
def test_few_sizes_are_computed(count: int) -> None:
    size = computed_size(count)
    assert count <= size == computed_size(size) <= count * 129 / 128
    assert len({computed_size(other) for other in range(512, 1024)}) <= 129


def test_grouping_is_as_cheap_as_trying_every_one() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        ordered = np.sort(rng.integers(1, 400, 7))
        groups = attention_groups(ordered)
        ours = sum((end - start) * ordered[end - 1] ** 2 + GROUP_OVERHEAD_PAIRS for start, end in groups)
        best = min(
            sum((end - start) * ordered[end - 1] ** 2 + GROUP_OVERHEAD_PAIRS for start, end in cuts)
            for cuts in _groupings(7)
        )
        assert ours == best


def _groupings(rows: int) -> list[list[tuple[int, int]]]:
    return [
        list(itertools.pairwise((0, *cuts, rows)))
        for count in range(rows)
        for cuts in itertools.combinations(range(1, rows), count)
    ]


def test_short_answers_are_not_padded_to_long_traces() -> None:
    targets = np.array([3] * 20 + [200] * 2, dtype=np.int32)
    steps = _plan(targets, ceiling_flops=10**9)
    for batch in (batch for step in steps for batch in step.micro_batches):
        assert batch.positions <= (11 + targets[batch.row_B]).sum() * 33 / 32
