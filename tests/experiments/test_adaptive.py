"""One real run through the command, as a user starts it, with a policy of the user's own; then what it left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from curricula.corpus import open_corpus
from evaluators.accuracy import wilson
from tests.experiments.runs import LIMIT_SECONDS, start, write_corpus

TOTAL_FLOPS = 20_000_000_000
MODULE = '''
"""Bare answers and short traces side by side; the better one goes on."""

from dataclasses import dataclass, replace

import numpy as np

from curricula.policy import CurriculumPolicy, plan_uniform
from curricula.types import ProbePlan, RunState, StagePlan


@dataclass(frozen=True, kw_only=True)
class Race(CurriculumPolicy):
    share: float = 0.5  # of total_flops, for a round

    def next_stage(self, state: RunState) -> StagePlan | None:
        return None

    def next_stages(self, state: RunState) -> tuple[StagePlan, ...]:
        ceiling_flops = min(int(self.share * state.total_flops), state.remaining_flops) // 2
        probe = ProbePlan(example_P=np.arange(6, dtype=np.int32), supervisions=("answer",))
        names = ("answer", "compressed")
        plans = [plan_uniform(state, name, ceiling_flops=ceiling_flops, probe=probe) for name in names]
        row_M = np.arange(4, dtype=np.int32)
        return replace(plans[0], score_example_M=row_M, score_supervision_M=np.zeros(4, dtype=np.int32)), plans[1]
'''


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run, and the same again elsewhere with two workers."""

    folder: Path
    again: Path
    corpus: Path
    printed: str
    told: str

    @property
    def summary(self) -> dict[str, object]:
        """summary.json."""
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    def lines(self, name: str) -> list[dict[str, object]]:
        """The objects of one of its .jsonl files."""
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two processes, one after the other."""
    folder = tmp_path_factory.mktemp("adaptive")
    (folder / "modules").mkdir()
    (folder / "modules" / "my_policies.py").write_text(MODULE, encoding="utf-8")
    corpus = write_corpus(folder / "corpus.jsonl")
    shared = (
        *("--policy", "my_policies.Race", "--policy.share", "0.45", "--student", "tiny-0.2m", "--threads", "1"),
        *("--corpus", str(corpus), "--total_flops", str(TOTAL_FLOPS), "--final_split", "test", "--seed", "3"),
        *("--batch_answers", "4", "--max_output_tokens", "50", "--cache_dir", str(folder / "cache")),
    )
    for name, workers in (("once", "1"), ("again", "2")):
        flags = (*shared, "--num_workers", workers, "--output_dir", str(folder / name))
        with start(flags, output=folder / f"{name}-output", modules=folder / "modules") as process:
            code = process.wait(timeout=LIMIT_SECONDS)
        assert code == 0, (folder / f"{name}-output.err").read_text(encoding="utf-8")
    return Finished(
        folder=folder / "once",
        again=folder / "again",
        corpus=corpus,
        printed=(folder / "once-output.out").read_text(encoding="utf-8"),
        told=(folder / "once-output.err").read_text(encoding="utf-8"),
    )


def mapping(value: object) -> Mapping[str, object]:
    """A JSON object."""
    assert isinstance(value, dict)
    return value


def number(value: object) -> float:
    """A JSON number."""
    assert isinstance(value, int | float) and not isinstance(value, bool)
    return value


def charged(lines: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """FLOPs by purpose, added up from what every stage recorded."""
    total: dict[str, float] = {}
    for line in lines:
        charges = line["charges"]
        assert isinstance(charges, list)
        for charge in charges:
            purpose = charge["purpose"]
            total[purpose] = total.get(purpose, 0) + charge["flops"]
    return total


def test_the_spend_adds_up_and_stays_within_the_budget(finished: Finished) -> None:
    summary = finished.summary
    charges = mapping(summary["charges"])
    assert set(charges) == {"train", "probe", "features", "teach", "compress"}
    paid = sum(number(charges[purpose]) for purpose in ("train", "probe", "features"))
    assert summary["spent_flops"] == paid
    assert summary["total_flops"] == TOTAL_FLOPS
    assert 0.5 * TOTAL_FLOPS < paid <= TOTAL_FLOPS
    again = charged(finished.lines("stages.jsonl"))
    assert {purpose: again[purpose] for purpose in again} == {purpose: charges[purpose] for purpose in again}
    assert set(again) == {"train", "probe", "features"}
    assert set(mapping(summary["recorded"])) == {"evaluate"}
    assert summary["stages"] == len(finished.lines("stages.jsonl")) >= 2


def test_the_summary_says_what_was_run(finished: Finished) -> None:
    summary = finished.summary
    assert summary["policy"] == {"class_path": "my_policies.Race", "init_args": {"share": 0.45}}
    assert (summary["student"], summary["corpus"], summary["seed"]) == ("tiny-0.2m", str(finished.corpus), 3)
    config = yaml.safe_load((finished.folder / "config.yaml").read_text(encoding="utf-8"))
    assert config["policy"] == summary["policy"]
    assert summary["lost"] == {"attempts": 0, "flops_at_most": 0}


@pytest.mark.parametrize("split", ["dev", "test"])
def test_accuracies_are_those_of_the_answers_kept(finished: Finished, split: str) -> None:
    scores = mapping(finished.summary[split])
    rows = finished.lines(f"{split}.jsonl")
    corpus = open_corpus(finished.corpus)
    assert len(rows) == len(corpus.rows("dev" if split == "dev" else "test"))
    _check(scores, rows)
    examples = {row["id"]: row for row in corpus.examples.to_pylist()}
    for group, column in (("by_task", "task"), ("by_kind", "kind"), ("by_domain", "domain")):
        groups = mapping(scores[group])
        assert set(groups) == {examples[row["id"]][column] for row in rows}
        for name, score in groups.items():
            _check(mapping(score), [row for row in rows if examples[row["id"]][column] == name])


@pytest.mark.parametrize("split", ["dev", "test"])
def test_likelihoods_of_choices_are_those_kept_of_choice_questions_alone(finished: Finished, split: str) -> None:
    rows = finished.lines(f"{split}.jsonl")
    assert all(("choice_likelihood" in row) == (row["kind"] == "choice") for row in rows)
    kept = [mapping(row["choice_likelihood"]) for row in rows if "choice_likelihood" in row]
    score = mapping(mapping(finished.summary[split])["choice_likelihood"])
    right = 0
    for row, one in ((row, mapping(row["choice_likelihood"])) for row in rows if "choice_likelihood" in row):
        nats = one["nats"]
        assert isinstance(nats, list)
        assert one["choice"] == "ABC"[int(np.argmin(nats))]
        assert one["correct"] == (one["choice"] == row["answer"])
        right += bool(one["correct"])
    assert (score["n"], score["unknown"]) == (len(kept), 0)
    assert score["accuracy"] == pytest.approx(right / len(kept))
    assert score["ci95"] == pytest.approx(list(wilson(right, len(kept))))


def test_bands_of_difficulty_are_those_of_the_questions_kept(finished: Finished) -> None:
    rows = finished.lines("dev.jsonl")
    groups = mapping(mapping(finished.summary["dev"])["by_difficulty"])
    assert set(groups) == {row["band"] for row in rows}
    for name, score in groups.items():
        _check(mapping(score), [row for row in rows if row["band"] == name])


def test_waiting_and_memory_are_told(finished: Finished) -> None:
    summary = finished.summary
    waiting = mapping(summary["latency"])
    assert (waiting["answers"], waiting["threads"], waiting["device"]) == (16, 1, "cpu")
    assert 0 < number(waiting["median_seconds"]) <= number(waiting["p90_seconds"])
    weights = sum(
        parameter.nbytes for parameter in AutoModelForCausalLM.from_pretrained(finished.folder / "student").parameters()
    )
    tokens = [number(row["prompt_tokens"]) + number(row["output_tokens"]) for row in finished.lines("dev.jsonl")]
    cached = 2 * 4 * 64 * 4 * float(np.mean(tokens))  # keys and values of four layers, 64 wide, in fp32
    assert summary["serving_bytes"] == pytest.approx(weights + cached)
    peaks = mapping(summary["peak_train_bytes"])
    assert set(peaks) == {"answer", "compressed"}
    for peak in peaks.values():
        assert peak is None or weights < number(peak) <= number(summary["peak_worker_bytes"])


def _check(score: Mapping[str, object], rows: Sequence[Mapping[str, object]]) -> None:
    correct = [bool(row["correct"]) for row in rows]
    assert score["n"] == len(rows)
    assert score["accuracy"] == pytest.approx(np.mean(correct))
    assert score["ci95"] == pytest.approx(list(wilson(sum(correct), len(correct))))
    assert score["mean_output_tokens"] == pytest.approx(np.mean([number(row["output_tokens"]) for row in rows]))
    assert score["truncated"] == pytest.approx(np.mean([bool(row["truncated"]) for row in rows]))


def test_the_same_run_elsewhere_with_two_workers_leaves_the_same_bytes(finished: Finished) -> None:
    for name in ("stages.jsonl", "dev.jsonl", "test.jsonl", "config.yaml"):
        assert (finished.folder / name).read_bytes() == (finished.again / name).read_bytes(), name
    weights, others = (
        AutoModelForCausalLM.from_pretrained(folder / "student").state_dict()
        for folder in (finished.folder, finished.again)
    )
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_student_is_a_checkpoint_that_others_can_load(finished: Finished) -> None:
    model = AutoModelForCausalLM.from_pretrained(finished.folder / "student").eval()
    tokenizer = AutoTokenizer.from_pretrained(finished.folder / "student")
    assert (finished.folder / "student" / "README.md").is_file()
    row = finished.lines("test.jsonl")[0]
    prompt = tokenizer(str(row["prompt"]), return_tensors="pt")
    with torch.no_grad():
        logits = model(**prompt).logits
    assert logits.shape == (1, prompt["input_ids"].shape[1], len(tokenizer))
    assert torch.isfinite(logits).all()


def test_a_person_finds_a_table_a_report_and_no_noise(finished: Finished) -> None:
    assert (finished.folder / "report.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    assert "overall" in finished.printed and "report.html" in finished.printed
    assert "Traceback" not in finished.told
    assert all("tokens/s" in line for line in finished.told.splitlines()), finished.told
