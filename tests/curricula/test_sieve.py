"""What a corpus refuses, what it drops and counts, and when it drops too much."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from curricula.sieve import Sieve, Tally, sift
from curricula.stream.intake import Drop
from curricula.types import AnswerKind, Cost, Domain, Example, Split, Target

GOOD = Example(task="add", prompt="3+4=?", answer="7", targets=(Target(supervision="answer", text="7"),))
CHOICE = Example(
    task="fruit",
    prompt="Which is a fruit?",
    kind="choice",
    choices=("apple", "chair"),
    answer="A",
    targets=(Target(supervision="answer", text="A"),),
)


def sifted(*examples: Example) -> Sieve:
    sieve = Sieve(name="made")
    for example in examples:
        sieve.add(example)
    return sieve


def numbered(count: int) -> list[Example]:
    return [replace(GOOD, prompt=f"{number}+0=?") for number in range(count)]


def test_ids_are_made_from_content() -> None:
    others = [
        replace(GOOD, task="sum"),
        replace(GOOD, prompt="4+3=?"),
        replace(GOOD, answer="7.", targets=(Target(supervision="answer", text="7."),)),
        CHOICE,
        replace(CHOICE, choices=("apple", "stool")),
    ]
    kept = sifted(GOOD, *others).kept
    assert len({example.id for example in kept}) == 6
    assert [example.id for example in sifted(*others, GOOD).kept[-1:]] == [kept[0].id]


def test_an_id_does_not_depend_on_targets() -> None:
    other = replace(GOOD, targets=(Target(supervision="short", text="3+4=7"),))
    assert sifted(GOOD).kept[0].id == sifted(other).kept[0].id


def test_ids_that_are_given_stay_and_repeats_without_one_are_counted() -> None:
    sieve = sifted(replace(GOOD, id="one"), replace(GOOD, id="two"), GOOD, GOOD, GOOD)
    assert [example.id for example in sieve.kept[:2]] == ["one", "two"]
    assert len(sieve.kept) == 3
    assert sieve.dropped == {"duplicate example": 2}


def test_a_shared_id_names_both_rows() -> None:
    with pytest.raises(ValueError, match="examples 2 and 4 share the id 'one'"):
        sifted(GOOD, replace(GOOD, id="one"), CHOICE, replace(CHOICE, id="one"))


def test_a_repeat_survives_an_example_that_lost_its_targets() -> None:
    lost = replace(GOOD, targets=(Target(supervision="answer", text="8"),))
    sieve = sifted(lost, GOOD)
    assert sieve.kept[0].targets == GOOD.targets
    assert "duplicate example" not in sieve.dropped


@pytest.mark.parametrize(
    ("supervision", "text", "reason"),
    [
        ("answer", " ", "answer: is empty"),
        ("short", "3+4=17", "short: does not end in its answer"),
        ("reasoning", "<think>3+4=7, so 7", "reasoning: does not end in its answer"),
        ("reasoning", "<think>3+4=7</think>8", "reasoning: does not end in its answer"),
        ("reasoning", "3+4=7, so 7", "reasoning: does not open with <think>"),
        ("compressed@0.30", "3+4=7</think>7", "compressed@0.3: does not open with <think>"),
        ("response", "<think>3+4</think>7", "response: thinks, though its kind does not"),
    ],
)
def test_untrainable_targets_are_dropped_and_counted(supervision: str, text: str, reason: str) -> None:
    example = replace(GOOD, targets=(*GOOD.targets, Target(supervision=supervision, text=text)))
    if supervision == "answer":
        example = replace(
            GOOD, targets=(Target(supervision="answer", text=text), Target(supervision="short", text="7"))
        )
    sieve = sifted(example)
    assert sieve.dropped == {reason: 1}
    assert len(sieve.kept[0].targets) == 1


def test_an_example_left_without_a_target_is_dropped_and_counted() -> None:
    sieve = sifted(
        GOOD, replace(CHOICE, targets=(Target(supervision="answer", text="B"),)), replace(CHOICE, targets=())
    )
    assert len(sieve.kept) == 1
    assert sieve.dropped == {"answer: does not end in its answer": 1, "example without a target": 2}


def test_supervisions_get_one_spelling() -> None:
    targets = (Target(supervision="compressed:steps@0.30", text="<think>3+4</think>7"),)
    assert sifted(replace(GOOD, targets=targets)).kept[0].targets[0].supervision == "compressed:steps@0.3"


def test_two_targets_of_one_supervision_are_refused() -> None:
    targets = tuple(
        Target(supervision=name, text="<think>3+4</think>7") for name in ("compressed@0.3", "compressed@.30")
    )
    with pytest.raises(ValueError, match=r"example 1: two targets for supervision 'compressed@0\.3'"):
        sifted(replace(GOOD, targets=targets))


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (replace(GOOD, task=" "), "task is empty"),
        (replace(GOOD, prompt=""), "prompt is empty"),
        (replace(GOOD, answer="\n"), "answer is empty"),
        (replace(GOOD, id=""), "id is empty"),
        (replace(GOOD, kind=cast(AnswerKind, "essay")), "kind must be one of open, choice, got 'essay'"),
        (replace(GOOD, domain=cast(Domain, "far")), "domain must be one of in_domain, transfer, got 'far'"),
        (
            replace(GOOD, split=cast(Split, "valid")),
            "split must be one of train, probe, dev, test or None, got 'valid'",
        ),
        (replace(GOOD, domain="transfer", split="train"), "dev or test only, got split 'train'"),
        (replace(GOOD, domain="transfer", split="probe"), "dev or test only, got split 'probe'"),
        (
            replace(GOOD, targets=(Target(supervision="chain", text="7"),)),
            "'chain' is not kind.*answer, response, short",
        ),
        (replace(GOOD, targets=(Target(supervision="answer", text="7", teach=Cost(flops=-1)),)), "amounts .*flops=-1"),
        (
            replace(GOOD, targets=(Target(supervision="answer", text="7", compress=Cost(tokens=2**63)),)),
            "amounts .*tokens=9",
        ),
        (replace(GOOD, prompt="3+4=\x00?"), "a text holds a NUL byte or half of a surrogate pair"),
        (
            replace(GOOD, targets=(Target(supervision="short", text="\u4e2d \ud83d 7"),)),
            "half of a surrogate pair.*ud83d",
        ),
        (replace(GOOD, choices=("7", "8")), "an open question has no choices, got 2"),
        (replace(CHOICE, choices=("apple",)), "2 to 26 choices, got 1"),
        (replace(CHOICE, answer="C"), "a letter from A to B or the text of a choice, got 'C'"),
    ],
)
def test_malformed_examples_are_refused(example: Example, words: str) -> None:
    with pytest.raises(ValueError, match=rf"corpus 'made', example 2: .*{words}"):
        sifted(replace(GOOD, prompt="1+1=?", answer="7"), example)


def test_a_choice_may_be_answered_by_its_text() -> None:
    assert len(sifted(replace(CHOICE, answer="apple", targets=(Target(supervision="answer", text="Apple"),))).kept) == 1


def test_up_to_half_of_the_targets_may_go() -> None:
    good = numbered(10)
    cut = Target(supervision="reasoning", text="<think>and then")
    half = [replace(example, targets=(*example.targets, cut)) for example in good]
    sifted(*half).judge(strict=False)
    also = Target(supervision="short", text="8")
    with pytest.raises(
        ValueError, match=r"10 examples with 21 targets .* more than half .*reasoning: .*: 10; short: "
    ) as caught:
        sifted(*half[:9], replace(half[9], targets=(*half[9].targets, also))).judge(strict=False)
    assert "example 1, target 'reasoning'" in str(caught.value)


def test_more_than_half_of_the_examples_must_keep_a_target() -> None:
    rich = tuple(Target(supervision=name, text="7") for name in ("answer", "short", "response"))
    good = [replace(example, targets=rich) for example in numbered(3)]
    lost = [
        replace(GOOD, prompt=f"lost {number}", targets=(Target(supervision="answer", text="8"),)) for number in range(4)
    ]
    sifted(*good, *lost[:3]).judge(strict=False)
    with pytest.raises(ValueError, match="more than half"):
        sifted(*good, *lost).judge(strict=False)


@pytest.mark.parametrize(
    "extra",
    [GOOD, replace(GOOD, prompt="other", targets=(*GOOD.targets, Target(supervision="short", text="8")))],
)
def test_strict_allows_no_loss(extra: Example) -> None:
    sifted(GOOD, CHOICE).judge(strict=True)
    sieve = sifted(GOOD, CHOICE, extra)
    sieve.judge(strict=False)
    with pytest.raises(ValueError, match="strict allows none"):
        sieve.judge(strict=True)


def test_one_example_is_sifted_by_itself() -> None:
    one = sift(replace(GOOD, targets=(*GOOD.targets, Target(supervision="short", text="8"))), "a.jsonl, line 7")
    assert (one.where, one.offered_targets, one.targets) == ("a.jsonl, line 7", 2, GOOD.targets)
    assert [(drop.where, drop.reason) for drop in one.drops] == [
        ("a.jsonl, line 7, target 'short'", "short: does not end in its answer")
    ]


def test_what_was_lost_before_it_became_an_example_counts() -> None:
    tally = Tally(name="made")
    tally.offer(identity="one", own_id=False, offered_targets=1, kept_targets=1)
    for number in (1, 2):
        tally.lose_row()
        tally.drop(Drop(where=f"a.jsonl, line {number}", reason="not JSON"))
    with pytest.raises(
        ValueError, match=r"of 3 examples .*more than half .*\(not JSON: 2\); the first: a\.jsonl, line 1"
    ):
        tally.judge(strict=False)


def test_a_corpus_of_which_all_was_left_out_says_so() -> None:
    tally = Tally(name="made")
    tally.drop(Drop(where="example 7", reason="wrong answer"))
    with pytest.raises(ValueError, match=r"'made' holds no example: all were left out \(wrong answer: 1\)"):
        tally.judge(strict=False)


def test_nothing_is_no_corpus() -> None:
    with pytest.raises(ValueError, match="corpus 'made' holds no example"):
        sifted().judge(strict=False)
