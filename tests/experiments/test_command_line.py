"""What a person gets who mistypes: one line that names what would be right, exit code 2, before anything is loaded."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
import yaml

from controller.config import PROCEDURAL, RunConfig
from curricula.policies import Adaptive, Fixed
from experiments.adaptive import main, parse
from experiments.command_line import TINY_STUDENTS, check_names, field_comments, one_line
from tests.experiments.runs import ROOT, write_corpus
from trainers.schedule import Schedule
from trainers.student import STUDENTS

ANSWER_ONLY = ("--policy", "Fixed", "--policy.supervision", "answer")
SMALL = ("--student", "tiny-0.2m", "--total_flops", "4e9", "--threads", "1", "--eval_examples", "4")
MODULE = """
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stranger:
    patience: int = 1
"""


PROGRESS = re.compile(r" *\d+% of ")
"""How a line of progress begins; a run that is slow to fail has one."""


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    assert captured.err.endswith("\n")
    [line] = [told for told in captured.err.splitlines() if not PROGRESS.match(told)]
    assert line.startswith("error: ")
    assert "Namespace" not in line and "<class" not in line
    return line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--totl_flops", "1e9"), ("--totl_flops", "--total_flops")),
        (("--totl_flops=1e9",), ("--totl_flops", "--total_flops")),
        (("--total", "1e9"), ("unknown flag --total", "--total_flops")),
        (("--schedule.warmpu", "0.1"), ("--schedule.warmpu", "--schedule.warmup")),
        (("stray",), ("'stray'", "--field value")),
        (("--total_flops", "abc"), ("--total_flops", "float", "'abc'")),
        (("--total_flops",), ("--total_flops",)),
        (("--total_flops", "-1"), ("total_flops", "positive")),
        (("--total_tokens", ".nan"), ("total_tokens", "positive")),
        (("--total_flops", "1e9", "--total_tokens", "1e6"), ("one budget", "total_flops and total_tokens")),
        (("--dollars_per_hour.tpu", "1"), ("dollars_per_hour", "cpu and cuda")),
        (("--seed", "1.5"), ("--seed", "int", "'1.5'")),
        (("--final_split", "tst"), ("--final_split", "dev or test", "'tst'")),
        (("--resume", "perhaps"), ("--resume", "bool", "'perhaps'")),
        (("--num_workers", "0"), ("num_workers", "at least 1")),
        (("--learning_rates", "fast"), ("--learning_rates", "'fast'")),
        (("--learning_rates.answr", "0.1"), ("'answr'", "did you mean answer?")),
        (("--schedule", "x"), ("--schedule", "'x'")),
        (("--schedule.kind", "linear"), ("--schedule.kind", "wsd or cosine")),
        (("--policy", "Fixde"), ("'Fixde'", "did you mean Fixed", "Staged")),
        (("--policy", "{class_path: Fixde}"), ("'Fixde'", "did you mean Fixed")),
        (("--policy", "nopkg.Foo"), ("'nopkg.Foo'", "nopkg", "import path")),
        (("--policy", "collections.OrderedDict"), ("collections.OrderedDict", "CurriculumPolicy")),
        (("--policy", "curricula.policies.Fixde"), ("'Fixde'", "did you mean Fixed")),
        (("--policy", "Fixed"), ("policy Fixed needs --policy.supervision",)),
        (("--policy", "Fixed", "--policy.supervison", "answer"), ("'supervison'", "did you mean supervision?")),
        ((*ANSWER_ONLY, "--policy.slice", "3"), ("policy Fixed has no field 'slice'", "did you mean slices?")),
        (("--policy.paticence", "3"), ("policy Adaptive has no field 'paticence'",)),
        ((*ANSWER_ONLY, "--policy.slices", "few"), ("--policy.slices", "int", "'few'")),
        ((*ANSWER_ONLY, "--policy.slices", "0"), ("slices", "at least 1")),
        (("--policy", "Fixed", "--policy.supervision", "anwser"), ("'anwser'", "answer")),
        (("--student", "tinny"), ("'tinny'", "did you mean tiny")),
        (("--student", "nowhere/model.gguf"), ("nowhere/model.gguf",)),
        (("--corpus", "procedual"), ("'procedual'", "did you mean procedural or procedural-all?")),
        (("--corpus", "nowhere/corpus.jsonl"), ("nowhere/corpus.jsonl", ".jsonl")),
        (("--config", "nowhere.yaml"), ("--config", "nowhere.yaml")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_argument_is_told_in_one_line(
    arguments: tuple[str, ...], named: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, *arguments)
    assert all(name in line for name in named), line
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("policy: [unclosed\n", ("not YAML", "line 2")),
        ("- 1\n- 2\n", ("must be fields with values",)),
        ("totl_flops: 1e9\n", ("'totl_flops'", "did you mean total_flops or ")),
        ("schedule:\n  warmpu: 0.1\n", ("'schedule.warmpu'", "did you mean schedule.warmup")),
        ("total_flops: abc\n", ("--total_flops", "float", "'abc'")),
        ("policy: Fixde\n", ("'Fixde'", "did you mean Fixed")),
        ("policy:\n  class_path: Fixed\n", ("policy Fixed needs --policy.supervision",)),
        ("policy:\n  class_path: Fixed\n  init_args:\n    supervison: answer\n", ("'supervison'", "supervision?")),
    ],
)
def test_a_wrong_config_file_is_told_in_one_line(
    text: str, named: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    line = refusal(capsys, "--config", path)
    assert all(name in line for name in named), line


def test_a_class_that_is_no_policy_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strangers.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "strangers.Stranger is no policy" in refusal(capsys, "--policy", "strangers.Stranger")
    assert "did you mean Stranger?" in refusal(capsys, "--policy", "strangers.Strangr")


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("seed: 3\ntotal_flops: 1e9\npolicy: {class_path: Fixed, init_args: {supervision: short}}\n")
    invocation = parse(["--config", str(path), "--total_flops", "2e9", "--policy.slices", "3"])
    assert (invocation.config.seed, invocation.config.total_flops) == (3, 2e9)
    assert invocation.config.policy == Fixed(supervision="short", slices=3)


def test_a_policy_takes_no_field_from_the_default_one() -> None:
    assert parse([*ANSWER_ONLY]).config.policy == Fixed(supervision="answer")
    spelled = "{class_path: Fixed, init_args: {supervision: answer}}"
    assert parse(["--policy", spelled]).config.policy == Fixed(supervision="answer")
    assert parse([]).config.policy == Adaptive()
    assert parse(["--policy.slices", "3"]).config.policy == Adaptive(slices=3)


def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("text")
    (tmp_path / "busy").mkdir()
    assert "is a file" in refusal(capsys, "--output_dir", tmp_path / "file")
    assert "is not empty" in refusal(capsys, "--output_dir", tmp_path / "full")
    assert "no run to resume" in refusal(capsys, "--output_dir", tmp_path / "new", "--resume", "true")
    with (tmp_path / "busy" / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "in use" in refusal(capsys, "--output_dir", tmp_path / "busy")
    assert not ray.is_initialized()


def test_help_shows_what_stands_beside_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "python -m experiments.adaptive --policy Fixed --policy.supervision answer\n" in shown
    words = " ".join(shown.split())
    assert field_comments(Schedule)["warmup"] in words
    assert "test is opened once" in words


def test_comments_of_fields_are_read_over_several_lines() -> None:
    assert field_comments(RunConfig)["max_tokens"].startswith("longest row")


def test_a_printed_config_is_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*ANSWER_ONLY, "--policy.slices", "3", "--seed", "7", "--schedule.warmup", "0.1", "--output_dir", "runs/x"]
    with pytest.raises(SystemExit) as ended:
        main([*flags, "--print_config"])
    assert ended.value.code == 0
    path = tmp_path / "printed.yaml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert parse(["--config", str(path)]) == parse(flags)


@pytest.mark.parametrize(
    ("flag", "flags", "hint"),
    [
        ("--spoil", ("--budget", "--spoils"), " (did you mean --spoils?)"),
        ("--polcy", ("--budget", "--spoils"), ""),
        ("--lr", ("--help", "--learning_rates"), ""),
    ],
)
def test_a_flag_is_suggested_only_where_it_is_like_what_was_typed(flag: str, flags: tuple[str, ...], hint: str) -> None:
    assert one_line(f"unrecognized arguments: {flag}", flags) == f"unknown flag {flag}{hint}; --help lists all"


@pytest.mark.parametrize("corpus", PROCEDURAL)
def test_every_corpus_that_is_made_here_can_be_named(corpus: str) -> None:
    check_names(parse(["--corpus", corpus]).config)


def test_the_names_of_students_are_those_that_exist() -> None:
    assert TINY_STUDENTS == STUDENTS


def test_a_wrong_command_loads_no_torch() -> None:
    check = (
        "import sys\nfrom experiments.adaptive import main\n"
        "try:\n    main(['--student', 'tinny'])\nexcept SystemExit as end:\n"
        "    sys.exit(0 if end.code == 2 and not {'torch', 'transformers'} & set(sys.modules) else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, timeout=60).returncode == 0


@dataclass(frozen=True, kw_only=True)
class Place:
    """A corpus, a finished run on it, and the flags that all runs here share."""

    folder: Path
    flags: tuple[str, ...]

    @property
    def run(self) -> Path:
        """The finished run."""
        return self.folder / "run"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One Ray for all that needs it, ended with the last."""
    folder = tmp_path_factory.mktemp("place")
    corpus = write_corpus(folder / "corpus.jsonl")
    flags = (*SMALL, "--corpus", str(corpus), "--cache_dir", str(folder / "cache"))
    main([*flags, *ANSWER_ONLY, "--policy.slices", "1", "--output_dir", str(folder / "run")])
    yield Place(folder=folder, flags=flags)
    ray.shutdown()


