"""Splits follow the prompt alone, keep near-copies together and transfer out of training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curricula.splits import assign_splits, normalised
from curricula.types import SPLITS, Domain, Example, Split, Target


def example(prompt: str, *, split: Split | None = None, domain: Domain = "in_domain") -> Example:
    return Example(
        task="add",
        prompt=prompt,
        answer="7",
        targets=(Target(supervision="answer", text="7"),),
        split=split,
        domain=domain,
    )


def questions(
    count: int, *, split: Split | None = None, domain: Domain = "in_domain", word: str = "q"
) -> list[Example]:
    return [example(f"{word} {number}", split=split, domain=domain) for number in range(count)]


EXAMPLES = st.builds(
    example,
    st.sampled_from(["What is 3+4?", "what is 3 + 4", "WHAT IS 3 4", "?!", "!?", "else", "Else."]),
    split=st.none(),
    domain=st.sampled_from(["in_domain", "transfer"]),
)


def test_shares_come_out_as_stated() -> None:
    counts = Counter(assign_splits(questions(20_000)))
    for split, share in zip(SPLITS, (0.92, 0.02, 0.03, 0.03), strict=True):
        spread = (20_000 * share * (1 - share)) ** 0.5
        assert abs(counts[split] - 20_000 * share) < 4 * spread


@given(examples=st.lists(EXAMPLES, max_size=12))
def test_near_copies_never_cross(examples: list[Example]) -> None:
    split_of: dict[str, Split] = {}
    for one, split in zip(examples, assign_splits(examples), strict=True):
        assert split_of.setdefault(normalised(one.prompt), split) == split


@given(examples=st.lists(EXAMPLES, max_size=12), data=st.data())
def test_a_split_depends_on_neither_order_nor_task_nor_answer(examples: list[Example], data: st.DataObject) -> None:
    splits = assign_splits(examples)
    order = data.draw(st.permutations(range(len(examples))))
    assert assign_splits([examples[row] for row in order]) == [splits[row] for row in order]
    renamed = [replace(one, task="sum", answer="8", id=str(row)) for row, one in enumerate(examples)]
    assert assign_splits(renamed) == splits


@given(
    examples=st.lists(
        st.builds(example, st.text(max_size=3), split=st.sampled_from([*SPLITS, None]), domain=st.just("in_domain"))
        | st.builds(
            example, st.text(max_size=3), split=st.sampled_from(["dev", "test", None]), domain=st.just("transfer")
        ),
        max_size=20,
    )
)
def test_transfer_is_never_trained_on_and_own_splits_stay(examples: list[Example]) -> None:
    for one, split in zip(examples, assign_splits(examples), strict=True):
        if one.domain == "transfer":
            assert split in ("dev", "test")
        if one.split not in (None, "train"):
            assert split == one.split


def test_transfer_is_shared_between_dev_and_test() -> None:
    counts = Counter(assign_splits([*questions(10), *questions(4000, domain="transfer", word="t")]))
    assert abs(counts["dev"] - 2000) < 150
    assert abs(counts["test"] - 2000) < 150


def test_probe_and_dev_are_carved_from_train_where_splits_are_given_without_them() -> None:
    given_ = [*questions(10_000, split="train"), *questions(500, split="test", word="t")]
    splits = assign_splits(given_)
    assert splits[10_000:] == ["test"] * 500
    counts = Counter(splits[:10_000])
    assert set(counts) == {"train", "probe", "dev"}
    assert abs(counts["probe"] - 300) < 80
    assert abs(counts["dev"] - 500) < 100


@pytest.mark.parametrize(("there", "carved"), [("probe", "dev"), ("dev", "probe")])
def test_a_split_that_is_there_is_not_carved(there: Split, carved: Split) -> None:
    counts = Counter(assign_splits([*questions(2000, split="train"), *questions(5, split=there, word="t")]))
    assert counts[there] == 5
    assert counts[carved] > 20
    assert set(counts) == {"train", "probe", "dev"}


def test_a_dev_of_transfer_alone_is_no_dev() -> None:
    splits = assign_splits([*questions(2000, split="train"), *questions(5, split="dev", domain="transfer", word="t")])
    assert Counter(splits[:2000])["dev"] > 50


def test_carving_keeps_near_copies_together() -> None:
    once = assign_splits([*questions(500, split="train"), *questions(500, split="train", word="Q:")])
    assert once[:500] == once[500:]


def test_an_example_without_a_split_follows_its_near_copy() -> None:
    own = [
        *questions(200, split="train", word="a"),
        *questions(200, split="probe", word="b"),
        *questions(1, split="dev"),
    ]
    splits = assign_splits([*own, *questions(200, word="A."), *questions(200, word="(B)")])
    assert splits[401:] == ["train"] * 200 + ["probe"] * 200


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("What is 3 + 4?", "what is\n3+4", True),
        ("STRASSE", "stra\u00dfe", True),
        ("snake_case", "snake case", True),
        ("3 + 4", "3 + 5", False),
        ("34", "3 4", False),
        ("(()", "())", False),
        ("(() ", "(()", True),
    ],
)
def test_normalised_prompts(left: str, right: str, same: bool) -> None:
    assert (normalised(left) == normalised(right)) is same
