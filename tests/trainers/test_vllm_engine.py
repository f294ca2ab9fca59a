"""Completions by vLLM: rows and parameters in, checked and priced tokens out; a stand-in, and vLLM where it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from trainers.decoding.rows import Row, Terms, greedy
from trainers.decoding.writing import write
from trainers.measuring import generation_ceiling_flops
from trainers.pricing.flops import decode_flops, forward_flops
from trainers.pricing.shape import model_shape
from trainers.process import set_up_process
from trainers.student import Student, load_student
from trainers.teachers import local_teacher
from trainers.teachers.local_teacher import LocalTeacher
from trainers.teachers.sampling import LocalModel, Sampling
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError
from trainers.teachers.vllm_engine import MISSING, TokensPrompt, Vllm, start_vllm, write_with_vllm

END_IDS = frozenset({1, 6})
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=30)
INSTALLED = find_spec("vllm") is not None
NEEDS_VLLM = pytest.mark.skipif(not INSTALLED, reason="needs vLLM; docs/traces.md says how to install it")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    set_up_process(threads=1)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    """One with a folder."""
    made = load_student("tiny", seed=0, cache_dir=tmp_path_factory.mktemp("cache"))
    folder = tmp_path_factory.mktemp("student")
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return dataclasses.replace(made, model=made.model.eval(), folder=folder)


@dataclass(frozen=True, kw_only=True)
class Params:
    """What is asked for one answer."""

    temperature: float
    top_p: float
    seed: int
    max_tokens: int
    stop_token_ids: list[int]
    ignore_eos: bool
    detokenize: bool


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """An answer."""

    token_ids: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """To one prompt."""

    outputs: Sequence[Tokens]


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """An engine whose answers are a function of prompt and parameters."""

    answer: Callable[[list[int], Params], list[int]]
    kept: int | None = None  # of the answers, those handed back

    def generate(
        self, prompts: Sequence[TokensPrompt], sampling_params: Sequence[object], *, use_tqdm: bool
    ) -> list[Answers]:
        """In the order of the prompts."""
        assert not use_tqdm
        made = []
        for prompt, params in zip(prompts, sampling_params, strict=True):
            assert isinstance(params, Params)
            made.append(Answers(outputs=[Tokens(token_ids=self.answer(prompt["prompt_token_ids"], params))]))
        return made[: self.kept]


def _counting(prompt: list[int], params: Params) -> list[int]:
    """Counts up from the prompt's sum, modulo 100, until a token that ends it."""
    written: list[int] = []
    while len(written) < params.max_tokens and not (written and written[-1] in params.stop_token_ids):
        written.append((sum(prompt) + len(written)) % 100)
    return written


def _vllm(answer: Callable[[list[int], Params], list[int]], kept: int | None = None, positions: int = 1024) -> Vllm:
    return Vllm(engine=StandIn(answer=answer, kept=kept), sampling_params=Params, positions=positions)


def _written(student: Student, vllm: Vllm, rows: Sequence[Row]) -> list[Row]:
    seed_of = {row.index: 1000 + row.index for row in rows}
    shape = model_shape(student.model)
    return list(write_with_vllm(vllm, rows, sampling=SAMPLING, seed_of=seed_of, shape=shape, end_ids=END_IDS))


def test_every_row_gets_its_own_answer_under_its_own_parameters_in_order(student: Student) -> None:
    asked: list[Params] = []

    def answer(prompt: list[int], params: Params) -> list[int]:
        asked.append(params)
        return _counting(prompt, params)

    rows = [Row(index=7, prompt=[97], most_tokens=20), Row(index=2, prompt=[4, 1], most_tokens=3)]
    rows += [Row(index=5, prompt=[50, 50], most_tokens=1), Row(index=0, prompt=[6], most_tokens=9)]
    assert [row.index for row in _written(student, _vllm(answer), rows)] == [7, 2, 5, 0]
    assert [row.written for row in rows] == [[97, 98, 99, 0, 1], [5, 6], [0], [6]]
    assert [row.ended(END_IDS) for row in rows] == [True, True, False, True]
    assert [(params.seed, params.max_tokens) for params in asked] == [(1007, 20), (1002, 3), (1005, 1), (1000, 9)]
    assert {(params.temperature, params.top_p) for params in asked} == {(0.7, 0.9)}
    # The model's own end token counts for nothing beside those of the request.
    assert all(params.ignore_eos and params.stop_token_ids == [1, 6] and not params.detokenize for params in asked)


