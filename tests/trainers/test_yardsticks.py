"""The sides of a speed comparison compute the same rows, and their clock counts what they computed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from curricula.corpus import Corpus
from curricula.procedural import generate
from trainers.batches import BatchSizes
from trainers.collate import Rows
from trainers.process import set_up_process
from trainers.student import Student, load_student
from trainers.tokens import IGNORED_LABEL, TokenStore, open_tokens
from trainers.yardsticks.bare_loop import BareLoop
from trainers.yardsticks.clock import Count, EndOfRoundsError, Lines, RoundClock
from trainers.yardsticks.measure import Side
from trainers.yardsticks.next_stage import WarmStage, plain_trl_seconds
from trainers.yardsticks.plain_trl import PlainTrl, Variant
from trainers.yardsticks.planned import Planned
from trainers.yardsticks.rows import SIMILAR_SHARE, choose_rows, lengths, rows_a_step, token_lists

SIZES = BatchSizes(step_tokens=200, micro_batch_tokens=2000)
WARMUP, STEPS, ROUNDS = 1, 2, 2


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    set_up_process(threads=1)
    return Corpus.build(generate(examples=300, seed=4), name="small")


@pytest.fixture(scope="module")
def store(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    folder = tmp_path_factory.mktemp("cache")
    return open_tokens(corpus, _student(folder).tokenizer, max_tokens=512, cache_dir=folder)


def _student(folder: Path) -> Student:
    return load_student("tiny-0.2m", seed=3, cache_dir=folder)


def test_similar_rows_are_of_one_supervision_and_about_one_length(corpus: Corpus, store: TokenStore) -> None:
    rows = choose_rows(corpus, store, "similar", limit=10**6)
    assert {corpus.supervisions[column] for column in rows.supervision_R.tolist()} == {"compressed"}
    assert lengths(rows).max() <= lengths(rows).min() * (1 + SIMILAR_SHARE) / (1 - SIMILAR_SHARE)
    assert set(rows.example_R.tolist()) <= set(corpus.rows("train").tolist())


def test_mixed_rows_are_all_that_the_training_split_offers(corpus: Corpus, store: TokenStore) -> None:
    rows = choose_rows(corpus, store, "mixed", limit=10**6)
    offered = int((store.target_tokens_NS[corpus.rows("train")] >= 0).sum())
    assert len({*zip(rows.example_R.tolist(), rows.supervision_R.tolist(), strict=True)}) == offered
    fewer = choose_rows(corpus, store, "mixed", limit=10)
    assert fewer.example_R.tolist() == rows.example_R[:10].tolist()


def test_labels_cover_the_target_and_nothing_else(corpus: Corpus, store: TokenStore) -> None:
    rows = choose_rows(corpus, store, "mixed", limit=20)
    for row, (ids, labels) in enumerate(zip(*token_lists(rows), strict=True)):
        prompt = int(rows.prompt_tokens_R[row])
        assert labels[:prompt] == [IGNORED_LABEL] * prompt
        assert labels[prompt:] == ids[prompt:]
        assert len(ids) == int(lengths(rows)[row])


@pytest.mark.parametrize("side", ["ours", "trl_default", "trl_grouped", "trl_bare", "bare_loop"])
def test_a_side_answers_each_request_with_one_round(
    side: Side, corpus: Corpus, store: TokenStore, tmp_path: Path
) -> None:
    rows = choose_rows(corpus, store, "mixed", limit=200)
    built = _built(side, rows, tmp_path)
    answers = io.StringIO()
    clock = RoundClock(
        Lines(io.StringIO("\n" * ROUNDS), answers), warmup_steps=WARMUP, round_steps=STEPS, counted=built.counted
    )
    with pytest.raises(EndOfRoundsError):
        built.train(clock.step_done)
    ready, *rounds = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert ready == {"ready": True}
    assert len(rounds) == ROUNDS
    longest = int(lengths(rows).max())
    for one in rounds:
        assert one["steps"] == STEPS
        assert one["seconds"] > 0
        assert STEPS * int(lengths(rows).min()) <= one["tokens"] <= one["positions"]
        assert one["positions"] <= one["tokens"] * longest
    if side == "ours":
        assert all(SIZES.step_tokens * STEPS <= one["tokens"] < (SIZES.step_tokens + longest) * STEPS for one in rounds)


def _built(side: Side, rows: Rows, folder: Path) -> Planned | PlainTrl | BareLoop:
    if side == "ours":
        steps = WARMUP + ROUNDS * STEPS
        return Planned(_student(folder), rows, sizes=SIZES, steps=steps, learning_rate=1e-3, seed=0, output_dir=folder)
    batch_rows = rows_a_step(rows, SIZES.step_tokens)
    if side == "bare_loop":
        return BareLoop(_student(folder), rows, batch_rows=batch_rows, learning_rate=1e-3, seed=0)
    variants: dict[str, Variant] = {"trl_default": "default", "trl_grouped": "grouped", "trl_bare": "bare"}
    return PlainTrl(
        _student(folder),
        rows,
        variant=variants[side],
        batch_rows=batch_rows,
        learning_rate=1e-3,
        seed=0,
        output_dir=folder,
    )


def test_a_step_of_rows_holds_about_as_many_tokens_as_one_cut_by_tokens(corpus: Corpus, store: TokenStore) -> None:
    rows = choose_rows(corpus, store, "mixed", limit=10**6)
    step_tokens = 2000
    drawn = lengths(rows)[np.random.default_rng(0).integers(0, len(rows.example_R), 100_000)]
    steps, held = [], 0
    for tokens in drawn.tolist():
        held += tokens
        if held >= step_tokens:
            steps.append(held)
            held = 0
    assert rows_a_step(rows, step_tokens) * lengths(rows).mean() == pytest.approx(np.mean(steps), rel=0.03)


def test_the_clock_leaves_out_the_wait_and_the_warm_up() -> None:
    answers = io.StringIO()
    clock = RoundClock(
        Lines(io.StringIO("\n"), answers),
        warmup_steps=3,
        round_steps=2,
        counted=lambda steps: Count(tokens=steps**2, positions=steps**3),
    )
    with pytest.raises(EndOfRoundsError):
        for _ in range(100):
            clock.step_done()
    round_ = json.loads(answers.getvalue().splitlines()[1])
    assert (round_["tokens"], round_["positions"]) == (5**2 - 3**2, 5**3 - 3**3)


def test_the_next_stage_is_timed_to_its_first_step(corpus: Corpus, store: TokenStore, tmp_path: Path) -> None:
    student = _student(tmp_path)
    before = [parameter.detach().clone() for parameter in student.model.parameters()]
    rows = choose_rows(corpus, store, "mixed", limit=50)
    stage = WarmStage(student, store, SIZES, tmp_path, stage_steps=4)
    assert all(seconds > 0 for seconds in (stage.seconds(rows), stage.seconds(rows)))
    assert plain_trl_seconds(student, corpus, rows, folder=tmp_path, step_tokens=200) > 0
    assert all((now == then).all() for now, then in zip(student.model.parameters(), before, strict=True))
