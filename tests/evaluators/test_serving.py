"""A query's cost and chance against closed forms, and against queries simulated one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.answering import Answering
from evaluators.serving import Hardware, Once, Retries, SelfCorrection, TokenPrices, serve

calm = settings(deadline=None, derandomize=True, max_examples=60)
GPU = Hardware(dollars_per_hour=3.6, peak_flops_per_second=1e14, utilisation=0.5)  # 2e-17 dollars a FLOP
TOKENS = TokenPrices(prompt_dollars_per_million_tokens=1.0, output_dollars_per_million_tokens=4.0)
shares = st.floats(0, 1)


def known(accuracy: float, flops: float = 0.0) -> Answering:
    columns = (np.array([value], dtype=float) for value in (accuracy, 100, 50, flops, 1.5 * flops))
    names = ("accuracy_D", "prompt_tokens_D", "output_tokens_D", "flops_D", "second_flops_D")
    return Answering(**dict(zip(names, columns, strict=True)))


def simulated(p: float, usage: Retries, queries: int) -> tuple[float, float, float]:
    """(share right, attempts, checks) a query, one query after the other."""
    rng = np.random.default_rng(0)
    right = attempts = checks = 0
    for _ in range(queries):
        stuck = rng.random() < usage.repeats
        verdict = rng.random() < p
        for attempt in range(1, usage.max_attempts + 1):
            attempts += 1
            if attempt > 1 and not stuck:
                verdict = rng.random() < p
            if attempt == usage.max_attempts:
                break
            checks += 1
            if rng.random() < (usage.accepts_right if verdict else usage.accepts_wrong):
                break
        right += verdict
    return right / queries, attempts / queries, checks / queries


@pytest.mark.parametrize(
    ("p", "usage"),
    [
        (0.3, Retries(max_attempts=4, check_dollars=1.0)),
        (0.3, Retries(max_attempts=4, accepts_right=0.8, accepts_wrong=0.2, check_dollars=1.0)),
        (0.6, Retries(max_attempts=6, accepts_right=0.9, accepts_wrong=0.1, repeats=0.4, check_dollars=1.0)),
        (0.6, Retries(max_attempts=1, accepts_right=0.0, check_dollars=1.0)),
    ],
)
def test_retries_agree_with_queries_simulated_one_by_one(p: float, usage: Retries) -> None:
    right, attempts, checks = simulated(p, usage, 20_000)
    query = serve(known(p), usage, TOKENS)
    assert query.right_D[0] == pytest.approx(right, abs=0.015)
    assert query.passes_D[0] == pytest.approx(attempts, abs=0.05)
    assert query.dollars_D[0] == pytest.approx(attempts * 300e-6 + checks, abs=0.05)


@calm
@given(shares, st.integers(1, 500))
def test_a_perfect_checker_is_the_geometric_law(p: float, cap: int) -> None:
    query = serve(known(p), Retries(max_attempts=cap), TOKENS)
    assert query.right_D[0] == pytest.approx(1 - (1 - p) ** cap, abs=1e-9)
    assert query.passes_D[0] == pytest.approx(sum((1 - p) ** k for k in range(cap)))


@calm
@given(shares, shares, shares, st.integers(1, 50))
def test_retries_that_cannot_help_do_not(p: float, accepts: float, repeats: float, cap: int) -> None:
    blind = serve(known(p), Retries(max_attempts=cap, accepts_right=accepts, accepts_wrong=accepts), TOKENS)
    assert blind.right_D[0] == pytest.approx(p)
    greedy = serve(known(p), Retries(max_attempts=cap, repeats=1.0), TOKENS)
    assert greedy.right_D[0] == pytest.approx(p)
    assert greedy.passes_D[0] == pytest.approx(p + (1 - p) * cap)
    one = serve(known(p), Retries(max_attempts=1, accepts_right=accepts, repeats=repeats, check_dollars=9.0), TOKENS)
    once = serve(known(p), Once(), TOKENS)
    assert (one.right_D[0], one.dollars_D[0]) == pytest.approx((once.right_D[0], once.dollars_D[0]))


def test_a_second_look_reads_the_first_answer_and_is_paid() -> None:
    query = serve(known(0.6), SelfCorrection(corrects=0.25, spoils=0.1), TOKENS)
    assert query.right_D[0] == pytest.approx(0.6 * 0.9 + 0.4 * 0.25)
    assert query.dollars_D[0] == pytest.approx((100 + 4 * 50 + 150 + 4 * 50) / 1e6)
    by_flops = serve(known(0.6, flops=1e9), SelfCorrection(corrects=0, spoils=0), GPU)
    assert by_flops.dollars_D[0] == pytest.approx(2.5e9 * 2e-17)
