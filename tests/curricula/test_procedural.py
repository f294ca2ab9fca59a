"""Procedural corpora: answers checked against arithmetic done another way, targets against their definitions."""

import random
import re
from collections import Counter, defaultdict
from statistics import mean

import numpy as np
import pytest

from curricula.procedural import FAMILIES, generate
from curricula.procedural.long import LONG
from curricula.types import Domain, Example, Supervision

SUPERVISIONS = ("answer", "short", "compressed", "truncated", "reasoning")
EXAMPLES = generate(examples=40 * len(FAMILIES), seed=3, transfer_share=0.25)


def texts(example: Example) -> dict[str, str]:
    return {target.supervision: target.text for target in example.targets}


def trace(text: str) -> str:
    match = re.fullmatch(r"<think>(.*)</think>.*", text)
    assert match is not None, text
    return match[1]


def numbers(prompt: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", prompt)]


def labelled(prompt: str) -> dict[str, str]:
    """What stands after each single letter that opens a word: 'a7 bx' -> {'a': '7', 'b': 'x'}."""
    return {word[0]: word[1] for word in re.findall(r"\b[A-Za-z][0-9A-Zx]\b", prompt)}


def solve_modular(prompt: str) -> str:
    start = numbers(prompt)[0]
    value = start
    for letter, operation in sorted(labelled(prompt).items()):
        assert letter.islower()
        value = value * 2 if operation == "x" else value + int(operation)
    return str(value % 10)


def solve_walk(prompt: str) -> str:
    place = numbers(prompt)[0]
    for _, colour in sorted(re.findall(r"\b([a-z])([rgb])\b", prompt)):
        place = {
            "r": [3, 0, 7, 1, 9, 5, 8, 2, 4, 6],
            "g": [7, 6, 2, 0, 8, 1, 4, 5, 9, 3],
            "b": [1, 5, 9, 8, 7, 6, 3, 4, 0, 2],
        }[colour][place]
    return str(place)


def solve_swaps(prompt: str) -> str:
    cups = list(re.findall(r"\b[xyz]{3}\b", prompt)[0])
    pairs = {"1": (0, 1), "2": (1, 2), "3": (0, 2)}
    for _, move in sorted(labelled(prompt).items()):
        first, second = pairs[move]
        cups[first], cups[second] = cups[second], cups[first]
    return "".join(cups)


def solve_long_add(prompt: str) -> str:
    weights = labelled(prompt)
    return str(sum(int(digit) * 10 ** (ord(letter.lower()) - ord("a")) for letter, digit in weights.items()))


def solve_label(prompt: str) -> str:
    words = {
        "A": {"bread", "soup", "cheese", "rice", "salad", "pasta"},
        "B": {"tennis", "rugby", "boxing", "hockey", "judo", "golf"},
        "C": {"loans", "taxes", "banks", "rent", "stocks", "coins"},
    }
    said = set(re.findall(r"\w+", prompt))
    (letter,) = [letter for letter, keywords in words.items() if keywords & said]
    return letter


SOLVERS = {
    "bigger": lambda prompt: "A" if numbers(prompt)[0] > numbers(prompt)[1] else "B",
    "last_digit": lambda prompt: str(numbers(prompt)[0] % 10),
    "copy": lambda prompt: prompt.split()[-1],
    "label": solve_label,
    "sort": lambda prompt: "".join(sorted(re.findall(r"\d", prompt))),
    "add": lambda prompt: str(sum(numbers(prompt))),
    "chain": solve_modular,
    "times": lambda prompt: str(numbers(prompt)[0] * numbers(prompt)[1]),
    "maximum": lambda prompt: str(max(int(number) for number in re.findall(r"\d\d", prompt))),
    "long_add": solve_long_add,
    "long_chain": solve_modular,
    "walk": solve_walk,
    "swaps": solve_swaps,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_right(family: str):
    solved = [example for example in EXAMPLES if example.task == family]
    assert len(solved) == 40
    for example in solved:
        assert example.answer == SOLVERS[family](example.prompt), example.prompt


def test_every_example_offers_five_targets_that_end_in_the_answer():
    for example in EXAMPLES:
        offered = texts(example)
        assert tuple(offered) == SUPERVISIONS
        assert offered["answer"] == example.answer
        assert offered["short"].endswith(f" #### {example.answer}")
        for supervision, text in offered.items():
            assert Supervision.parse(supervision).thinks == text.startswith("<think>")
            assert text.isascii() and text.isprintable()
            if text.startswith("<think>"):
                assert trace(text)
                assert text.endswith(f"</think>{example.answer}")
                assert text.count("<think>") == text.count("</think>") == 1


def test_truncated_is_the_start_of_the_reasoning_at_the_length_of_the_compressed_trace():
    for example in EXAMPLES:
        offered = texts(example)
        cut = trace(offered["truncated"])
        assert trace(offered["reasoning"]).startswith(cut)
        assert len(cut) == len(trace(offered["compressed"])) < len(trace(offered["reasoning"]))


def test_lengths_suit_a_small_student():
    reasoning, compressed = defaultdict(list), defaultdict(list)
    for example in EXAMPLES:
        assert 6 <= len(example.prompt) <= 48, example.prompt
        if example.domain == "in_domain":
            reasoning[example.task].append(len(trace(texts(example)["reasoning"])))
            compressed[example.task].append(len(trace(texts(example)["compressed"])))
    for family in FAMILIES:
        # The long families' reasoning is itself as short as it can be.
        ratio = 2 if family in LONG else 4
        assert mean(reasoning[family]) >= ratio * mean(compressed[family]), family
        assert max(compressed[family]) <= 30, family
    for family in LONG:
        assert max(reasoning[family]) <= 160, family


def test_compression_leaves_out_what_a_long_family_needs():
    """The separation of the families rests on it: a long family's states stand in full in the reasoning alone."""
    for example in EXAMPLES:
        if example.task in LONG:
            offered = texts(example)
            assert 2 * len(trace(offered["compressed"])) < len(trace(offered["reasoning"])), example.prompt


def test_prompts_are_unique_and_families_equal():
    assert len({example.prompt for example in EXAMPLES}) == len(EXAMPLES)
    assert set(Counter(example.task for example in EXAMPLES).values()) == {40}
    assert [example.task for example in EXAMPLES[: len(FAMILIES)]] == list(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_difficulty_and_domain_change_a_problem(family: str):
    def prompts(difficulty: int, domain: Domain) -> list[str]:
        rng = np.random.default_rng(0)
        return [FAMILIES[family](rng, difficulty, domain).prompt for _ in range(50)]

    made = [prompts(0, "in_domain"), prompts(1, "in_domain"), prompts(0, "transfer")]
    assert made[0] != made[1] and made[0] != made[2]
    assert made[2] == prompts(1, "transfer")
    assert mean(map(len, made[2])) > mean(map(len, made[1]))


def test_choices_are_listed_in_the_prompt_and_the_answer_is_a_letter():
    tasks = set()
    for example in EXAMPLES:
        assert (example.kind == "choice") == bool(example.choices)
        if example.kind == "choice":
            tasks.add(example.task)
            assert example.answer in "ABC"[: len(example.choices)]
            for letter, choice in zip("ABC", example.choices, strict=False):
                assert f"{letter} {choice}" in example.prompt
    assert tasks == {"bigger", "label"}


def test_transfer_share_is_met_in_every_family_and_wording_differs():
    by_family = defaultdict(list)
    for example in EXAMPLES:
        assert example.split is None and example.id is None
        by_family[example.task].append(example)
    for family, mine in by_family.items():
        assert sum(example.domain == "transfer" for example in mine) == 10, family
        shapes = {"in_domain": set(), "transfer": set()}
        for example in mine:
            if family != "label":
                shapes[example.domain].add(re.sub(r"\d+", "", example.prompt).split()[0])
        assert not shapes["in_domain"] & shapes["transfer"], family
    assert all(example.domain == "in_domain" for example in generate(examples=30, seed=0, transfer_share=0.0))
    assert all(example.domain == "transfer" for example in generate(examples=30, seed=0, transfer_share=1.0))


def test_same_seed_same_corpus_whatever_global_random_state():
    random.seed(1)
    first = generate(examples=200, seed=7)
    random.seed(2)
    assert generate(examples=200, seed=7) == first
    assert generate(examples=200, seed=8) != first


def test_a_smaller_corpus_is_the_start_of_a_larger_one_and_families_do_not_disturb_each_other():
    whole = generate(examples=20 * len(FAMILIES), seed=5)
    assert generate(examples=10 * len(FAMILIES), seed=5) == whole[: 10 * len(FAMILIES)]
    assert generate(examples=20, seed=5, families=["walk"]) == [example for example in whole if example.task == "walk"]


def test_an_exhausted_family_gives_fewer_examples_never_duplicates():
    made = generate(examples=9000, seed=0, families=["bigger"], transfer_share=0.0)
    assert len({example.prompt for example in made}) == len(made)
    assert 7000 < len(made) <= 90 * 89 + 9 * 8


@pytest.mark.parametrize(
    ("families", "message"),
    [(["wlak"], "did you mean 'walk'"), (["walk", "walk"], "named twice"), ([], "families is empty")],
)
def test_wrong_families_are_refused_by_name(families: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        generate(examples=1, seed=0, families=families)


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="transfer_share must lie in"):
        generate(examples=1, seed=0, transfer_share=1.5)
    with pytest.raises(ValueError, match="examples must be"):
        generate(examples=-1, seed=0)
    assert generate(examples=0, seed=0) == []
