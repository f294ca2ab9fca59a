"""Kill a comparison, run it again: the same compare.json. A cell that cannot be run is a row, and the rest stays."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from experiments.compare import main
from experiments.findings.finding import find
from experiments.findings.reader import ReaderFlags, reader_of
from experiments.findings.reading import read_runs
from experiments.findings.writing import write_findings
from tests.experiments.recomputation import mean_tokens, read_again, share_right, t_interval
from tests.experiments.runs import stages, start, wait_until, write_corpus


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One that nothing interrupted, and the flags that make it again elsewhere."""

    folder: Path
    flags: tuple[str, ...]

    @property
    def text(self) -> bytes:
        """compare.json."""
        return (self.folder / "compare.json").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    """Two policies x two seeds, each run a second of training."""
    folder = tmp_path_factory.mktemp("compare")
    corpus = write_corpus(folder / "corpus.jsonl", supervisions=("answer", "compressed"))
    flags = (
        *("--policies", "Fixed(supervision=answer, slices=3), Fixed(supervision=compressed, slices=3)"),
        *("--corpora", str(corpus), "--students", "tiny-0.2m", "--budgets", "1e10", "--seeds", "0,1"),
        *("--max_output_tokens", "40", "--eval_examples", "30", "--threads", "1", "--cache_dir", str(folder / "cache")),
    )
    main([*flags, "--output_dir", str(folder / "whole")])
    yield Comparison(folder=folder / "whole", flags=flags)
    ray.shutdown()


def test_rows_are_what_the_runs_say(whole: Comparison) -> None:
    rows = json.loads(whole.text)["rows"]
    assert len(rows) == 4
    for row in rows:
        summary = json.loads((whole.folder / row["folder"] / "summary.json").read_text(encoding="utf-8"))
        assert row["dev"] == summary["dev"]
        assert row["flops"] == {**summary["charges"], **summary["recorded"]}


def with_other_verdicts(comparison: Path, copy: Path) -> Path:
    """A copy in which about half of the answers are right, by their ids and the run's folder: a second of training
    gets hardly any."""
    shutil.copytree(comparison, copy)
    for path in copy.glob("runs/*/dev.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        told = [{**row, "correct": zlib.crc32(f"{path.parent.name} {row['id']}".encode()) % 7 < 3} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
    return copy


@pytest.mark.parametrize("as_it_is", [True, False])
def test_findings_agree_with_a_recomputation_from_the_files(
    whole: Comparison, tmp_path: Path, *, as_it_is: bool
) -> None:
    folder = whole.folder if as_it_is else with_other_verdicts(whole.folder, tmp_path / "copy")
    read = read_runs([folder])
    found = find(read, reader_of(ReaderFlags(), read.runs))
    (each,) = found.question_sets
    again = read_again(folder)
    for setting in each.settings:
        runs = [run for run in again if run.policy == setting.policy]
        assert [run.seed for run in runs] == [run.seed for run in setting.runs] == [0, 1]
        assert setting.spent_flops == sum(run.spent_flops for run in runs) / 2
        assert setting.answer_flops == pytest.approx(sum(run.answer_flops for run in runs) / 2)
        for run, other in zip(setting.runs, runs, strict=True):
            assert run.summary.mix_by_examples == pytest.approx(other.mix_by_examples)
            assert run.summary.mix_by_flops == pytest.approx(other.mix_by_flops)
        answers = [row for run in runs for row in run.answers]
        for score in setting.scores:
            if score.group in ("overall", "task", "kind", "domain"):
                of_group = [row for row in answers if score.group == "overall" or row[score.group] == score.name]
                assert score.accuracy.value == pytest.approx(share_right(of_group)), (score.group, score.name)
                assert score.output_tokens == pytest.approx(mean_tokens(of_group))
                assert score.questions == len(of_group) / 2
        if (interval := setting.scores[0].accuracy.interval) is not None:
            _, low, high = t_interval([share_right(run.answers) for run in runs])
            assert (interval.low, interval.high) == pytest.approx((max(low, 0.0), min(high, 1.0)))
    (pair,) = each.differences
    accuracy = {(run.policy, run.seed): share_right(run.answers) for run in again}
    mean, low, high = t_interval([accuracy[pair.first, seed] - accuracy[pair.second, seed] for seed in (0, 1)])
    assert pair.accuracy.value == pytest.approx(mean)
    if pair.accuracy.interval is not None:
        ends = (pair.accuracy.interval.low, pair.accuracy.interval.high)
        assert ends == pytest.approx((max(low, -1.0), min(high, 1.0)))
    write_findings(found, tmp_path / "report")
    with (tmp_path / "report" / "runs.csv").open(newline="", encoding="utf-8") as file:
        written = {(row["setting"], int(row["seed"])): float(row["accuracy"]) for row in csv.DictReader(file)}
    assert written == pytest.approx(accuracy)


def test_killed_and_run_again_it_comes_to_the_same(whole: Comparison, tmp_path: Path) -> None:
    flags, runs = [*whole.flags, "--output_dir", str(tmp_path)], tmp_path / "runs"
    with start(flags, output=tmp_path.with_name("output"), command="experiments.compare") as process:
        wait_until(lambda: any(stages(folder) for folder in runs.glob("*")), what="a stage")
        process.send_signal(signal.SIGKILL)
    assert len(list(runs.glob("*/summary.json"))) < 4
    main(flags)
    assert (tmp_path / "compare.json").read_bytes() == whole.text


def test_a_cell_that_fails_is_a_row_and_the_others_stay(whole: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    before = whole.text
    more = ("--budgets", "10", "--seeds", "0", "--policies", "Fixed(supervision=answer, slices=1)")
    with pytest.raises(SystemExit) as ended:
        main([*whole.flags, *more, "--output_dir", str(whole.folder)])
    assert ended.value.code == 1
    assert "1 of 1 cells failed" in capsys.readouterr().err
    failed, *others = json.loads(whole.text)["rows"]
    assert (failed["total_flops"], failed["policy"]) == (10, "Fixed(supervision=answer, slices=1)")
    assert "buys no training step" in failed["error"] and "\n" not in failed["error"]
    assert others == json.loads(before)["rows"]
