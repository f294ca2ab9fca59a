"""Layouts: each form is told from its columns, any other is named by hand, and no row breaks one or is lost."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.layouts import LAYOUTS, Columns, detect, layout_named
from curricula.sieve import Sieve
from tests.curricula.samples import LAYOUT_OF, SAMPLES, reason, sample, texts, verdicts


def test_every_sample_is_told_by_its_columns() -> None:
    assert {path.stem for path in SAMPLES.glob("*.jsonl")} - {"unknown"} >= set(LAYOUT_OF)
    assert {name: detect(sample(name)).name for name in LAYOUT_OF} == LAYOUT_OF


@pytest.mark.parametrize("name", LAYOUT_OF)
def test_what_a_layout_gives_can_be_trained_on_and_nothing_is_lost(name: str) -> None:
    rows = sample(name)
    layout = detect(rows)
    sieve = Sieve(name=name)
    for number, row in enumerate(rows, start=1):
        where = f"{name}, line {number}"
        intake = layout.intake(row, where)
        if intake.examples:
            assert intake.examples == (layout.example(row, where),)
            sieve.add(intake.examples[0])
        else:
            assert [drop.reason for drop in intake.drops] == [reason(layout, row)]
        assert all(drop.where.startswith(where) and drop.reason for drop in intake.drops)
    assert sieve.kept
    assert not sieve.dropped


@pytest.mark.parametrize("name", LAYOUT_OF)
def test_the_order_and_presence_of_other_columns_do_not_matter(name: str) -> None:
    rows = sample(name)
    layout = detect(rows)
    shuffled = [dict(reversed([*row.items()])) | ({} if layout.name == "own" else {"zz": 1}) for row in rows]
    assert detect(shuffled) == layout
    for row, other in zip(rows, shuffled, strict=True):
        assert layout.intake(row, "x").examples == layout.intake(other, "x").examples


def test_unknown_columns_are_listed_and_can_be_named_by_hand() -> None:
    rows = sample("unknown")
    with pytest.raises(ValueError, match=r"columns q, gold, cot, level\. Name them by hand, as in --columns\.prompt"):
        detect(rows)
    layout = Columns(prompt="q", answer="gold", reasoning="cot", task_name="add")
    assert layout.columns == ("gold", "q", "cot")
    assert all(layout.fits(row) for row in rows)
    example = layout.example(rows[0], "x")
    assert (example.task, example.prompt) == ("add", "3+4=?")
    assert texts(example) == {"answer": "7", "reasoning": "<think>3 and 4 make 7</think>7"}
    assert [drop.reason for drop in layout.intake(rows[1], "x").drops] == ["reasoning: trace ends before its answer"]


def test_named_columns_hold_labels_flags_and_choices() -> None:
    row = {
        "q": "Which is even?",
        "gold": "B",
        "out": "<think>8 is even, B</think>It is (B)",
        "options": ["7", "8"],
        "part": "dev",
        "field": "transfer",
        "key": "r1",
        "ok": True,
        "why": "stop",
        "topic": "parity",
    }
    layout = Columns(
        prompt="q",
        answer="gold",
        completion="out",
        choices="options",
        split="part",
        domain="field",
        id="key",
        correct="ok",
        finish_reason="why",
        task="topic",
    )
    example = layout.example(row, "x")
    assert (example.kind, example.choices, example.split, example.domain) == ("choice", ("7", "8"), "dev", "transfer")
    assert (example.id, example.task) == ("r1", "parity")
    assert verdicts(example) == {"answer": "declared", "reasoning": "declared", "response": "declared"}
    assert reason(layout, {**row, "ok": False}) == "flagged incorrect"
    assert reason(layout, {**row, "why": "length"}) == "flagged unfinished"
    assert reason(layout, {**row, "part": "validation"}) == "unknown split"
    assert reason(layout, {**row, "out": "<think>8"}) == "think block never closed"


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({}, "at least one of answer, completion"),
        ({"completion": "a", "reasoning": "b"}, "completion holds both"),
        ({"response": "a"}, "name reasoning too"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(named: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Columns(**named)


def test_layouts_go_by_name_and_an_unknown_name_gets_the_nearest() -> None:
    assert [layout_named(layout.name) for layout in LAYOUTS] == list(LAYOUTS)
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    assert pickle.loads(pickle.dumps(LAYOUTS)) == LAYOUTS
    with pytest.raises(ValueError, match=r"unknown layout 'share-gpt'; did you mean sharegpt"):
        layout_named("share-gpt")
    with pytest.raises(ValueError, match=r"there are own, openr1-math"):
        layout_named("zzzz")


def test_a_few_rows_of_another_form_do_not_decide() -> None:
    rows = sample("gsm8k")
    assert detect([*rows, {"question": "q"}, {}]).name == "gsm8k"
    with pytest.raises(ValueError, match="no known layout"):
        detect([rows[0], {}, {}])
    with pytest.raises(ValueError, match="no row"):
        detect([])


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["", "7", "<think>", "</think>", "<think>7</think>7", "\\boxed{7}", "#### 7", "\x00", "Yes", "\udc00"]
    )
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "from", "content", "value", "answer", "text"]), inner, max_size=3)
        | st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": inner})
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", LAYOUT_OF)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_value_breaks_a_layout(name: str, data: st.DataObject) -> None:
    rows = sample(name)
    layout = detect(rows)
    names = st.sampled_from([*layout.columns, "answer", "finish_reason", "correct", "reasoning_content"])
    row = {**data.draw(st.sampled_from(rows)), **data.draw(st.dictionaries(names, _VALUES, max_size=2))}
    layout.fits(row)
    intake = layout.intake(row, "x")
    assert intake.examples or len(intake.drops) == 1
    for example in intake.examples:
        sieve = Sieve(name="fuzz")
        sieve.add(example)
        assert not sieve.dropped
