"""The rate grid runs through its own command line, goes on where it stopped, and agrees with the rates in use."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from controller.resolve import SIZE_CLASSES
from controller.session import named_corpus
from experiments.rate_cells import Cell, Line
from experiments.rate_table import best_rate, class_rates, grid_table, mean_accuracies, mean_losses
from experiments.rates import main
from tests.experiments.runs import ROOT, write_corpus

RATES = ROOT / "experiments" / "rates.json"


def _line(student: str, rate: float, correct: int, *, loss: float | None = 0.5, seed: int = 0) -> Line:
    return Line(
        cell=Cell(student=student, supervision="answer", rate=rate, seed=seed),
        parameters=200_000,
        corpus_fingerprint="c",
        total_flops=1e9,
        step_tokens=512,
        precision="fp32",
        device="cpu",
        steps=3,
        loss=loss,
        in_domain_loss=loss,
        targets=10,
        correct=correct,
        questions=10,
        seconds=1.0,
    )


def test_base_rates_are_those_of_the_grid() -> None:
    if not RATES.exists():
        pytest.skip("experiments/rates.json is not there: the rates in use come from experiments/LOG.md")
    ours = {size.name: size.rates for size in SIZE_CLASSES}
    for name, rates in json.loads(RATES.read_text(encoding="utf-8"))["base_rates"].items():
        assert {kind: ours[name].get(kind) for kind in rates} == rates


def test_a_rate_is_chosen_by_its_accuracy_over_seeds() -> None:
    lines = [_line("a", 1e-3, 2), _line("a", 2e-3, 7), _line("a", 4e-3, 9), _line("a", 4e-3, 3, seed=1)]
    assert mean_accuracies(lines) == pytest.approx({1e-3: 0.2, 2e-3: 0.7, 4e-3: 0.6})
    assert best_rate(mean_accuracies(lines)) == (2e-3, False)
    assert best_rate({1e-3: 0.3, 2e-3: 0.3, 4e-3: 0.1}) == (1e-3, True)


def test_the_loss_stands_beside_it() -> None:
    lines = [_line("a", 1e-3, 8, loss=1.0), _line("a", 2e-3, 3, loss=0.2), _line("a", 2e-3, 3, loss=0.4, seed=1)]
    assert mean_losses(lines) == pytest.approx({1e-3: 1.0, 2e-3: 0.3})
    [grid] = json.loads(json.dumps(grid_table(lines)))["grids"]
    assert (grid["best_rate"], grid["rate_of_least_loss"]) == (1e-3, 2e-3)


def test_a_rate_at_which_one_seed_diverged_is_not_chosen() -> None:
    lines = [_line("a", 1e-3, 1), _line("a", 2e-3, 9), _line("a", 2e-3, 9, loss=None, seed=1)]
    assert mean_losses(lines)[2e-3] == math.inf
    assert best_rate(mean_accuracies(lines)) == (1e-3, True)
    assert json.loads(json.dumps(grid_table(lines), allow_nan=False))["grids"][0]["rates"][1]["loss"] is None


def test_a_class_takes_the_rate_that_is_best_over_its_students() -> None:
    right = {"a": {1e-3: 5, 2e-3: 6, 4e-3: 2}, "b": {1e-3: 3, 2e-3: 5, 4e-3: 6, 8e-3: 10}}
    lines = [_line(student, rate, correct) for student, grid in right.items() for rate, correct in grid.items()]
    assert class_rates(lines) == {"below 0.4 M": {"answer": 2e-3}}


def test_a_grid_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", supervisions=["answer", "reasoning"])
    table, journal = tmp_path / "rates.json", tmp_path / "rates.jsonl"
    flags = ["--students", "tiny-0.2m", "--supervisions", "answer", "--seeds", "0", "--total_flops", "4e9"]
    flags += ["--corpus", str(corpus), "--output", str(table), "--cache_dir", str(tmp_path), "--eval_examples", "9"]
    fingerprint = named_corpus(str(corpus), strict=False).fingerprint
    done = dataclasses.replace(_line("tiny-0.2m", 1e-3, 4, loss=0.25), corpus_fingerprint=fingerprint, total_flops=4e9)
    whole = json.dumps(done.to_json()) + "\n"
    journal.write_text(whole + whole[:50])  # killed in the middle of its last line

    main([*flags, "--rates", "1e-3,2e-3"])
    kept, run = journal.read_text().splitlines(keepends=True)
    assert kept == whole
    line = Line.from_json(json.loads(run))
    assert (line.cell.rate, line.questions, line.targets) == (2e-3, 9, 9)
    assert line.steps and line.loss and line.loss > 1.0  # it learned a little from nothing
    rows = json.loads(table.read_text())["grids"][0]["rates"]
    assert [(row["rate"], row["loss"]) for row in rows] == [(1e-3, 0.25), (2e-3, line.in_domain_loss)]

    with pytest.raises(SystemExit):
        main([*flags, "--rates", "1e-3", "--total_flops", "5e9"])
    assert "at 4e+09 FLOPs, not at 5e+09" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*flags, "--rates", "1e-3", "--precision", "bf16"])
    assert "tiny-0.2m in fp32, not in bf16" in capsys.readouterr().err


ENDLESS_CELL = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from experiments.rates import end_with_parent
pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)
pool.submit(print, "computing", flush=True).result()
pool.submit(time.sleep, 3600).result()
"""


def test_cells_end_with_the_command_that_was_killed() -> None:
    command = subprocess.Popen([sys.executable, "-c", ENDLESS_CELL], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    assert command.stdout.readline() == "computing\n"
    command.kill()
    # The cell's process holds the pipe's other end for as long as it lives.
    assert command.communicate(timeout=60)[0] == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rates", "1e-3,fast"], "--rates: expected floats"),
        (["--rates", "0"], "learning_rates must be positive"),
        (["--students", "tiny,tinny"], "there is no student 'tinny'"),
        (["--supervisions", "essay"], "essay"),
        (["--output", "table.csv"], "--output must end in .json"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["--students", "tiny", "--supervisions", "answer", "--rates", "1e-3", "--total_flops", "1e9"]
    with pytest.raises(SystemExit):
        main([*usual, "--output", "table.json", *flags])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