@pytest.mark.parametrize("count", [1, 40, 3000])  # the last more than there is room for side by side in our own loop
def test_a_row_costs_what_it_would_alone_and_all_no_more_than_their_ceiling(student: Student, count: int) -> None:
    shape, random = model_shape(student.model), np.random.default_rng(count)
    length_Q, most_tokens = random.integers(1, 60, count), 600
    rows = [
        Row(index=index, prompt=random.integers(7, 90, length).tolist(), most_tokens=most_tokens)
        for index, length in enumerate(length_Q)
    ]
    # Some answers end after 1 to 600 tokens, every third never does.
    lengths = {
        tuple(row.prompt): most_tokens if row.index % 3 == 0 else int(random.integers(1, most_tokens)) for row in rows
    }
    for row in _written(student, _vllm(lambda prompt, _: _ending(lengths[tuple(prompt)], most_tokens)), rows)[:40]:
        steps = range(len(row.prompt) + 1, len(row.prompt) + len(row.written))
        price = forward_flops(shape, rows=1, length=len(row.prompt), head_positions=1)
        price += sum(decode_flops(shape, rows=1, attended=attended) for attended in steps)
        assert (row.flops, row.positions) == (price, len(row.prompt) + len(row.written) - 1)
    ceiling = generation_ceiling_flops(
        shape, length_Q, batch_rows=count, max_output_tokens=most_tokens, prefix_tokens=0
    )
    assert 0 < sum(row.flops for row in rows) <= ceiling


def _ending(length: int, most_tokens: int) -> list[int]:
    return [9] * most_tokens if length == most_tokens else [9] * (length - 1) + [1]


def test_an_engine_that_gives_fewer_answers_is_an_error(student: Student) -> None:
    rows = [Row(index=index, prompt=[index], most_tokens=2) for index in range(3)]
    with pytest.raises(ValueError, match="vLLM gave 2 answers to 3 prompts"):
        _written(student, _vllm(_counting, kept=2), rows)


@pytest.mark.parametrize("tokens", [[9, 9, 9, 9], [9, 9], [], [9, 1, 9], [1, 6]])
def test_an_answer_past_its_cap_or_end_or_short_of_both_is_an_error(student: Student, tokens: list[int]) -> None:
    rows = [Row(index=0, prompt=[5, 5], most_tokens=3)]
    with pytest.raises(ValueError, match=f"vLLM wrote {len(tokens)} tokens to a prompt of 2 that may get 3"):
        _written(student, _vllm(lambda prompt, params: tokens), rows)


def test_an_engine_that_fails_is_one_line_for_people(student: Student) -> None:
    def fail(prompt: list[int], params: Params) -> list[int]:
        raise RuntimeError("out of memory\n  at 0x1")

    with pytest.raises(TeacherError, match=r"^vLLM failed \(out of memory at 0x1\); --engine own writes without it"):
        _written(student, _vllm(fail), [Row(index=0, prompt=[5], most_tokens=3)])


def _requests(count: int) -> list[Request]:
    return [Request(prompt="x" * (3 + 5 * place), thinking=True, sample=place % 2) for place in range(count)]


def _settings(student: Student, **changed: object) -> LocalModel:
    assert student.folder is not None
    settings = LocalModel(
        name="t",
        model=str(student.folder),
        cache_dir=student.folder,
        sampling=Sampling(temperature=0.0, max_tokens=40),
        engine="vllm",
        batch_rows=5,
    )
    return dataclasses.replace(settings, **changed)


def _answers(teacher: LocalTeacher, requests: Sequence[Request]) -> list[Completion | Refusal]:
    answers = dict(teacher.complete(requests))
    return [answers[index] for index in range(len(requests))]


def _by_our_loop(student: Student) -> Callable[[list[int], Params], list[int]]:
    """An engine that writes what the model's weights say, greedily."""

    def answer(prompt: list[int], params: Params) -> list[int]:
        row = Row(index=0, prompt=prompt, most_tokens=params.max_tokens)
        terms = Terms(
            shape=model_shape(student.model),
            end_ids=frozenset(params.stop_token_ids),
            pad_id=student.pad_id,
            choose=greedy,
            reading_tokens=64,
        )
        return next(write(student.model, [row], terms)).written

    return answer


