"""The bill of a student against closed forms, and the volume where two bills meet against bisection."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curricula.types import Cost
from evaluators.answering import Answering, Figure, answering_from_figures, answering_from_questions
from evaluators.ownership import Making, Student, Terms, break_even, ownership, sensitivity
from evaluators.serving import Hardware, Once, Retries, SelfCorrection, TokenPrices, Usage
from trainers.pricing.flops import ModelShape

calm = settings(deadline=None, derandomize=True, max_examples=60)
SHAPE = ModelShape(layers=3, block_weights=600_000, attention_width=128, head_weights=33_000, parameters=660_000)
GPU = Hardware(dollars_per_hour=3.6, peak_flops_per_second=1e14, utilisation=0.5)  # 2e-17 dollars a FLOP
TOKENS = TokenPrices(prompt_dollars_per_million_tokens=1.0, output_dollars_per_million_tokens=4.0)
shares = st.floats(0, 1)
amounts = st.integers(0, 1000)


def known(accuracy: float, *, prompt: float = 100, output: float = 50, flops: float = 0.0) -> Answering:
    columns = (np.array([value], dtype=float) for value in (accuracy, prompt, output, flops, 1.5 * flops))
    names = ("accuracy_D", "prompt_tokens_D", "output_tokens_D", "flops_D", "second_flops_D")
    return Answering(**dict(zip(names, columns, strict=True)))


def student(name: str, accuracy: float, *, made: float, output: float = 50) -> Student:
    return Student(
        name=name, making=Making(training=Cost(dollars=made)), answering=known(accuracy, prompt=0, output=output)
    )


def terms(usage: Usage | None = None, *, error_dollars: float = 0.0) -> Terms:
    return Terms(making=GPU, serving=TOKENS, usage=usage or Once(), error_dollars=error_dollars)


def test_the_parts_of_a_bill_add_up() -> None:
    making = Making(
        teacher=Cost(dollars=30.0),
        rejected=Cost(flops=3 * 10**17),  # 6 dollars
        compression=Cost(dollars=3.0, tokens=10**9),
        selection=Cost(flops=10**17),
        training=Cost(flops=10**18),
        corpus_students=3,
    )
    owned = ownership(
        Student(name="short", making=making, answering=known(0.5)), terms(error_dollars=0.001), queries=10_000
    )
    assert owned.making_dollars == pytest.approx(
        {"teacher": 10.0, "rejected": 2.0, "compression": 1.0, "selection": 2.0, "training": 20.0}
    )
    assert owned.serving_dollars.value == pytest.approx(10_000 * 300e-6)
    assert owned.error_dollars.value == pytest.approx(5.0)
    assert owned.total_dollars.value == pytest.approx(35 + 3 + 5)
    assert owned.dollars_per_correct.value == pytest.approx(43 / 5000)
    assert owned.dollars_per_correct.ci95 is None


@pytest.mark.parametrize(("accuracy", "queries"), [(0.0, 1000), (0.9, 0)])
def test_no_right_answer_has_no_price(accuracy: float, queries: int) -> None:
    owned = ownership(student("answer", accuracy, made=5.0), terms(), queries)
    assert owned.dollars_per_correct == Figure(value=None)
    assert owned.total_dollars.value == pytest.approx(5.0 + queries * 200e-6)
    assert all(row.same.value is None for row in sensitivity(student("answer", accuracy, made=5.0), terms(), queries))


def by_bisection(a: Student, b: Student, given_terms: Terms) -> float:
    """The volume from which a correct answer of `a` is cheaper than one of `b`, as their bills say."""

    def is_cheaper(queries: float) -> bool:
        ours, theirs = (ownership(each, given_terms, queries).dollars_per_correct.value for each in (a, b))
        assert ours is not None
        assert theirs is not None
        return ours < theirs

    low, high = 1e-6, 1e12
    if is_cheaper(low):
        return 0.0
    if not is_cheaper(high):
        return math.inf
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_cheaper(middle) else (middle, high)
    return high


@calm
@given(
    st.floats(0.05, 1), st.floats(0.05, 1), amounts, amounts, st.integers(1, 2000), st.integers(1, 2000), st.booleans()
)
def test_break_even_is_where_the_bills_meet(
    p_a: float, p_b: float, made_a: int, made_b: int, output_a: int, output_b: int, retry: bool
) -> None:
    a = student("a", p_a, made=made_a, output=output_a)
    b = student("b", p_b, made=made_b, output=output_b)
    given_terms = terms(Retries(max_attempts=5) if retry else None, error_dollars=0.001)
    got = break_even(a, b, given_terms)
    if got.crossing == "until":
        got = break_even(b, a, given_terms)
        a, b = b, a
    assume(got.crossing != "from" or 1e-3 < got.queries < 1e9)
    slope_a, slope_b = (ownership(each, given_terms, 1e12).dollars_per_correct.value or math.inf for each in (a, b))
    assume(abs(slope_a / slope_b - 1) > 1e-6)
    assert by_bisection(a, b, given_terms) == pytest.approx(got.queries, rel=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "crossing", "queries"),
    [
        (student("a", 0.5, made=0), student("b", 0.5, made=10), "from the start", 0.0),
        (student("a", 0.5, made=10), student("b", 0.5, made=0), "never", math.inf),
        (student("a", 0.5, made=10), student("b", 0.5, made=10), "never", math.inf),
        (student("a", 0.5, made=10, output=25), student("b", 0.5, made=0, output=50), "from", 100_000),
        (student("a", 0.5, made=0, output=50), student("b", 0.5, made=10, output=25), "until", 100_000),
        (student("a", 0.0, made=0), student("b", 0.5, made=10), "never", math.inf),
        (student("a", 0.5, made=10), student("b", 0.0, made=0), "from the start", 0.0),
        (student("a", 0.0, made=0), student("b", 0.0, made=10), "never", math.inf),
    ],
)
def test_every_crossing_there_is(a: Student, b: Student, crossing: str, queries: float) -> None:
    got = break_even(a, b, terms())
    assert (got.crossing, got.queries) == (crossing, pytest.approx(queries))
    assert got.ci95 is None


@calm
@given(shares, shares, amounts, amounts, amounts, amounts, st.floats(1, 1e9), st.floats(1, 1000))
def test_more_volume_never_favours_the_dearer_to_serve(
    p_a: float, p_b: float, made_a: int, made_b: int, output_a: int, output_b: int, queries: float, more: float
) -> None:
    a, b = student("a", p_a, made=made_a, output=output_a), student("b", p_b, made=made_b, output=output_b)
    assume(output_a > output_b)
    few, many = (
        [ownership(each, terms(), volume).total_dollars.value or 0.0 for each in (a, b)]
        for volume in (queries, more * queries)
    )
    assert few[0] <= few[1] or many[0] >= many[1]
    assert break_even(a, b, terms(), per="query").crossing in ("never", "until")


def test_all_wrong_is_not_certain() -> None:
    ones = np.ones((2, 30), dtype=np.int32)
    drawn = answering_from_questions(
        SHAPE, correct_KQ=ones == 0, output_tokens_KQ=ones, prompt_tokens_Q=ones[0], seed=0
    )
    made = Student(name="answer", making=Making(training=Cost(dollars=10.0)), answering=drawn)
    owned = ownership(made, terms(), 100)
    assert owned.right.value == 0
    assert owned.right.ci95 == (0.0, pytest.approx(0.1135, abs=0.01))  # Wilson's bound
    assert owned.dollars_per_correct.value is None
    assert owned.dollars_per_correct.ci95 is not None
    assert owned.dollars_per_correct.ci95[0] == pytest.approx(10 / 11.35, rel=0.1)
    assert math.isinf(owned.dollars_per_correct.ci95[1])


def test_a_missing_interval_gives_none() -> None:
    drawn = answering_from_figures(
        SHAPE,
        accuracy=Figure(value=0.9, ci95=(0.7, 0.95)),
        output_tokens=Figure(value=40),
        prompt_tokens=20,
        seed=0,
    )
    owned = ownership(Student(name="short", making=Making(), answering=drawn), terms(), 10)
    assert (owned.right.ci95, owned.dollars_per_correct.ci95) == (None, None)


def test_an_uncertain_break_even_says_how_uncertain() -> None:
    """Serving saves 100 to 300 tokens a query at 4e-6 dollars, so 1 dollar is back after 833 to 2500 queries."""
    sure = dataclasses.replace(known(1.0, prompt=0, output=400))
    saving_D = np.concatenate([[200.0], np.linspace(100, 300, 201)])
    cheaper = Student(name="a", making=Making(training=Cost(dollars=1.0)), answering=repeated(sure, 400 - saving_D))
    dearer = Student(name="b", making=Making(), answering=repeated(sure, np.full(202, 400.0)))
    got = break_even(cheaper, dearer, terms())
    assert (got.crossing, got.queries) == ("from", pytest.approx(1250))
    assert got.ci95 == (pytest.approx(1 / (295 * 4e-6)), pytest.approx(1 / (105 * 4e-6)))
    assert got.shares == {"from": 1.0}
    doubtful = Student(
        name="a", making=cheaper.making, answering=repeated(sure, 400 - np.where(saving_D < 125, 0.0, saving_D))
    )
    got = break_even(doubtful, dearer, terms())
    assert got.shares == {"from": pytest.approx(176 / 201), "never": pytest.approx(25 / 201)}
    assert got.ci95 is not None
    assert math.isinf(got.ci95[1])
    other_way = break_even(dearer, doubtful, terms())
    assert (other_way.crossing, other_way.queries) == ("until", pytest.approx(1250))
    assert other_way.ci95 == got.ci95


def repeated(one: Answering, output_D: np.ndarray) -> Answering:
    columns = {name: np.repeat(column_D, len(output_D)) for name, column_D in dataclasses.asdict(one).items()}
    return Answering(**{**columns, "output_tokens_D": output_D})


def test_sensitivity_is_the_bill_at_half_and_twice() -> None:
    made = student("short", 0.5, made=8.0)
    rows = {row.changed: row for row in sensitivity(made, terms(Retries(max_attempts=4), error_dollars=0.01), 1000)}
    assert list(rows) == ["queries", "price of training", "price of serving", "price of an error", "attempts allowed"]
    right, passes = 1 - 0.5**4, 1.875

    def price(queries: float = 1000, serving: float = 1, error: float = 1) -> float:
        return (8 / queries + serving * passes * 200e-6 + error * (1 - right) * 0.01) / right

    assert all(row.same.value == pytest.approx(price()) for row in rows.values())
    assert rows["queries"].half.value == pytest.approx(price(queries=500))
    assert rows["price of training"].double.value == pytest.approx(price())  # paid in dollars, not in FLOPs
    assert rows["price of serving"].double.value == pytest.approx(price(serving=2))
    assert rows["price of an error"].half.value == pytest.approx(price(error=0.5))
    assert rows["attempts allowed"].half.value == pytest.approx((0.008 + 1.5 * 200e-6 + 0.0025) / 0.75)
    assert len(sensitivity(made, terms(), 1000)) == 4


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: Retries(max_attempts=0), "max_attempts must be at least 1, got 0"),
        (lambda: SelfCorrection(corrects=1.2, spoils=0), r"corrects must lie in \[0, 1\], got 1.2"),
        (lambda: Hardware(dollars_per_hour=1, peak_flops_per_second=1, utilisation=0), "utilisation must be above 0"),
        (lambda: Hardware(dollars_per_hour=math.nan, peak_flops_per_second=1, utilisation=1), "dollars_per_hour"),
        (lambda: terms(error_dollars=-1), "error_dollars must be a number of 0 or more, got -1"),
        (lambda: Making(corpus_students=0), "at least one student"),
        (lambda: known(1.2), r"accuracies must lie in \[0, 1\], got 1.2"),
        (lambda: known(math.nan), "must be numbers of 0 or more"),
        (lambda: ownership(student("a", 0.5, made=1), terms(), -1), "queries must be a number of 0 or more, got -1"),
        (
            lambda: answering_from_questions(
                SHAPE,
                correct_KQ=np.zeros((1, 0), dtype=bool),
                output_tokens_KQ=np.zeros((1, 0), dtype=np.int32),
                prompt_tokens_Q=np.zeros(0, dtype=np.int32),
                seed=0,
            ),
            "at least one of each",
        ),
        (
            lambda: answering_from_figures(
                None,
                accuracy=Figure(value=0.9, ci95=(0.1, 0.2)),
                output_tokens=Figure(value=4),
                prompt_tokens=3,
                seed=0,
            ),
            r"a value must lie in its interval",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(broken: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        broken()
