"""A run's folder: what is appended is read back, what was cut off is gone, what changed is refused by name."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from controller.budgets import reopen_ledger
from controller.config import Json
from controller.controller import run
from controller.ledger import Budget, Ledger
from controller.record import RunFolder, RunFolderError, read_run
from curricula.policies import Fixed
from curricula.recipe import Recipe, Rollouts
from curricula.types import Purpose, RunState, StageResult
from tests.controller.worlds import FakeRecord, FakeStudents, fresh_state

IDENTITY: dict[str, Json] = {
    "config": {"seed": 0, "policy": {"supervision": "answer"}},
    "tasks": ["add", "copy"],
    "supervisions": ["answer"],
}

SECONDS: Mapping[Purpose, float] = {"train": 1.25, "probe": 1 / 3}


def _history(probe_examples: int = 4) -> RunState:
    students, record = FakeStudents(), FakeRecord()
    policy = Fixed(supervision="compressed", slices=4, probe_examples=probe_examples)
    state = fresh_state(60_000_000)
    ledger = Ledger(budget=Budget(unit="flops", total=state.total_flops))
    return run(policy=policy, state=state, ledger=ledger, trainer=students, evaluator=students, record=record)


@contextmanager
def _folder(path: Path, history: tuple[StageResult, ...]) -> Iterator[RunFolder]:
    folder = RunFolder.open(path, resume=False)
    try:
        folder.begin(IDENTITY, {"seed": 0})
        for result in history:
            (folder.checkpoints / result.checkpoint).mkdir(parents=True)
            folder.append([result], [SECONDS])
        yield folder
    finally:
        folder.close()


def _same(ours: StageResult, theirs: StageResult) -> bool:
    for field in dataclasses.fields(StageResult):
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if isinstance(mine, np.ndarray):
            if not np.array_equal(mine, other, equal_nan=True):
                return False
        elif field.name == "probe":
            if (mine is None) != (other is None):
                return False
            if mine is not None and not all(
                np.array_equal(getattr(mine, name), getattr(other, name), equal_nan=name == "loss_P")
                for name in ("example_P", "condition_P", "solved_P", "output_tokens_P", "loss_P")
            ):
                return False
        elif mine != other:
            return False
    return True


def test_what_was_appended_is_read_back_exactly(tmp_path: Path) -> None:
    history = _history().history
    with _folder(tmp_path / "run", history):
        pass
    read = read_run(tmp_path / "run").results
    assert len(read) == len(history) > 3
    assert all(_same(ours, theirs) for ours, theirs in zip(history, read, strict=True))


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (Recipe(), {}),
        (
            Recipe(text=0.0, hidden=0.5, layers=((1, 2), (2, 5)), components=("embeddings", "lower")),
            {"text": 0.0, "hidden": 0.5, "layers": [[1, 2], [2, 5]], "components": ["embeddings", "lower"]},
        ),
        (
            Recipe(rate_multiplier=0.5, text=0.0, logits=1.0, rollouts=Rollouts(max_tokens=64)),
            {
                **{"rate_multiplier": 0.5, "text": 0.0, "logits": 1.0},
                "rollouts": {"max_tokens": 64, "temperature": 1.0},
            },
        ),
    ],
    ids=["default", "hidden", "rollouts"],
)
def test_a_stage_line_holds_what_its_recipe_changes(recipe: Recipe, changes: dict[str, Json], tmp_path: Path) -> None:
    stage = dataclasses.replace(_history().history[0], recipe=recipe)
    with _folder(tmp_path / "run", (stage,)):
        pass
    (line,) = (tmp_path / "run" / "stages.jsonl").read_text().splitlines()
    assert json.loads(line)["recipe"] == changes
    (read,) = read_run(tmp_path / "run").results
    assert read.recipe == recipe and _same(read, stage)


def test_seconds_of_recorded_stages_are_read_back_and_of_others_not(tmp_path: Path) -> None:
    history = _history().history
    budget = Budget(unit="seconds", total=100.0, dollars_per_second=0.5)
    with _folder(tmp_path / "run", history[:2]) as folder:
        # Killed after the seconds of a stage were written and before the stage was: it is done again, and slower.
        folder.note(event="charged", checkpoints=[history[2].checkpoint], busy_seconds=[{"train": 99.0}])
        assert reopen_ledger(budget, folder.rewind(), folder.timings()).total_spent.seconds == 2 * (1.25 + 1 / 3)
        (folder.checkpoints / history[2].checkpoint).mkdir()
        folder.append([history[2]], [{"train": 3.0}])
        ledger = reopen_ledger(budget, folder.rewind(), folder.timings())
    assert ledger.spent["train"].seconds == 1.25 + 1.25 + 3.0
    assert ledger.total_spent.dollars == pytest.approx(0.5 * ledger.total_spent.seconds)
    assert ledger.total_spent.flops == sum(result.spent_flops for result in history[:3])
    (tmp_path / "run" / "timings.jsonl").unlink()
    with pytest.raises(RunFolderError, match="lacks the seconds of stage 0000"):
        reopen_ledger(budget, history[:3], folder.timings())
    assert reopen_ledger(Budget(unit="flops", total=10**9), history, folder.timings()).total_spent.seconds == 0


def test_a_line_cut_off_by_a_kill_is_dropped_and_the_file_mended(tmp_path: Path) -> None:
    history = _history().history
    with _folder(tmp_path / "run", history) as folder:
        stages = tmp_path / "run" / "stages.jsonl"
        whole = stages.read_bytes()
        stages.write_bytes(whole + b'{"index": 99, "round"')
        assert len(folder.rewind()) == len(history)
        assert stages.read_bytes() == whole


def test_a_stage_without_its_checkpoint_is_rewound(tmp_path: Path) -> None:
    history = _history().history
    with _folder(tmp_path / "run", history) as folder:
        (folder.checkpoints / history[-1].checkpoint).rmdir()
        assert [result.index for result in folder.rewind()] == [result.index for result in history[:-1]]
        assert len((tmp_path / "run" / "stages.jsonl").read_text().splitlines()) == len(history) - 1


def test_a_round_of_which_any_checkpoint_is_gone_is_rewound(tmp_path: Path) -> None:
    first, second = _history().history[:2]
    twin = dataclasses.replace(second, index=2, checkpoint="0002")
    with _folder(tmp_path / "run", (first,)) as folder:
        (folder.checkpoints / "0002").mkdir()
        folder.append([second, twin], [SECONDS, SECONDS])
        assert [result.index for result in folder.rewind()] == [0]


def test_what_a_killed_driver_left_behind_is_gone_after_a_resume(tmp_path: Path) -> None:
    history = _history(probe_examples=0).history
    with _folder(tmp_path / "run", history) as folder:
        folder.note(event="attempt")
        for name in (".0009.1f2e", "0009", ".trl"):
            (folder.checkpoints / name).mkdir()
            (folder.checkpoints / name / "state.safetensors").write_bytes(b"half")
        (folder.checkpoints / "stray").write_text("a file")
        for name in ("0009.npz", "0010.tmp"):
            (folder.folder / "plans" / name).write_bytes(b"half")
        timings = folder.folder / "timings.jsonl"
        noted = timings.read_text()
        timings.write_text(noted + '{"time": 1')
        assert len(folder.rewind()) == len(history)
        assert [path.name for path in folder.checkpoints.iterdir()] == [history[-1].checkpoint]
        plans = sorted(path.name for path in (folder.folder / "plans").iterdir())
        assert plans == [f"{result.checkpoint}.npz" for result in history]
        assert timings.read_text() == noted
        assert folder.existing(history) == (history[-1].checkpoint,)


def test_a_run_killed_before_its_first_checkpoint_is_resumed_from_nothing(tmp_path: Path) -> None:
    with _folder(tmp_path / "run", ()) as folder:
        assert folder.rewind() == ()
        assert folder.existing(()) == ()


def test_arrays_that_are_missing_are_named(tmp_path: Path) -> None:
    with _folder(tmp_path / "run", _history().history[:1]) as folder:
        (folder.folder / "plans" / "0000.npz").unlink()
        with pytest.raises(RunFolderError, match=r"0000\.npz is missing"):
            folder.rewind()


def test_a_round_that_lacks_a_fork_is_dropped(tmp_path: Path) -> None:
    first, second = _history().history[:2]
    twin = dataclasses.replace(second, index=2, checkpoint="0002")
    with _folder(tmp_path / "run", (first,)) as folder:
        for result in (second, twin):
            (folder.checkpoints / result.checkpoint).mkdir()
        folder.append([second, twin], [SECONDS, SECONDS])
        stages = tmp_path / "run" / "stages.jsonl"
        lines = stages.read_text().splitlines(keepends=True)
        stages.write_text("".join(lines[:2]))
        assert [result.index for result in folder.rewind()] == [0]


def test_arrays_that_were_tampered_with_are_refused(tmp_path: Path) -> None:
    history = _history().history
    with _folder(tmp_path / "run", history):
        pass
    np.savez(tmp_path / "run" / "plans" / "0000.npz", example_R=np.zeros(1), supervision_R=np.zeros(1))
    with pytest.raises(RunFolderError, match=r"not what stages\.jsonl recorded"):
        read_run(tmp_path / "run")


def test_a_changed_configuration_is_refused_with_the_fields_named(tmp_path: Path) -> None:
    with _folder(tmp_path / "run", ()):
        pass
    folder = RunFolder.open(tmp_path / "run", resume=True)
    changed = {**IDENTITY, "config": {"seed": 1, "policy": {"supervision": "short"}}}
    with (
        closing(folder),
        pytest.raises(
            RunFolderError, match=r'config\.policy\.supervision: "answer" there, "short" now; config\.seed: 0'
        ),
    ):
        folder.begin(changed, {"seed": 1})


def test_a_folder_with_a_run_is_not_overwritten_and_an_empty_one_not_resumed(tmp_path: Path) -> None:
    with _folder(tmp_path / "run", _history().history[:1]):
        pass
    with pytest.raises(RunFolderError, match="holds a run already"):
        RunFolder.open(tmp_path / "run", resume=False)
    with pytest.raises(RunFolderError, match="no run to resume"):
        RunFolder.open(tmp_path / "none", resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("dear")
    with pytest.raises(RunFolderError, match="not empty and holds no run"):
        RunFolder.open(tmp_path / "full", resume=False)
    (tmp_path / "file").write_text("dear")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.open(tmp_path / "file", resume=False)
    with pytest.raises(RunFolderError, match="holds no run"):
        read_run(tmp_path / "none")


def test_a_folder_whose_run_recorded_no_stage_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with _folder(path, ()) as folder:
        folder.note(event="attempt")
        (folder.checkpoints / "0000").mkdir(parents=True)
        (path / "plans" / "0000.tmp").write_bytes(b"half")
        (path / "stages.jsonl").write_text('{"index": 0, "rou')
        (path / ".config.yaml.aside").write_text("half")
        (path / "report.html").write_text("nothing yet")
    other: dict[str, Json] = {**IDENTITY, "config": {"seed": 1}}
    with closing(RunFolder.open(path, resume=False)) as folder:
        assert [part.name for part in path.iterdir()] == ["run.lock"]
        folder.begin(other, {"seed": 1})
    read = read_run(path)
    assert (read.identity, read.config, read.results, read.timings) == (other, {"seed": 1}, (), ())


def test_a_run_that_recorded_no_stage_can_be_resumed_too(tmp_path: Path) -> None:
    with _folder(tmp_path / "run", ()):
        pass
    with closing(RunFolder.open(tmp_path / "run", resume=True)) as folder:
        folder.begin(IDENTITY, {"seed": 0})
        assert folder.rewind() == ()


@pytest.mark.parametrize("name", ["notes.txt", "student", ".checkpoints"])
def test_what_is_no_part_of_a_run_is_never_cleared_away(name: str, tmp_path: Path) -> None:
    with _folder(tmp_path / "run", ()):
        pass
    (tmp_path / "run" / name).mkdir()
    (tmp_path / "other" / "checkpoints").mkdir(parents=True)
    for path in (tmp_path / "run", tmp_path / "other"):
        before = sorted(path.iterdir())
        with pytest.raises(RunFolderError, match="is not empty"):
            RunFolder.open(path, resume=False)
        assert sorted(path.iterdir()) == before


def test_what_was_said_of_the_same_student_stays_in_a_summary_that_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "run" / "summary.json"
    with _folder(tmp_path / "run", ()) as folder:
        first: dict[str, Json] = {"state_digest": "a1", "stages": 1}
        folder.write_summary(first)
        assert json.loads(path.read_text()) == first
        said: dict[str, Json] = {"harness": {"larger": {"n": 6}}}
        path.write_text(json.dumps({**first, **said, "stale": 1}))
        folder.write_summary({**first, "stages": 2})
        assert json.loads(path.read_text()) == {**first, "stages": 2, **said}
        folder.write_summary({**first, "state_digest": "b2"})
        assert json.loads(path.read_text()) == {**first, "state_digest": "b2"}
        path.write_text('{"state_dig')
        with pytest.raises(RunFolderError, match=r"summary\.json is not JSON.*delete it"):
            folder.write_summary(first)


def _try_to_open(path: Path, answers: multiprocessing.Queue[str]) -> None:
    try:
        RunFolder.open(path, resume=False)
        answers.put("opened")
    except RunFolderError as error:
        answers.put(str(error))


def test_a_folder_in_use_is_refused_to_another_process(tmp_path: Path) -> None:
    with _folder(tmp_path / "run", ()):
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        other = context.Process(target=_try_to_open, args=(tmp_path / "run", answers))
        other.start()
        assert "in use" in answers.get(timeout=60)
        other.join()


def test_only_named_checkpoints_are_kept(tmp_path: Path) -> None:
    history = _history().history[:3]
    with _folder(tmp_path / "run", history) as folder:
        folder.retain(["0001"])
        assert [path.name for path in folder.checkpoints.iterdir()] == ["0001"]


def test_stage_lines_hold_losses_in_full_precision(tmp_path: Path) -> None:
    result = _history().history[0]
    assert result.probe is not None
    exact = dataclasses.replace(result.probe, loss_P=np.full(len(result.probe.loss_P), 1 / 3))
    with _folder(tmp_path / "run", (dataclasses.replace(result, probe=exact),)) as folder:
        line = json.loads((folder.folder / "stages.jsonl").read_text())
        assert set(line["probe"]["loss"]) == {1 / 3}
