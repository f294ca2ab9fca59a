"""A local teacher without training: exact FLOPs, draws that do not depend on the batch, limits, tags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from curricula.types import Cost
from trainers.batches import round_up
from trainers.decoding.rows import Row
from trainers.measuring import PROMPT_MULTIPLE
from trainers.pricing.flops import decode_flops, forward_flops, generate_flops
from trainers.process import set_up_process
from trainers.student import load_student
from trainers.teachers.local_teacher import Draw, LocalTeacher
from trainers.teachers.sampling import LocalModel, Sampling
from trainers.teachers.teacher import Completion, Refusal, Request

VOCABULARY = 247


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    set_up_process(threads=1)


def _teacher(folder: Path, model: str = "tiny-0.2m", *, rows: int = 8, **sampling: float) -> LocalTeacher:
    settings = Sampling(**{"max_tokens": 40, **sampling})  # pyright: ignore[reportArgumentType] whole where they must be
    return LocalTeacher(LocalModel(name="t", model=model, cache_dir=folder, batch_rows=rows, sampling=settings))


def _requests(count: int) -> list[Request]:
    return [Request(prompt="x" * (3 + 5 * place), thinking=True, sample=place % 2) for place in range(count)]


def _answers(teacher: LocalTeacher, requests: Sequence[Request]) -> list[Completion | Refusal]:
    answers = dict(teacher.complete(requests))
    assert len(answers) == len(requests)
    return [answers[index] for index in range(len(requests))]


def test_flops_are_those_of_the_formula_and_the_most_that_requests_can_take(tmp_path: Path) -> None:
    teacher = _teacher(tmp_path, temperature=0.0)
    teacher.end_ids = [VOCABULARY + 1]  # never written: all go on to the limit
    outcomes = _answers(teacher, _requests(3))
    lengths = [3 + 5 * place + 1 for place in range(3)]  # and a line break
    reading = sum(
        forward_flops(teacher.shape, rows=1, length=round_up(length, PROMPT_MULTIPLE), head_positions=1)
        for length in lengths
    )
    writing = sum(decode_flops(teacher.shape, rows=3, attended=max(lengths) + step) for step in range(1, 40))
    assert sum(outcome.cost.flops for outcome in outcomes) == reading + writing
    assert [outcome.cost.tokens for outcome in outcomes] == [length + 40 for length in lengths]
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Refusal)} == {"cut at the limit of tokens"}
    most = generate_flops(teacher.shape, rows=3, prompt_length=round_up(max(lengths), PROMPT_MULTIPLE), new_tokens=40)
    assert teacher.ceiling(_requests(3)) == Cost(flops=most, tokens=sum(lengths) + 3 * 40)
    assert reading + writing <= most


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_request_gives_does_not_depend_on_the_batch(tmp_path: Path, temperature: float) -> None:
    requests = _requests(9)
    together = _tokens(tmp_path, requests, temperature=temperature)
    apart = _tokens(tmp_path, requests, rows=2, temperature=temperature)
    backwards = _tokens(tmp_path, requests[::-1], temperature=temperature)
    assert together == apart == backwards[::-1]
    assert len({tuple(tokens) for tokens in together}) > 1
    other = _tokens(tmp_path, requests, temperature=temperature, seed=1)
    assert (other != together) == (temperature > 0)


def _tokens(
    folder: Path, requests: Sequence[Request], *, rows: int = 8, temperature: float, seed: int = 0
) -> list[list[int]]:
    """The tokens that each request gives, by one model whichever the seed of the draws."""
    sampling = Sampling(temperature=temperature, top_p=1.0, max_tokens=40, seed=seed)
    model = folder / "model"
    if not model.exists():
        student = load_student("tiny-0.2m", seed=0, cache_dir=folder)
        student.model.save_pretrained(model)
        student.tokenizer.save_pretrained(model)
    teacher = _Recording(LocalModel(name="t", model=str(model), cache_dir=folder, batch_rows=rows, sampling=sampling))
    _answers(teacher, requests)
    return [teacher.written[index] for index in range(len(requests))]


class _Recording(LocalTeacher):
    """Remembers the tokens it wrote."""

    def __init__(self, settings: LocalModel) -> None:
        super().__init__(settings)
        self.written: dict[int, list[int]] = {}

    def _settle(self, row: Row) -> Completion | Refusal:
        self.written[row.index] = list(row.written)
        return super()._settle(row)


def test_draws_follow_the_probabilities_and_stay_in_the_nucleus() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    count = 4000
    rows = [Row(index=place, prompt=[], most_tokens=1) for place in range(count)]
    for temperature, top_p, inside in ((1.0, 1.0, 4), (2.0, 1.0, 4), (1.0, 0.7, 2), (1.0, 0.1, 1)):
        noise_of = {place: torch.Generator().manual_seed(place) for place in range(count)}
        drawn = Draw(Sampling(temperature=temperature, top_p=top_p), noise_of)(logits.expand(count, -1), rows)
        expected = torch.softmax(logits / temperature, -1)[:inside]
        expected = (expected / expected.sum()).numpy()
        share = np.bincount(drawn.numpy(), minlength=4) / count
        assert share[inside:].sum() == 0
        assert np.abs(share[:inside] - expected).max() < 4 * math.sqrt(0.25 / count)


def test_a_prompt_that_leaves_no_room_is_refused_and_one_that_leaves_some_uses_it(tmp_path: Path) -> None:
    teacher = _teacher(tmp_path, temperature=0.0)
    teacher.end_ids = [VOCABULARY + 1]
    requests = [Request(prompt="x" * count, thinking=False) for count in (2000, 1010, 5)]
    none, some, all_ = _answers(teacher, requests)
    assert none == Refusal(reason="prompt too long for the model")
    assert some.cost.tokens == teacher.positions == 1024
    assert all_.cost.tokens == 6 + 40


def test_a_tokenizer_that_loses_the_think_tags_is_refused_with_what_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    load_student("tiny-0.2m", seed=0, cache_dir=tmp_path).model.save_pretrained(folder)
    backend = Tokenizer(WordLevel({"<end>": 0, "<think>": 1, "3": 2, "?": 3}, unk_token="?"))
    backend.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", unk_token="?").save_pretrained(folder)
    with pytest.raises(
        ValueError, match=r"does not give back the think tags: '<think>3\+4=7</think>7' comes back as '"
    ):
        _teacher(tmp_path, str(folder))


def test_a_template_that_heeds_thinking_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    teacher = _teacher(tmp_path)
    assert not teacher.toggles()
    assert teacher.render("3+4=?", thinking=True) == "3+4=?\n"
    teacher.tokenizer.chat_template = "{{ messages[0].content }}{{ '!' if enable_thinking else '.' }}"
    assert teacher.toggles()
    assert teacher.render("3+4=?", thinking=True) == "3+4=?!"
