"""Kill a comparison, run it again: the same compare.json. A cell that cannot be run is a row, and the rest goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from experiments.compare import main
from tests.experiments.runs import stages, start, wait_until, write_corpus


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two policies x two seeds, each run a second of training."""
    folder = tmp_path_factory.mktemp("compare")
    corpus = write_corpus(folder / "corpus.jsonl", supervisions=("answer", "compressed"))
    yield [
        *("--policies", "Fixed(supervision=answer, slices=3), Fixed(supervision=compressed, slices=3)"),
        *("--corpora", str(corpus), "--students", "tiny-0.2m", "--budgets", "1e10", "--seeds", "0,1"),
        *("--max_output_tokens", "40", "--eval_examples", "10", "--threads", "1", "--cache_dir", str(folder / "cache")),
    ]
    ray.shutdown()


def test_killed_and_run_again_it_comes_to_the_same(flags: list[str], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    main([*flags, "--output_dir", str(whole)])
    rows = json.loads((whole / "compare.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 4
    for row in rows:
        summary = json.loads((whole / row["folder"] / "summary.json").read_text(encoding="utf-8"))
        assert row["dev"] == summary["dev"]
        assert row["flops"] == {**summary["charges"], **summary["recorded"]}

    with start(
        [*flags, "--output_dir", str(killed)], output=tmp_path / "output", command="experiments.compare"
    ) as process:
        wait_until(lambda: any(stages(folder) for folder in (killed / "runs").glob("*")), what="a stage")
        process.send_signal(signal.SIGKILL)
    assert len(list((killed / "runs").glob("*/summary.json"))) < 4
    main([*flags, "--output_dir", str(killed)])
    assert (killed / "compare.json").read_bytes() == (whole / "compare.json").read_bytes()


def test_a_cell_that_fails_is_a_row_and_the_others_go_on(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*flags, "--budgets", "10,1e10", "--seeds", "0", "--policies", "Fixed(supervision=answer, slices=1)",
              "--output_dir", str(tmp_path)])  # fmt: skip
    assert ended.value.code == 1
    assert "1 of 2 cells failed" in capsys.readouterr().err
    failed, done = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))["rows"]
    assert (failed["total_flops"], done["total_flops"]) == (10, 10**10)
    assert "buys no training step" in failed["error"] and "\n" not in failed["error"]
    assert "error" not in done and done["dev"]["n"] == 10