def test_a_teacher_says_the_same_through_an_engine_and_holds_no_weights(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def start(folder: Path, *, precision: str) -> Vllm:
        started.append(folder)
        return _vllm(_by_our_loop(student))

    monkeypatch.setattr(local_teacher, "require_vllm", lambda: None)
    monkeypatch.setattr(local_teacher, "start_vllm", start)
    requests = [*_requests(12), Request(prompt="x" * 2000, thinking=False)]
    teacher = LocalTeacher(_settings(student))
    ceiling = teacher.ceiling(requests[:12])
    assert not started  # a dry run prices without it
    theirs = _answers(teacher, requests)
    assert started == [student.folder]
    assert teacher.model.device.type == "meta"
    ours = _answers(LocalTeacher(_settings(student, engine="own")), requests)
    assert [_said(one) for one in theirs] == [_said(one) for one in ours]
    assert theirs[-1] == Refusal(reason="prompt too long for the model")
    assert all(one.cost.flops <= other.cost.flops for one, other in zip(theirs, ours, strict=True))
    assert 0 < sum(one.cost.flops for one in theirs) <= ceiling.flops


def _said(answer: Completion | Refusal) -> tuple[str, int]:
    return (answer.text if isinstance(answer, Completion) else answer.reason), answer.cost.tokens


def test_an_engine_with_room_for_fewer_positions_than_the_model_decides_what_fits(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_teacher, "require_vllm", lambda: None)
    monkeypatch.setattr(
        local_teacher,
        "start_vllm",
        lambda folder, precision: _vllm(lambda _, params: [9] * params.max_tokens, None, 32),
    )
    requests = [Request(prompt="x" * count, thinking=False) for count in (32, 26, 3)]
    none, some, most = _answers(LocalTeacher(_settings(student)), requests)
    assert none == Refusal(reason="prompt too long for the model")
    assert (some.cost.tokens, most.cost.tokens) == (32, 32)


def test_a_teacher_made_from_a_seed_has_no_folder_to_load(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_teacher, "require_vllm", lambda: None)
    with pytest.raises(ValueError, match="'tiny' is made from a seed, and vLLM loads weights from a folder"):
        LocalTeacher(_settings(student, model="tiny"))


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed")
def test_without_vllm_a_teacher_is_refused_with_what_to_do(student: Student) -> None:
    with pytest.raises(ValueError) as refused:
        LocalTeacher(_settings(student))
    assert str(refused.value) == MISSING


@NEEDS_VLLM
@pytest.mark.filterwarnings("ignore")
def test_vllm_writes_what_our_loop_does_in_fp32_and_draws_by_seed(student: Student) -> None:
    assert student.folder is not None
    vllm, random = start_vllm(student.folder, precision="fp32"), np.random.default_rng(0)
    prompts = [random.integers(7, 90, length).tolist() for length in random.integers(1, 60, 48)]
    ends = frozenset({student.end_id, 60, 61, 62, 63})

    def by_vllm(temperature: float, places: Sequence[int]) -> list[list[int]]:
        rows = [Row(index=place, prompt=prompts[place], most_tokens=5 + place) for place in places]
        list(
            write_with_vllm(
                vllm,
                rows,
                sampling=Sampling(temperature=temperature, top_p=1.0),
                seed_of={row.index: row.index for row in rows},
                shape=model_shape(student.model),
                end_ids=ends,
            )
        )
        return [row.written for row in rows]

    everyone = range(len(prompts))
    rows = [Row(index=place, prompt=prompts[place], most_tokens=5 + place) for place in everyone]
    shape = model_shape(student.model)
    terms = Terms(shape=shape, end_ids=ends, pad_id=student.pad_id, choose=greedy, reading_tokens=256)
    list(write(student.model, rows, terms))
    assert vllm.positions == 1024
    assert len({row.ended(ends) for row in rows}) == 2
    assert by_vllm(0.0, everyone) == [row.written for row in rows]
    drawn = by_vllm(1.0, everyone)
    assert drawn != by_vllm(0.0, everyone)
    assert by_vllm(1.0, everyone[::-7]) == drawn[::-7]
