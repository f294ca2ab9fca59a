"""The page of a run, and the table and lines on a terminal, from hand-built records."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from controller.record import RunFolder
from curricula.types import Charge, ProbeOutcomes, StageResult, TrainingLoss
from evaluators.accuracy import Outputs, score
from experiments.progress import final_table
from experiments.report import report_html, write_report
from experiments.summary import flops_text, read_summary, seconds_text, share_text, summary_so_far

TASKS = ("add", "chain <script>f()</script>", "max & $min$")
SUPERVISIONS = ("answer", "compressed:steps@0.3#gpt-oss")
PROBE_TASKS = tuple(TASKS[row % 3] for row in range(30))
CONFIG: dict[str, object] = {"policy": {"class_path": "curricula.policies.Staged"}, "total_flops": 1e9, "seed": 3}
VOID = ("meta", "link", "br", "img", "hr", "input")


def make_stage(index: int, *, name: str = "warm <b>up</b>", probe: bool = True) -> StageResult:
    rng = np.random.default_rng(index)
    outcomes = ProbeOutcomes(
        example_P=np.arange(30, dtype=np.int32),
        condition_P=("free",) * 30,
        solved_P=rng.random(30) < 0.5,
        output_tokens_P=np.full(30, 4, dtype=np.int32),
        loss_P=np.full(30, np.nan),
    )
    losses = tuple(
        TrainingLoss(
            task=task, supervision=supervision, examples=8, supervised_tokens=80, loss=float(rng.random()), flops=10**7
        )
        for task in TASKS
        for supervision in SUPERVISIONS
    )
    nothing = np.empty(0, dtype=np.int32)
    return StageResult(
        index=index,
        round=index,
        name=name,
        plan_digest="",
        start=None,
        checkpoint=f"{index:04d}",
        state_digest="",
        steps=7,
        charges=(
            Charge(purpose="train", flops=10**8, positions=10, tokens=9),
            Charge(purpose="probe", flops=10**7, positions=10, tokens=9),
            Charge(purpose="evaluate", flops=10**6, positions=10, tokens=9),
        ),
        losses=losses,
        mix=((SUPERVISIONS[0], 30, 4 * 10**7), (SUPERVISIONS[1], 10, 6 * 10**7)),
        example_R=nothing,
        supervision_R=nothing,
        seen_R=nothing,
        loss_R=np.empty(0, dtype=np.float32),
        probe=outcomes if probe else None,
        score_M=None,
        score_example_M=None,
        score_supervision_M=None,
    )


def make_summary() -> dict[str, object]:
    rng = np.random.default_rng(0)
    outputs = Outputs(
        correct_N=rng.random(90) < 0.7,
        output_tokens_N=rng.integers(1, 30, 90).astype(np.int32),
        truncated_N=rng.random(90) < 0.1,
        task_N=tuple(TASKS[row % 3] for row in range(90)),
        kind_N=("open",) * 90,
        domain_N=("in_domain",) * 90,
    )
    return {
        "policy": {"class_path": "curricula.policies.staged.Staged", "init_args": {"warmup": 0.25}},
        "student": "tiny",
        "corpus": "procedural",
        "seed": 3,
        "budget": {"unit": "flops", "total": 10**9, "spent": 330_000_000, "dollars_per_hour": 0.05},
        "spent": {
            "train": {"flops": 3 * 10**8, "tokens": 27, "seconds": 6.0, "dollars": 0.0123},
            "probe": {"flops": 3 * 10**7, "tokens": 27, "seconds": 1.5, "dollars": 0.004},
            "features": {"flops": 0, "tokens": 0, "seconds": 0.0, "dollars": 0.0},
            "evaluate": {"flops": 3 * 10**6, "tokens": 27, "seconds": 0.1, "dollars": 0.0},
        },
        "total_flops": 10**9,
        "spent_flops": 330_000_000,
        "charges": {"train": 3 * 10**8, "probe": 3 * 10**7, "features": 0, "teach": 5 * 10**9, "compress": 0},
        "recorded": {"evaluate": 3 * 10**6},
        "dev": score(outputs).to_json(),
        "difficulty": {"auc": 0.66, "base_rate": 0.5, "n": 60},
        "mix_by_examples": {SUPERVISIONS[0]: 0.75, SUPERVISIONS[1]: 0.25},
        "mix_by_flops": {SUPERVISIONS[0]: 0.4, SUPERVISIONS[1]: 0.6},
        "lost": {"attempts": 1, "flops_at_most": 10**7},
        "wall_seconds": 98.5,
    }


def make_page(summary: dict[str, object] | None, stages: int = 3) -> str:
    results = tuple(make_stage(index) for index in range(stages))
    return report_html(
        config=CONFIG,
        results=results,
        summary=summary,
        supervisions=SUPERVISIONS,
        tasks=TASKS,
        probe_task_N=PROBE_TASKS,
    )


class Outline(HTMLParser):
    """Collects text, attributes and tags, and notices tags that do not pair up."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_the_page_shows_what_the_run_scored_and_paid() -> None:
    summary = make_summary()
    text = outline(make_page(summary)).text
    scores = read_summary(summary).dev
    assert scores is not None
    assert f"{100 * scores.overall.accuracy:.1f}%" in text
    assert "33%" in text
    assert "3.3e8 of 1e9 FLOPs" in text
    assert "teach 5e9" in text
    assert "evaluate 3e6" in text
    assert "0.66" in text
    for name in (*TASKS, *SUPERVISIONS, "warm <b>up</b>", "Staged", "total_flops"):
        assert name in text


