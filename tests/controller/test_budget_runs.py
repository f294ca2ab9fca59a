"""A real run on a budget in tokens: within it to the last token, and the same bytes after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from controller.config import Json
from controller.controller import Measured
from controller.record import read_run
from controller.students import Students
from curricula.types import StagePlan
from experiments.adaptive import main
from tests.experiments.runs import stages, write_corpus

TOTAL_TOKENS = 12_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """A run on tokens that nothing interrupted, and the flags that make it again."""

    folder: Path
    flags: tuple[str, ...]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Three stages with a probe after each; one Ray for all."""
    folder = tmp_path_factory.mktemp("tokens")
    corpus = write_corpus(folder / "corpus.jsonl", supervisions=("answer", "compressed"))
    flags = (
        *("--student", "tiny-0.2m", "--corpus", str(corpus), "--threads", "1", "--step_tokens", "256"),
        *("--total_tokens", str(TOTAL_TOKENS), "--dollars_per_hour.cpu", "0.36", "--max_output_tokens", "40"),
        *("--policy", "Fixed", "--policy.supervision", "compressed", "--policy.slices", "3"),
        *("--policy.probe_examples", "4", "--eval_examples", "4", "--cache_dir", str(folder / "cache")),
    )
    try:
        main([*flags, "--output_dir", str(folder / "run")])
        yield Place(folder=folder / "run", flags=flags)
    finally:
        ray.shutdown()


def _summary(folder: Path) -> dict[str, Json]:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def _amounts(value: Json) -> dict[str, float]:
    assert isinstance(value, dict)
    return {name: amount for name, amount in value.items() if isinstance(amount, int | float)}


def test_the_budget_is_used_up_and_never_passed(place: Place) -> None:
    summary = _summary(place.folder)
    budget, spent = _amounts(summary["budget"]), summary["spent"]
    assert isinstance(spent, dict)
    paid = [_amounts(spent[purpose]) for purpose in ("train", "probe", "features")]
    assert budget["total"] == TOTAL_TOKENS
    assert 0.9 * TOTAL_TOKENS < budget["spent"] <= TOTAL_TOKENS
    assert budget["spent"] == sum(amounts["tokens"] for amounts in paid)
    assert summary["spent_flops"] == sum(amounts["flops"] for amounts in paid)
    assert summary["replay"] == {"bitwise": True, "ended_by": []}
    for amounts in (*paid, _amounts(spent["evaluate"])):
        assert amounts["dollars"] == pytest.approx(1e-4 * amounts["seconds"])
        assert (amounts["seconds"] > 0) == (amounts["tokens"] > 0)


def test_an_interrupted_run_comes_to_the_same_bytes_and_keeps_its_seconds(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*place.flags, "--output_dir", str(tmp_path / "run")]
    measure = Students.measure

    def interrupted(self: Students, plan: StagePlan, checkpoint: str) -> Measured:
        if checkpoint == "0001":
            raise KeyboardInterrupt
        return measure(self, plan, checkpoint)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Students, "measure", interrupted)
        main(flags)
    first = [line for line in read_run(tmp_path / "run").timings if line["event"] == "charged"]
    assert len(first) == 1
    main([*flags, "--resume", "true"])
    assert stages(tmp_path / "run") == stages(place.folder)
    record = read_run(tmp_path / "run")
    charged = [line["busy_seconds"] for line in record.timings if line["event"] == "charged"]
    assert charged[0] == first[0]["busy_seconds"] and len(charged) == len(record.results)
    summary, other = _summary(tmp_path / "run"), _summary(place.folder)
    assert summary["budget"] == other["budget"] and summary["charges"] == other["charges"]
    spent = summary["spent"]
    assert isinstance(spent, dict)
    trained = [line["train"] for stages in charged if isinstance(stages, list) for line in map(_amounts, stages)]
    assert _amounts(spent["train"])["seconds"] == pytest.approx(sum(trained))
