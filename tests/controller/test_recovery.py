"""Kill it anywhere, start it again: the same stages, byte for byte, and the same spend."""

from __future__ import annotations

import json
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray

from controller.config import Json
from evaluators.harness import HarnessTask
from experiments.adaptive import main
from experiments.findings.reading import read_runs
from experiments.harness import merge_results
from tests.experiments.runs import descendants, is_running, stages, start, wait_until, write_corpus

SEED = 20
"""Of the moments at which things are killed."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A run that nothing interrupted, and the flags that make it again."""

    folder: Path
    flags: tuple[str, ...]

    def expect(self, folder: Path) -> dict[str, Json]:
        """Check that another run came to the same, and return its summary."""
        assert stages(folder) == stages(self.folder)
        summary, ours = read_summary(folder), read_summary(self.folder)
        for name in ("spent_flops", "charges", "dev", "stages"):
            assert summary[name] == ours[name], name
        assert (folder / "dev.jsonl").read_bytes() == (self.folder / "dev.jsonl").read_bytes()
        return summary


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Six stages of about a second each, with a probe after every one; long targets would make a slice cost more."""
    folder = tmp_path_factory.mktemp("reference")
    corpus = write_corpus(folder / "corpus.jsonl", supervisions=("answer", "compressed"))
    policy = ("--policy", "Fixed", "--policy.supervision", "compressed", "--policy.slices", "6")
    flags = (
        *(
            "--student",
            "tiny-0.2m",
            "--corpus",
            str(corpus),
            "--threads",
            "1",
            "--total_flops",
            "1.6e11",
            "--step_tokens",
            "256",
        ),
        *(*policy, "--policy.probe_examples", "4", "--max_output_tokens", "60", "--eval_examples", "8"),
        *("--cache_dir", str(folder / "cache")),
    )
    main([*flags, "--output_dir", str(folder / "run")])
    yield Reference(folder=folder / "run", flags=flags)
    ray.shutdown()


def read_summary(folder: Path) -> dict[str, Json]:
    """summary.json of a finished run."""
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def lost_attempts(summary: dict[str, Json]) -> int:
    """Attempts that ended in no record."""
    lost = summary["lost"]
    assert isinstance(lost, dict)
    attempts = lost["attempts"]
    assert isinstance(attempts, int)
    return attempts


def mid_stage(folder: Path, *, done: int, delay_seconds: float, ended: Callable[[], bool] = lambda: False) -> None:
    """Wait until so many stages are recorded, or the run has ended without them, and a while longer."""
    wait_until(lambda: ended() or stages(folder).count(b"\n") >= done, what=f"{done} stages in {folder}")
    threading.Event().wait(delay_seconds)


def interrupt(flags: tuple[str, ...], *, output: Path, done: int, delay_seconds: float, how: signal.Signals) -> int:
    """Start a run, send its driver alone a signal in the middle of a stage, and wait for the end of its students,
    which alone write to the run's folder beside it.

    Returns its exit code, negative where the signal ended it.
    """
    folder = Path(flags[flags.index("--output_dir") + 1])
    with start(flags, output=output) as driver:
        mid_stage(folder, done=done, delay_seconds=delay_seconds, ended=lambda: driver.poll() is not None)
        assert driver.poll() is None, output.with_suffix(".err").read_text()
        below = descendants(driver.pid)
        students = [pid for pid, title in below.items() if title.startswith("ray::StudentActor")]
        assert students
        driver.send_signal(how)
        code = driver.wait(timeout=60)
    wait_until(lambda: not any(map(is_running, students)), what="the end of the driver's students", seconds=30)
    return code


def test_a_driver_killed_twice_and_interrupted_once_comes_to_the_same_record(
    reference: Reference, tmp_path: Path
) -> None:
    rng = np.random.default_rng(SEED)
    folder = tmp_path / "a run"
    flags = (*reference.flags, "--output_dir", str(folder))
    output = tmp_path / "output"
    for turn, how in enumerate((signal.SIGKILL, signal.SIGKILL, signal.SIGINT)):
        arguments = flags if turn == 0 else (*flags, "--resume", "true")
        delay_seconds = float(rng.uniform(0.05, 0.3))
        done = stages(folder).count(b"\n") + 1
        code = interrupt(arguments, output=output, done=done, delay_seconds=delay_seconds, how=how)
        assert code == (-how if how == signal.SIGKILL else 130)
        assert not (folder / "summary.json").exists()
        partial = stages(folder)
        assert partial and stages(reference.folder).startswith(partial)
    told = output.with_suffix(".err").read_text()
    assert "Traceback" not in told
    last = told.splitlines()[-1]
    assert last.startswith("stopped; go on with: python -m experiments.adaptive ")
    main(shlex.split(last.partition("experiments.adaptive ")[2]))
    assert lost_attempts(reference.expect(folder)) <= 3


def test_a_killed_worker_is_replaced_and_its_attempt_counted(reference: Reference, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    killed: list[int] = []

    def kill_worker() -> None:
        mid_stage(folder, done=1, delay_seconds=0.2)
        for pid, title in descendants(os.getpid()).items():
            if title.startswith("ray::StudentActor"):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill_worker, daemon=True)
    killer.start()
    main([*reference.flags, "--output_dir", str(folder)])
    killer.join()
    assert len(killed) == 1
    assert lost_attempts(reference.expect(folder)) == 1
    assert lost_attempts(read_summary(reference.folder)) == 0


def test_what_the_harness_said_survives_a_resume_and_is_reported(reference: Reference) -> None:
    before = read_summary(reference.folder)
    task = HarnessTask(
        harness_version="0.4.13",
        task_version="1.5",
        num_fewshot=0,
        n=6,
        metrics={"acc,none": 0.5},
        standard_errors={"acc,none": 0.2},
    )
    with pytest.raises(ValueError, match="another than was evaluated"):
        merge_results(reference.folder, {"larger": task}, state_digest="of a student before")
    merge_results(reference.folder, {"larger": task}, state_digest=before["state_digest"])
    told = json.loads(stages(reference.folder).splitlines()[-1])
    assert before["state_digest"] == told["state_digest"]
    main([*reference.flags, "--output_dir", str(reference.folder), "--resume", "true"])
    after = read_summary(reference.folder)
    assert after["wall_seconds"] != before["wall_seconds"]
    assert set(after) == {*before, "harness"}
    (run,) = read_runs([reference.folder]).runs
    assert run.summary.measures.harness == {"larger": task}
    assert "lm-evaluation-harness, larger" in (reference.folder / "report.html").read_text(encoding="utf-8")


def test_a_resume_that_changed_is_refused_with_the_field_named(
    reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stages(reference.folder)
    flags = ["--output_dir", str(reference.folder), "--resume", "true", "--total_flops", "2e11", "--seed", "3"]
    with pytest.raises(SystemExit) as ended:
        main([*reference.flags, *flags])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    assert "config.total_flops" in told and "config.seed: 0 there, 3 now" in told
    assert stages(reference.folder) == before
