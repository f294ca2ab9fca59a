"""A real teacher writes both sides of pairs, behind `transformers serve` and in a Ray actor: the same ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from curricula.corpus import Corpus, open_corpus
from curricula.procedural import generate
from curricula.types import Target
from evaluators.answers import is_correct
from experiments.traces import main
from tests.experiments.paired_teacher import FAMILIES, served, train_paired_teacher
from trainers.teachers.sampling import Sampling
from trainers.teachers.server_teacher import ServerTeacher
from trainers.teachers.teacher import Completion, Refusal, Request

QUESTIONS = 24
GREEDY = ("--temperature", "0", "--max_tokens", "60", "--teacher_name", "tiny")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "model"
    train_paired_teacher(folder, tmp_path_factory.mktemp("cache"))
    return folder


@pytest.fixture(scope="module")
def url(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(teacher, tmp_path_factory.mktemp("log") / "serve.log") as url:
        yield url


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions") / "corpus"
    examples = [
        dataclasses.replace(
            example,
            targets=(Target(supervision="answer", text=example.answer),),
            split="train" if place % 4 else "probe",
        )
        for place, example in enumerate(generate(examples=QUESTIONS, seed=77, families=FAMILIES, transfer_share=0.0))
    ]
    Corpus.build(examples, name="questions").save(folder)
    return folder


@pytest.fixture(scope="module")
def served_corpus(teacher: Path, url: str, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("served")
    server = ("--base_url", url, "--model", str(teacher), "--concurrency", "4", "--active_parameters", "2.2e5")
    main(["teach", str(questions), "--output_dir", str(folder), *server, *GREEDY])
    return open_corpus(folder / "corpus")


def test_one_model_writes_both_sides_when_only_its_thinking_is_toggled(served_corpus: Corpus) -> None:
    assert served_corpus.supervisions == ("answer", "response#tiny", "short#tiny", "reasoning#tiny")
    offered = (served_corpus.target_rows_NS() >= 0).sum(0)
    assert offered.tolist()[0] == QUESTIONS
    assert (offered[1:] > QUESTIONS * 0.8).all()
    rows = [row for row in served_corpus.targets.to_pylist() if row["supervision"] != "answer"]
    answers = served_corpus.examples["answer"].to_pylist()
    for row in rows:
        assert row["text"].startswith("<think>") == row["supervision"].startswith("reasoning")
        assert is_correct(row["text"], answers[row["example"]], "open")
        assert row["teach_flops"] == round(2 * 2.2e5 * row["teach_tokens"]) > 0
    assert any("####" in row["text"] for row in rows if row["supervision"] == "short#tiny")


def test_streamed_or_whole_the_server_counts_the_same_tokens(teacher: Path, url: str) -> None:
    asked = [Request(prompt="last digit of 4321?", thinking=thinking) for thinking in (True, False)]
    outcomes: list[dict[int, Completion | Refusal]] = []
    for stream in (True, False):
        settings = ServerTeacher(
            name="t",
            base_url=url,
            model=str(teacher),
            stream=stream,
            effort_on="low",  # a field that this server does not use
            sampling=Sampling(temperature=0, max_tokens=60),
        )
        outcomes.append(dict(settings.complete(asked)))
    assert outcomes[0] == outcomes[1]
    for outcome in outcomes[0].values():
        assert isinstance(outcome, Completion)
        assert outcome.output_tokens == 1 + sum(
            len(part) for part in (outcome.text, *([outcome.reasoning, "<>"] if outcome.reasoning else []))
        )  # characters, two tags of one token each, the end


def test_a_limit_of_tokens_cuts_and_is_told(teacher: Path, url: str) -> None:
    settings = ServerTeacher(name="t", base_url=url, model=str(teacher), sampling=Sampling(temperature=0, max_tokens=5))
    outcome = dict(settings.complete([Request(prompt="last digit of 4321?", thinking=True)]))[0]
    assert isinstance(outcome, Refusal)
    assert (outcome.reason, outcome.cost.tokens) == (
        "cut at the limit of tokens",
        5 + len("last digit of 4321? /think\n"),
    )


def test_a_local_model_writes_what_the_server_wrote(
    teacher: Path,
    served_corpus: Corpus,
    questions: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    flags = ["teach", str(questions), "--local", str(teacher), *GREEDY, "--batch_rows", "7"]
    try:
        main([*flags, "--output_dir", str(tmp_path / "priced"), "--dry_run", "true"])
        main([*flags, "--output_dir", str(tmp_path / "out")])
        _fails([*flags[:2], "--output_dir", str(tmp_path / "none"), "--local", "tiny-0.2m"])
        told = capfd.readouterr().err
    finally:
        ray.shutdown()
    corpus = open_corpus(tmp_path / "out" / "corpus")
    columns = ["example", "supervision", "text", "verdict", "teach_tokens"]
    assert corpus.targets.select(columns).equals(served_corpus.targets.select(columns))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["spent"]["flops"] > 0
    assert "pays no heed to enable_thinking" in told


def _fails(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