def test_a_folder_of_another_run_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds a run already" in refusal(capsys, *place.flags, *ANSWER_ONLY, "--output_dir", place.run)


def test_a_finished_runs_config_is_read_back(place: Place) -> None:
    path = place.run / "config.yaml"
    config = parse(["--config", str(path), "--output_dir", "x"]).config
    written = yaml.safe_load(path.read_text())
    assert (config.total_flops, config.threads, config.student) == (4e9, 1, "tiny-0.2m")
    assert config.learning_rates == written["learning_rates"]
    assert (config.max_tokens, config.step_tokens) == (written["max_tokens"], written["step_tokens"])


def test_a_broken_line_of_a_corpus_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.folder / "broken.jsonl"
    first = (place.folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[0]
    path.write_text(first + "\n" + json.dumps({"task": "a", "prompt": "b", "targets": {}}) + "\n", encoding="utf-8")
    line = refusal(capsys, *place.flags, *ANSWER_ONLY, "--corpus", path, "--output_dir", place.folder / "a")
    assert f"{path}, line 2" in line and "'answer'" in line


def test_a_supervision_that_no_example_offers_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    policy = ("--policy", "Fixed", "--policy.supervision", "response")
    line = refusal(capsys, *place.flags, *policy, "--output_dir", place.folder / "b")
    assert "'response'" in line and "answer, short, reasoning" in line


def test_a_budget_that_buys_no_step_says_what_one_costs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (*place.flags, *ANSWER_ONLY, "--total_flops", "100", "--output_dir", place.folder / "c")
    line = refusal(capsys, *flags)
    assert "buys no training step" in line and "--total_flops" in line
    assert refusal(capsys, *flags) == line  # the folder is as free as it was


def test_a_budget_in_tokens_that_buys_no_step_says_what_one_costs(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--total_flops", "null", "--total_tokens", "100", "--output_dir", place.folder / "f")
    line = refusal(capsys, *place.flags, *ANSWER_ONLY, *flags)
    assert "a budget of 100 tokens buys no training step, which costs 5" in line and "--total_tokens" in line


def test_a_dry_run_prints_what_fits_a_terminal_and_leaves_no_folder(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place.folder / "dry"
    main([*place.flags, *ANSWER_ONLY, "--dry_run", "true", "--output_dir", str(folder)])
    shown = capsys.readouterr().out
    assert not folder.exists()
    assert max(len(line) for line in shown.splitlines()) <= 80
    headings = " ".join(shown.partition("┡")[0].replace("┃", " ").split())
    assert "…" not in shown
    for word in ("supervision", "examples", "tokens", "FLOPs", "passes", "bought"):
        assert word in headings
    assert "FLOP/s measured here with 1 thread:" in " ".join(shown.split())


def test_a_folder_that_holds_no_student_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.folder / "student").mkdir()
    flags = (*place.flags, *ANSWER_ONLY, "--student", place.folder / "student", "--output_dir", place.folder / "d")
    line = refusal(capsys, *flags)
    assert "config.json" in line and "died" not in line


def test_more_workers_than_cores_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    workers = str(2 * (os.cpu_count() or 1))
    flags = (*place.flags, *ANSWER_ONLY, "--num_workers", workers, "--output_dir", place.folder / "e")
    assert "--num_workers" in refusal(capsys, *flags)
