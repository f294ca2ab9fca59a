"""The matrix: what is chosen, what is left open and why, what limits remove, and how it is said."""

from __future__ import annotations

import itertools
from typing import TypedDict, Unpack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.types import Cost
from evaluators.answering import Figure, answering_from_figures, answering_from_questions
from evaluators.decision import Candidate, Cell, Limits, decide
from evaluators.ownership import Making, Student, Terms, ownership
from evaluators.sentences import sentence
from evaluators.serving import Hardware, Once, SelfCorrection, TokenPrices

calm = settings(deadline=None, derandomize=True, max_examples=60)
GPU = Hardware(dollars_per_hour=3.6, peak_flops_per_second=1e14, utilisation=0.5)
TERMS = Terms(
    making=GPU,
    serving=TokenPrices(prompt_dollars_per_million_tokens=1.0, output_dollars_per_million_tokens=4.0),
    usage=Once(),
)


class Rest(TypedDict, total=False):
    """What tests change of a candidate."""

    task_group: str
    student: str
    budget_flops: int
    runs: int
    latency_seconds: float | None
    memory_bytes: int | None
    visible_reasoning: bool


def candidate(
    supervision: str,
    accuracy: float,
    *,
    within: float | None = 0.02,
    output: float = 50.0,
    made: float = 10.0,
    **rest: Unpack[Rest],
) -> Candidate:
    """Accuracy +- `within`, output tokens +- 1%; no intervals where `within` is None."""
    ci95 = None if within is None else (max(0.0, accuracy - within), min(1.0, accuracy + within))
    fields: Rest = {
        "task_group": "sums",
        "student": "tiny",
        "budget_flops": 6 * 10**12,
        "runs": 3,
        "visible_reasoning": supervision != "answer",
    }
    return Candidate(
        supervision=supervision,
        answering=answering_from_figures(
            None,
            accuracy=Figure(value=accuracy, ci95=ci95),
            output_tokens=Figure(value=output, ci95=(0.99 * output, 1.01 * output)),
            prompt_tokens=0,
            seed=len(supervision),
            draws=400,
        ),
        making=Making(training=Cost(dollars=made)),
        questions=200,
        output_tokens_p90=2 * output,
        **{**fields, **rest},
    )


def one_cell(*candidates: Candidate, queries: float = 1e6, limits: Limits | None = None) -> Cell:
    (cell,) = decide(candidates, TERMS, [queries], limits=limits)
    return cell


def test_volume_decides_between_cheap_to_make_and_cheap_to_serve() -> None:
    short = candidate("short", 0.8, output=50, made=0)
    answer = candidate("answer", 0.8, output=5, made=100)
    few, many = decide([short, answer], TERMS, [1000, 1e7])
    assert (few.verdict, few.choice, few.open) == ("decided", "short", ("short",))
    assert (many.verdict, many.choice) == ("decided", "answer")
    owned = ownership(Student(name="short", making=short.making, answering=short.answering), TERMS, 1000)
    assert few.evidence[0].dollars_per_correct == owned.dollars_per_correct
    assert few.evidence[0].serving_dollars_per_query == pytest.approx(200e-6)
    assert (few.evidence[0].questions, few.evidence[0].runs, few.evidence[0].output_tokens_p90) == (200, 3, 100)


def test_overlap_is_not_decided_and_names_who_is_behind() -> None:
    cell = one_cell(candidate("short", 0.80), candidate("compressed", 0.81), candidate("answer", 0.3))
    assert (cell.verdict, cell.choice, cell.open) == ("tied", None, ("compressed", "short"))
    said = sentence(cell)
    assert "not decided by this data: compressed at $" in said
    assert said.endswith(", because their likely ranges overlap; clearly behind: answer.")


