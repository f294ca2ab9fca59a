"""What a comparison's flags stand for, and what is refused before anything runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from controller.config import Json, RunConfig, policy_spec
from controller.record import IDENTITY, SUMMARY
from curricula.policies import Adaptive, Fixed, Staged
from curricula.policy import CurriculumPolicy
from experiments.compare import main, parse
from experiments.comparison.answers import paired_answers
from experiments.comparison.grid import Cell, Grid, grid_cells, policy_label, read_policy, split_outside
from experiments.comparison.record import COMPARISON, ComparisonRecord, shared_settings
from tests.experiments.runs import ROOT

SETTINGS = RunConfig(policy=Adaptive())
USUAL = ["--policies", "Adaptive", "--output_dir", "runs/none"]


@pytest.mark.parametrize(
    ("spelled", "policy"),
    [
        ("Adaptive", Adaptive()),
        ("Fixed( supervision = compressed:steps@0.3, slices=3 )", Fixed(supervision="compressed:steps@0.3", slices=3)),
        ("curricula.policies.Fixed(supervision='answer')", Fixed(supervision="answer")),
        ("Staged(stages=[[answer, 0.5], [reasoning, 0.5]])", Staged(stages=(("answer", 0.5), ("reasoning", 0.5)))),
        ({"class_path": "Fixed", "init_args": {"supervision": "answer"}}, Fixed(supervision="answer")),
    ],
)
def test_a_policy_is_what_it_is_spelled(spelled: object, policy: CurriculumPolicy) -> None:
    assert read_policy(spelled) == policy
    assert read_policy(policy_label(policy)) == policy


def test_a_label_holds_what_is_not_as_usual() -> None:
    assert policy_label(Adaptive()) == "Adaptive"
    assert policy_label(Fixed(supervision="answer")) == "Fixed(supervision=answer)"


def test_values_are_split_where_no_bracket_or_quote_is_open() -> None:
    assert split_outside("A, B(x=[1, 2], y='a,b'),C") == ["A", "B(x=[1, 2], y='a,b')", "C"]


def test_every_combination_is_a_cell_with_its_own_folder() -> None:
    grid = Grid(policies="Fixed(supervision=answer),Adaptive,Adaptive()", corpora="a/c.jsonl,b/c.jsonl", seeds=[0, 1])
    cells = grid_cells(dataclasses.replace(grid, budgets="1e9,2e9", students="tiny,tiny-3m"), SETTINGS)
    assert len(cells) == 2 * 2 * 2 * 2 * 2
    assert len({cell.folder for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells] == [0] * 16 + [1] * 16
    for cell, config in cells.items():
        assert (cell.corpus, cell.student, cell.seed) == (config.corpus, config.student, config.seed)
        assert (cell.total_flops, cell.policy) == (config.total_flops, policy_label(config.policy))


def test_the_preset_needs_no_edit() -> None:
    flags = ["--config", str(ROOT / "experiments" / "presets" / "procedural.yaml"), "--output_dir", "runs/none"]
    cells = parse(flags).cells
    assert len({cell.policy for cell in cells}) >= 4
    assert {cell.seed for cell in cells} == {0, 1, 2, 3, 4}
    assert {(cell.corpus, cell.total_flops) for cell in cells} == {("procedural", 6_000_000_000_000)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--policies", "Fixd(supervision=answer)"], "unknown policy 'Fixd' (did you mean Fixed"),
        (["--policies", "Fixed(supervison=answer)"], "no field 'supervison' (did you mean supervision?)"),
        (["--policies", "Fixed"], "needs field supervision"),
        (["--policies", "Fixed(answer)"], "expected field=value in Fixed(...), got 'answer'"),
        (["--policies", "Fixed(supervision=answer"], "')' is missing"),
        (["--policies", "Fixed(supervision=answer, slices=two)"], "expected int, got 'two'"),
        (["--policies", "Fixed(supervision=essay)"], "'essay' is not kind"),
        (["--policies", "Distilled(supervision=answer)"], "white-box teacher"),
        (["--seeds", "0,one"], "--seeds: expected whole numbers"),
        (["--budgets", "6e12,"], "--budgets: expected values"),
        (["--budgets", "0"], "total_flops must be positive"),
        (["--students", "tiny,tinny"], "there is no student 'tinny'"),
        (["--corpora", "procedurl"], "there is no corpus 'procedurl'"),
        (["--polices", "Adaptive"], "did you mean --policies"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*USUAL, *flags])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def _finished(record: ComparisonRecord, cell: Cell, config: RunConfig, *, correct: Sequence[bool | None]) -> None:
    """The folder of a run, as far as a comparison reads it."""
    folder = record.run_folder(cell)
    folder.mkdir(parents=True)
    graded = [right for right in correct if right is not None]
    score = {"accuracy": np.mean(graded), "ci95": [0.0, 1.0], "n": len(graded), "mean_output_tokens": 1.0}
    summary: Mapping[str, Json] = {
        "policy": policy_spec(config.policy),
        "dev": {**score, "truncated": 0.0, "by_task": {}, "by_kind": {}, "by_domain": {}},
        **{name: {} for name in ("charges", "recorded", "mix_by_examples", "mix_by_flops", "spent", "lost")},
        **dict.fromkeys(("spent_flops", "stages", "wall_seconds", "train_seconds", "peak_worker_bytes"), 1),
        "difficulty": None,
        "replay": {"bitwise": True, "ended_by": []},
    }
    identity = {"corpus_fingerprint": "f", "student_digest": f"d{cell.seed}"}
    rows = [json.dumps({"id": f"q{place}", "correct": right}) + "\n" for place, right in enumerate(correct)]
    (folder / "dev.jsonl").write_text("".join(rows[:: -1 if cell.policy == "Adaptive" else 1]), encoding="utf-8")
    (folder / IDENTITY).write_text(json.dumps(identity), encoding="utf-8")
    (folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")


def _record(folder: Path, grid: Grid, settings: RunConfig = SETTINGS, fingerprint: str = "f") -> ComparisonRecord:
    shared = shared_settings(settings, dict.fromkeys(["procedural"], fingerprint))
    return ComparisonRecord(folder, shared, grid_cells(grid, settings))


def test_rows_stay_and_only_what_is_missing_is_run(tmp_path: Path) -> None:
    grid = Grid(policies="Adaptive,Fixed(supervision=answer)", seeds="0,1")
    cells = grid_cells(grid, SETTINGS)
    record = _record(tmp_path, grid)
    assert record.missing == list(cells)
    *done, failing = reversed(cells)
    for cell in done:
        _finished(record, cell, cells[cell], correct=[True, False])
        record.finish(cell)
    record.fail(failing, "no")
    assert [row.get("error") for row in json.loads((tmp_path / COMPARISON).read_text())["rows"]].count("no") == 1
    assert _record(tmp_path, grid).missing == [failing]
    wider = _record(tmp_path, dataclasses.replace(grid, budgets="6e12,1e12", seeds="1"))
    assert [cell.total_flops for cell in wider.missing] == [10**12] * 2
    assert {*done} <= wider.rows.keys()


@pytest.mark.parametrize(
    ("settings", "fingerprint", "named"),
    [
        (dataclasses.replace(SETTINGS, final_split="test"), "f", "final_split"),
        (dataclasses.replace(SETTINGS, eval_examples=7), "f", "eval_examples: null there, 7 now"),
        (SETTINGS, "g", "corpora.procedural"),
    ],
)
def test_cells_that_could_not_be_compared_are_refused_by_name(
    tmp_path: Path, settings: RunConfig, fingerprint: str, named: str
) -> None:
    _record(tmp_path, Grid(policies="Adaptive"))
    with pytest.raises(ValueError, match=named):
        _record(tmp_path, Grid(policies="Adaptive"), settings, fingerprint)


def test_other_libraries_are_refused_by_name(tmp_path: Path) -> None:
    _record(tmp_path, Grid(policies="Adaptive"))
    path = tmp_path / COMPARISON
    data = json.loads(path.read_text(encoding="utf-8"))
    data["settings"]["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ValueError, match=r'versions.torch: "1.0" there'):
        _record(tmp_path, Grid(policies="Adaptive"))


def test_answers_are_aligned_by_question_and_seed(tmp_path: Path) -> None:
    grid = Grid(policies="Adaptive,Fixed(supervision=answer)", seeds="2,0")
    cells = grid_cells(grid, SETTINGS)
    record = _record(tmp_path, grid)
    right = {("Adaptive", 0): [True, False, False], ("Adaptive", 2): [True, True, True]}
    for cell, config in cells.items():
        _finished(record, cell, config, correct=right.get((cell.policy, cell.seed), [False, True, False]))
        record.finish(cell)
    where = {"corpus": "procedural", "student": "tiny"}
    paired = paired_answers(
        tmp_path, "Fixed(supervision=answer)", "Adaptive", **where, total_flops=6 * 10**12, split="dev"
    )
    assert (paired.seeds_R, paired.ids_Q) == ((0, 2), ("q0", "q1", "q2"))
    assert paired.first_RQ.tolist() == [[False, True, False]] * 2
    assert paired.second_RQ.tolist() == [right["Adaptive", 0], right["Adaptive", 2]]
    with pytest.raises(ValueError, match=r"test.jsonl is missing"):
        paired_answers(tmp_path, "Adaptive", "Adaptive", **where, total_flops=6 * 10**12, split="test")
    with pytest.raises(ValueError, match="no seed"):
        paired_answers(tmp_path, "Adaptive", "Mixed", **where, total_flops=6 * 10**12, split="dev")


def test_questions_that_were_ungraded_in_a_run_are_in_no_pair(tmp_path: Path) -> None:
    grid = Grid(policies="Adaptive,Fixed(supervision=answer)", seeds="0")
    cells = grid_cells(grid, SETTINGS)
    record = _record(tmp_path, grid)
    where = {"corpus": "procedural", "student": "tiny"}
    for cell, config in cells.items():
        correct = [True, None, False] if cell.policy == "Adaptive" else [None, True, True]
        _finished(record, cell, config, correct=correct)
        record.finish(cell)
    paired = paired_answers(
        tmp_path, "Adaptive", "Fixed(supervision=answer)", **where, total_flops=6 * 10**12, split="dev"
    )
    assert paired.ids_Q == ("q2",)
    assert (paired.first_RQ.tolist(), paired.second_RQ.tolist()) == ([[False]], [[True]])
