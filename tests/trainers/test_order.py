"""Data order: fair, exact in its passes, and the same wherever it is entered."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainers.order import BLOCK_ROWS, Shuffle, draw_rows, rows_digest


def _first(share: NDArray[np.float64], count: int, *, drawn: int = 0, seed: int = 0) -> NDArray[np.int64]:
    """The next `count` rows."""
    found: list[NDArray[np.int64]] = []
    for order in draw_rows(share, seed=seed, key="k", drawn=drawn):
        found.append(order)
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


@given(st.integers(0, 50))
def test_equal_shares_draw_every_row_once_a_pass(seed: int) -> None:
    passes = itertools.islice(draw_rows(np.full(37, 0.3), seed=seed, key="k", drawn=0), 3)
    for order in passes:
        assert sorted(order.tolist()) == list(range(37))


def test_passes_are_shuffled_anew() -> None:
    first, second = itertools.islice(draw_rows(np.ones(50), seed=0, key="k", drawn=0), 2)
    assert first.tolist() != second.tolist()


def test_shares_are_kept_over_many_passes() -> None:
    share = np.array([6.0, 3.0, 1.0, 0.0, 2.0])
    drawn = np.concatenate(list(itertools.islice(draw_rows(share, seed=1, key="k", drawn=0), 4000)))
    counts = np.bincount(drawn, minlength=5) / len(drawn)
    assert counts == pytest.approx(share / share.sum(), abs=0.01)
    assert counts[3] == 0


@given(st.integers(300, 3 * BLOCK_ROWS), st.integers(0, 4 * BLOCK_ROWS), st.booleans())
def test_an_order_is_the_same_wherever_it_is_entered(rows: int, drawn: int, equal: bool) -> None:
    share = np.ones(rows) if equal else np.random.default_rng(rows).random(rows) + 0.1
    count = BLOCK_ROWS + 7
    assert (_first(share, count, drawn=drawn) == _first(share, drawn + count)[drawn:]).all()


@given(st.integers(1, 200), st.integers(0, 20))
def test_a_pass_draws_each_row_its_whole_part_and_at_most_once_more(rows: int, seed: int) -> None:
    share = np.random.default_rng(seed).choice([0.0, 0.3, 1.0, 4.0], rows) + np.eye(1, rows)[0]
    expected = share * (rows / share.sum())
    counts = np.bincount(_first(share, rows, seed=seed), minlength=rows)
    assert counts.sum() == rows
    assert (np.abs(counts - expected) < 1 + 1e-9).all()
    assert not counts[share == 0].any()


@given(st.integers(1, 3000), st.integers(0, 5))
def test_a_shuffle_takes_every_number_once(size: int, seed: int) -> None:
    numbers = Shuffle(size, np.random.default_rng(seed))(np.arange(size))
    assert sorted(numbers.tolist()) == list(range(size))


def test_every_order_of_few_rows_is_as_likely() -> None:
    rng, draws = np.random.default_rng(0), 6000
    orders = [tuple(Shuffle(4, rng)(np.arange(4)).tolist()) for _ in range(draws)]
    expected = draws / math.factorial(4)
    counts = [orders.count(order) for order in itertools.permutations(range(4))]
    assert sum((count - expected) ** 2 / expected for count in counts) < 49.7  # chi square, 23 degrees, p = 0.001


def test_rows_that_stand_together_are_drawn_far_apart() -> None:
    rng, size, draws = np.random.default_rng(0), 1000, 300
    steps = np.zeros(size)
    for _ in range(draws):
        steps += np.bincount(np.diff(Shuffle(size, rng)(np.arange(size))) % size, minlength=size)
    # As many pairs of neighbours for every distance between 1 and size - 1: chi square, 998 degrees, p = 0.001.
    assert ((steps[1:] - draws) ** 2 / draws).sum() < 1142


def test_the_start_of_a_pass_is_a_fair_sample() -> None:
    rows, count = 3_000_000, 30_000
    share = np.repeat([0.5, 0.3, 0.2], rows // 3)
    drawn = _first(share, count)
    assert np.bincount(drawn // (rows // 3)) / count == pytest.approx([0.5, 0.3, 0.2], abs=0.01)
    tenths = np.bincount(drawn % (rows // 3) * 10 // (rows // 3)) / count
    assert tenths == pytest.approx(np.full(10, 0.1), abs=0.007)


@given(st.integers(1, 30), st.integers(0, 100))
def test_a_digest_tells_rows_apart_and_scales_alike(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    example, supervision, share = rng.integers(0, 9, rows), rng.integers(0, 2, rows), rng.integers(1, 3, rows) / 1.0
    same = rows_digest(example.astype(np.int32), supervision.astype(np.int32), 4.0 * share)
    assert same == rows_digest(example, supervision, share)
    place = int(rng.integers(rows))
    for column in (example, supervision, share):
        before = column[place]
        column[place] += 1
        if rows > 1 or column is not share:  # the share of an only row says nothing
            assert rows_digest(example, supervision, share) != same
        column[place] = before