@calm
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2), st.integers(0, 100)), min_size=2, max_size=4),
    st.sampled_from(["dollars_per_correct", "right"]),
)
def test_the_rule_by_its_own_words(rows: list[tuple[float, float, int]], criterion: str) -> None:
    """A choice is better than every other by value, and apart from it by interval; what is open overlaps the best."""
    names = ("a", "bb", "ccc", "dddd")
    candidates = [
        candidate(name, p, within=within, made=made) for name, (p, within, made) in zip(names, rows, strict=False)
    ]
    (cell,) = decide(candidates, TERMS, [1e5], criterion="right" if criterion == "right" else "dollars_per_correct")
    best, *rivals = cell.evidence
    if cell.verdict == "none right":
        assert all(not each.right.value for each in cell.evidence)
        return
    for rival in rivals:
        if best.criterion.ci95 is None or rival.criterion.ci95 is None or rival.criterion.value is None:
            continue
        assert best.criterion.value is not None
        if criterion == "right":
            assert best.criterion.value >= rival.criterion.value
            apart = best.criterion.ci95[0] > rival.criterion.ci95[1]
        else:
            assert best.criterion.value <= rival.criterion.value
            apart = best.criterion.ci95[1] < rival.criterion.ci95[0]
        assert (rival.supervision in cell.open) == (not apart)
    assert (cell.choice is None) == (cell.verdict != "decided") == (len(cell.open) > 1)
    assert sentence(cell).endswith(".")


def test_one_alone_is_no_winner() -> None:
    cell = one_cell(candidate("short", 0.9))
    assert (cell.verdict, cell.choice) == ("no rival", None)
    assert "so there is nothing to compare" in sentence(cell)
    limited = one_cell(candidate("short", 0.9), candidate("answer", 0.2), limits=Limits(visible_reasoning=True))
    assert (limited.verdict, limited.choice) == ("no rival", None)
    assert sentence(limited).endswith("; left out: answer shows no reasoning, which is required.")


@pytest.mark.parametrize("lacking", [candidate("answer", 0.2, within=None), candidate("answer", 0.2, runs=1)])
def test_what_has_no_interval_or_no_second_run_decides_nothing(lacking: Candidate) -> None:
    cell = one_cell(candidate("short", 0.9), lacking)
    assert (cell.verdict, cell.choice, set(cell.open)) == ("too little data", None, {"short", "answer"})
    assert "not decided by this data" in sentence(cell)
    tied = one_cell(candidate("short", 0.9), candidate("compressed", 0.9), lacking)
    assert (tied.verdict, len(tied.open)) == ("tied", 3)


def test_single_runs_may_be_let_decide() -> None:
    single = [candidate("short", 0.9, runs=1), candidate("answer", 0.2, runs=1)]
    assert decide(single, TERMS, [1e6], min_runs=1)[0].choice == "short"
    assert decide(single, TERMS, [1e6])[0].verdict == "too little data"


def test_nothing_right_is_nothing_to_choose() -> None:
    cell = one_cell(candidate("short", 0.0), candidate("answer", 0.0))
    assert (cell.verdict, cell.choice) == ("none right", None)
    assert "nothing to choose, for no answer was right (answer on 200 questions" in sentence(cell)
    hopeless = one_cell(candidate("short", 0.5), candidate("answer", 0.0, within=0.01))
    assert (hopeless.verdict, hopeless.choice) == ("decided", "short")
    assert "answer at no price, as nothing was right" in sentence(hopeless)
    lucky = one_cell(candidate("short", 0.5), candidate("answer", 0.0, within=0.6))
    assert (lucky.verdict, lucky.choice) == ("tied", None)


