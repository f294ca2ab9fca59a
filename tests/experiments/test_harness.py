"""A student through lm-evaluation-harness: one task of our own, on this machine; and what is said without the extra."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

from evaluators.harness import harness_task
from experiments.measures import read_measures
from tests.experiments.runs import LIMIT_SECONDS, ROOT
from trainers.student import Student, load_student

QUESTIONS = [
    {"question": f"which is larger, A {left} or B {right}?", "choices": ["A", "B"], "gold": int(right > left)}
    for left, right in ((531, 781), (931, 781), (12, 90), (77, 13), (410, 409), (8, 9))
]
TASK = {
    "task": "larger",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}\n",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "gold",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1.5},
}


def _finished_run(folder: Path) -> Student:
    """As much of a run as the command reads."""
    student = load_student("tiny-0.2m", seed=4, cache_dir=folder)
    student.model.save_pretrained(folder / "student")
    student.tokenizer.save_pretrained(folder / "student")
    (folder / "identity.json").write_text(json.dumps({"tasks": [], "supervisions": []}), encoding="utf-8")
    (folder / "config.yaml").write_text("threads: 1\n", encoding="utf-8")
    old = {"harness_version": "0", "task_version": "1", "metrics": {"acc,none": 0.5}, "standard_errors": {}}
    (folder / "summary.json").write_text(json.dumps({"stages": 1, "harness": {"other": old}}), encoding="utf-8")
    return student


def _run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.harness", str(folder), *flags]
    # The harness reads the names of some thousands of tasks first.
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3 * LIMIT_SECONDS, check=False)


def _likelier(student: Student, question: str) -> int:
    """The choice with the likelier token right after the question."""
    prompt = student.tokenizer.encode(f"{question}\n", add_special_tokens=False)
    letters = [student.tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "AB"]
    with torch.no_grad():
        logits = student.model.eval()(input_ids=torch.tensor([prompt])).logits[0, -1]
    return int(logits[letters].argmax())


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="the lm-eval extra is installed")
def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    _finished_run(tmp_path)
    ended = _run(tmp_path, "--tasks", "larger")
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines() == [
        "error: lm-evaluation-harness is not installed; install it with: pip install -e '.[lm-eval]'"
    ]


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the lm-eval extra: pip install -e '.[lm-eval]'")
def test_a_task_of_ones_own_scores_as_plain_forward_passes_do_and_stands_beside_earlier_ones(tmp_path: Path) -> None:
    student = _finished_run(tmp_path)
    (tmp_path / "tasks").mkdir()
    data = tmp_path / "larger.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS), encoding="utf-8")
    task = {**TASK, "dataset_kwargs": {"data_files": {"test": str(data)}}}
    (tmp_path / "tasks" / "larger.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    ended = _run(tmp_path, "--tasks", "larger", "--include_path", str(tmp_path / "tasks"))
    assert ended.returncode == 0, ended.stderr
    found = read_measures(json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))).harness
    assert set(found) == {"other", "larger"}
    right = [_likelier(student, str(one["question"])) == one["gold"] for one in QUESTIONS]
    share = sum(right) / len(right)
    assert found["larger"].metrics == {"acc,none": pytest.approx(share)}
    error = math.sqrt(share * (1 - share) / (len(right) - 1))
    assert found["larger"].standard_errors == {"acc,none": pytest.approx(error)}
    assert (found["larger"].n, found["larger"].task_version, found["larger"].num_fewshot) == (len(right), "1.5", 0)
    assert "larger" in ended.stdout


def test_a_group_has_metrics_and_no_questions_of_its_own() -> None:
    said: dict[str, dict[str, dict[str, object]]] = {
        "results": {"all": {"alias": "all", "acc,none": 0.25, "acc_stderr,none": "N/A"}},
        "versions": {},
        "n-shot": {},
        "n-samples": {},
    }
    got = harness_task("all", said, harness_version="0.4.13")
    assert (got.metrics, got.standard_errors, got.n, got.task_version) == ({"acc,none": 0.25}, {}, None, "")