def test_names_from_corpora_and_policies_never_become_markup() -> None:
    parts = outline(make_page(make_summary()))
    assert "script" not in parts.tags
    assert "warm <b>up</b>" in parts.text


def test_the_page_asks_nothing_of_the_network() -> None:
    page = make_page(make_summary())
    assert re.search(r"""(?:src|href)\s*=\s*["'](?!#)|url\((?!#)|@import|<link|<script""", page) is None


def test_the_page_is_the_same_every_time() -> None:
    assert make_page(make_summary()) == make_page(make_summary())


def test_charts_take_their_colours_from_the_page() -> None:
    page = make_page(make_summary())
    assert "#fe01" not in page
    assert "#fe02" not in page
    assert page.count("<svg") == 4 + len(SUPERVISIONS)


def test_an_unfinished_run_and_an_empty_one_have_a_page() -> None:
    text = outline(make_page(None)).text
    assert "3.3e8 of 1e9 FLOPs" in text
    assert "not been scored" in text
    assert "stages so far" in outline(make_page(None, stages=0)).text


def test_probes_without_known_tasks_are_pooled() -> None:
    page = report_html(
        config=CONFIG, results=(make_stage(0),), summary=None, supervisions=SUPERVISIONS, tasks=TASKS, probe_task_N=()
    )
    assert "all tasks" in outline(page).text


def test_many_tasks_and_supervisions_still_draw() -> None:
    tasks = tuple(f"task {index}" for index in range(25))
    stage = make_stage(0)
    losses = tuple(dataclasses.replace(stage.losses[0], task=task) for task in tasks)
    page = report_html(
        config=CONFIG,
        results=(dataclasses.replace(stage, losses=losses),),
        summary=None,
        supervisions=SUPERVISIONS,
        tasks=tasks,
        probe_task_N=tuple(tasks[row % 25] for row in range(30)),
    )
    assert all(task in outline(page).text for task in tasks)


def test_a_finished_summary_agrees_with_the_same_stages_unfinished() -> None:
    finished = read_summary(make_summary())
    so_far = summary_so_far(CONFIG, [make_stage(index) for index in range(3)], ())
    assert so_far.spent_flops == finished.spent_flops
    assert so_far.recorded == finished.recorded
    assert so_far.mix_by_examples == pytest.approx(finished.mix_by_examples)
    assert so_far.mix_by_flops == pytest.approx(finished.mix_by_flops)
    assert so_far.charges == {name: finished.charges[name] for name in ("train", "probe", "features")}


def test_a_summary_of_another_form_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"summary\.spent_flops must be a number, got None"):
        read_summary({name: value for name, value in make_summary().items() if name != "spent_flops"})
    with pytest.raises(ValueError, match=r"summary\.dev must be a mapping"):
        read_summary(make_summary() | {"dev": 3})


def test_a_run_folder_gets_its_page(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path, resume=False)
    folder.begin(
        {"tasks": list(TASKS), "supervisions": list(SUPERVISIONS), "probe_tasks": list(PROBE_TASKS)},
        {"policy": "Staged", "total_flops": 1e9, "seed": 3},
    )
    for index in range(2):
        folder.append([make_stage(index)], [{"train": 2.0, "probe": 0.5}])
    folder.close()
    path = write_report(tmp_path)
    text = outline(path.read_text(encoding="utf-8")).text
    assert "2.2e8 of 1e9 FLOPs" in text
    assert all(task in text for task in TASKS)


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.report", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_the_final_table_names_every_group_and_the_spend() -> None:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(final_table(json.loads(json.dumps(make_summary()))))
    text = " ".join(console.export_text().split())
    for name in (*TASKS, "open", "in_domain", "overall", "3.3e8 of 1e9", "train 3e8", "evaluate 3e6 (recorded)"):
        assert name in text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (flops_text(0), "0"),
        (flops_text(4e12), "4e12"),
        (flops_text(9.999e11), "1e12"),
        (share_text(0.0), "0%"),
        (share_text(1.0), "100%"),
        (share_text(0.9999), ">99%"),
        (share_text(1e-5), "<0.1%"),
        (share_text(0.0996), "10%"),
        (seconds_text(59.6), "1 min 0 s"),
        (seconds_text(3600), "1 h 0 min"),
    ],
)
def test_amounts_are_written_for_people(written: str, read: str) -> None:
    assert written == read