@calm
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(0.1, 10)), st.one_of(st.none(), st.integers(1, 2**34)), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    st.one_of(st.none(), st.floats(0.1, 10)),
    st.one_of(st.none(), st.integers(1, 2**34)),
    st.one_of(st.none(), st.integers(10**12, 10**13)),
    st.booleans(),
)
def test_limits_only_remove(
    rows: list[tuple[float | None, int | None, bool]],
    latency: float | None,
    memory: int | None,
    budget: int | None,
    visible: bool,
) -> None:
    candidates = [
        candidate(name, 0.5, latency_seconds=seconds, memory_bytes=size, visible_reasoning=shown)
        for name, (seconds, size, shown) in zip(("a", "bb", "ccc", "dddd"), rows, strict=False)
    ]
    limits = Limits(
        max_latency_seconds=latency, max_memory_bytes=memory, max_budget_flops=budget, visible_reasoning=visible
    )
    free, limited = one_cell(*candidates), one_cell(*candidates, limits=limits)
    kept = {
        each.supervision
        for each in candidates
        if (latency is None or (each.latency_seconds is not None and each.latency_seconds <= latency))
        and (memory is None or (each.memory_bytes is not None and each.memory_bytes <= memory))
        and (budget is None or each.budget_flops <= budget)
        and (not visible or each.visible_reasoning)
    }
    assert {each.supervision for each in limited.evidence} == kept
    assert {each.supervision for each in limited.removed} == {each.supervision for each in candidates} - kept
    assert [each for each in free.evidence if each.supervision in kept] == list(limited.evidence)
    if not kept:
        assert limited.verdict == "none left"
        assert "nothing that was measured keeps within the limits; left out: " in sentence(limited)


def test_two_passes_take_twice_the_time() -> None:
    fast = [candidate("short", 0.9, latency_seconds=0.3), candidate("answer", 0.2, latency_seconds=0.1)]
    twice = Terms(making=GPU, serving=TERMS.serving, usage=SelfCorrection(corrects=0.1, spoils=0))
    (cell,) = decide(fast, twice, [1e6], limits=Limits(max_latency_seconds=0.5))
    assert [each.reason for each in cell.removed] == ["takes 0.6 seconds an answer, over the limit of 0.5"]


def test_cells_stand_in_order_and_apart() -> None:
    groups, students, budgets = ("sums", "chains"), ("tiny", "tiny-3m"), (10**12, 10**13)
    rows = [
        candidate(name, 0.5, task_group=group, student=student, budget_flops=budget)
        for group, student, budget in itertools.product(groups, students, budgets)
        for name in ("short", "answer")
    ]
    cells = decide(rows, TERMS, [10, 1000])
    want = list(itertools.product(groups, students, budgets, (10, 1000)))
    assert [(cell.task_group, cell.student, cell.budget_flops, cell.queries) for cell in cells] == want
    assert all(len(cell.evidence) == 2 for cell in cells)
    assert decide([], TERMS, [10]) == ()


def test_a_sentence_as_a_manager_reads_it() -> None:
    correct_KQ = np.arange(100)[None, :] < np.array([[80], [80]])
    ones = np.ones((2, 100), dtype=np.int32)
    short = candidate("short", 0.8)
    measured = Candidate(
        **{
            **{name: value for name, value in vars(short).items() if name != "answering"},
            "answering": answering_from_questions(
                None, correct_KQ=correct_KQ, output_tokens_KQ=50 * ones, prompt_tokens_Q=ones[0], seed=0
            ),
        }
    )
    said = sentence(one_cell(measured, candidate("answer", 0.2, output=40, made=1), queries=1e6))
    assert said.startswith(
        "For sums asked of tiny, trained with 6 trillion operations, over 1 million queries: choose short at $0.264 "
        "(likely $0.2"
    )
    assert "per thousand right answers, with 80% (likely 7" in said
    assert "right over 200 questions and 3 training runs; next comes answer at $0.805 (likely $0.7" in said


def test_prices_are_said_in_cents_or_more() -> None:
    cheap = sentence(one_cell(candidate("short", 0.5, output=1, made=0), candidate("answer", 0.9, output=1, made=0)))
    assert "answer at $4.44 (likely $4.3" in cheap
    assert "per million right answers" in cheap
    assert "over 1 query: only short at $20.00 (range unknown) per right answer, with 50% (range unknown)" in sentence(
        one_cell(candidate("short", 0.5, within=None), queries=1)
    )


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="short stands twice for sums, tiny and 6e"):
        decide([candidate("short", 0.5), candidate("short", 0.6)], TERMS, [10])
    for queries in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a decision needs a positive number of queries"):
            decide([candidate("short", 0.5)], TERMS, [queries])
    with pytest.raises(ValueError, match="needs a question and a run at least, got 200 and 0"):
        candidate("short", 0.5, runs=0)
