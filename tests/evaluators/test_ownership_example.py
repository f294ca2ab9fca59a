"""The figures of docs/ownership.md's example, computed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from curricula.types import Cost
from evaluators.answering import Figure, answering_from_figures
from evaluators.ownership import Making, Student, Terms, break_even, ownership
from evaluators.serving import Hardware, Retries, serve
from trainers.pricing.flops import ModelShape

PAGE = (Path(__file__).parents[2] / "docs" / "ownership.md").read_text(encoding="utf-8")
SHAPE = ModelShape(
    layers=24, block_weights=300_000_000, attention_width=1024, head_weights=50_000_000, parameters=350_000_000
)
GPU = Hardware(dollars_per_hour=3.6, peak_flops_per_second=1e14, utilisation=0.5)
TERMS = Terms(making=GPU, serving=GPU, error_dollars=1e-5)


def student(name: str, corpus_dollars: float, accuracy: Figure, output_tokens: Figure, seed: int) -> Student:
    return Student(
        name=name,
        making=Making(teacher=Cost(dollars=corpus_dollars), training=Cost(flops=5 * 10**17)),
        answering=answering_from_figures(
            SHAPE, accuracy=accuracy, output_tokens=output_tokens, prompt_tokens=40, seed=seed
        ),
    )


ANSWER = student("answer", 0.0, Figure(value=0.5, ci95=(0.44, 0.56)), Figure(value=3, ci95=(2, 4)), 0)
SHORT = student("short", 20.0, Figure(value=0.8, ci95=(0.75, 0.84)), Figure(value=30, ci95=(28, 32)), 1)


def row(first: str, spelled: list[str]) -> str:
    return f"| {first} | {' | '.join(spelled)} |"


def test_the_page_says_what_is_computed() -> None:
    served, slopes, prices = [], [], []
    for each in (ANSWER, SHORT):
        query = serve(each.answering, TERMS.usage, TERMS.serving)
        slope = (query.dollars_D[0] + (1 - query.right_D[0]) * TERMS.error_dollars) / query.right_D[0]
        price = ownership(each, TERMS, 10_000_000).dollars_per_correct
        assert price.value is not None
        assert price.ci95 is not None
        served.append(f"{each.answering.flops_D[0]:.3g} FLOPs: {1e6 * query.dollars_D[0]:.3f}")
        slopes.append(f"{1e6 * slope:.2f}")
        prices.append(f"{1e6 * price.value:.2f} [{1e6 * price.ci95[0]:.2f}, {1e6 * price.ci95[1]:.2f}]")
    assert row("serving, a million queries", served) in PAGE
    assert row("with errors, a million correct answers", slopes) in PAGE
    assert row("all in all, a million correct answers", prices) in PAGE
    even = break_even(SHORT, ANSWER, TERMS)
    assert even.ci95 is not None
    assert even.crossing == "from"
    spelled = f"{even.queries / 1e6:.2f} million queries on [{even.ci95[0] / 1e6:.2f}, {even.ci95[1] / 1e6:.2f}]"
    assert spelled in " ".join(PAGE.split())
    retried = serve(SHORT.answering, Retries(max_attempts=2), GPU)
    assert retried.right_D[0] == pytest.approx(0.96)


def test_the_pages_figures_by_hand() -> None:
    """Serving `answer`: 40 positions of prefill, two decode steps."""
    prefill = 2 * 40 * 300_000_000 + 4 * 40 * 40 * 24 * 1024 + 2 * 50_000_000
    steps = 2 * 2 * 350_000_000 + 4 * 24 * 1024 * (41 + 42)
    assert ANSWER.answering.flops_D[0] == prefill + steps
    served = (prefill + steps) * 2e-17
    price = ownership(ANSWER, TERMS, 10_000_000).dollars_per_correct.value
    assert price == pytest.approx((10.0 + 1e7 * (served + 0.5 * 1e-5)) / 5e6)
