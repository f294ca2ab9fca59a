"""The page of runs as a file, from hand-built records; and the table and lines on a terminal."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from controller.record import RunRecord
from experiments.findings.findings import Findings
from experiments.page.samples import LONGEST_CHARS, PER_VERDICT, cut
from experiments.page.whole import report_page
from experiments.progress import final_table
from experiments.report import main, write_report
from experiments.summary import flops_text, read_summary, seconds_text, share_text, summary_so_far
from tests.experiments.recorded import (
    CONFIG,
    SUPERVISIONS,
    TASKS,
    add_stages,
    make_record,
    make_stage,
    make_summary,
)
from tests.experiments.run_folders import QUESTIONS, rows, write_run

NOTHING = Findings(question_sets=(), left_out=(), unfinished=())


def page_of(record: RunRecord) -> str:
    return report_page(NOTHING, [(Path("runs/first"), record)])


class Outline(HTMLParser):
    """Collects text, attributes and tags, and notices tags that do not pair up."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link", "input"):
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


def answered(right_of_eleven: int, seed: int) -> list[bool]:
    """A verdict for each question: about so many of eleven are right, one more or less by seed."""
    return [(7 * place + seed) % 11 < right_of_eleven for place in range(QUESTIONS)]


def write_comparison(folder: Path, rights: dict[str, int], *, seeds: int = 3) -> Path:
    """Runs of fixed supervisions, each of which answers about so many of eleven questions rightly."""
    for supervision, right_of_eleven in rights.items():
        for seed in range(seeds):
            right = answered(right_of_eleven, seed)
            run = folder / "runs" / f"{supervision}-{seed}"
            write_run(run, rows(right), supervision=supervision, seed=seed)
            add_stages(run, 2, supervision=supervision)
    return folder


def report_of(folder: Path) -> str:
    """The page that the command writes into a comparison's folder."""
    main([str(folder)])
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_comparison_says_who_is_best_by_how_much_and_what_to_choose(tmp_path: Path) -> None:
    text = outline(report_of(write_comparison(tmp_path, {"answer": 3, "reasoning": 9}))).text
    worse, better = ([np.mean(answered(right, seed)) for seed in range(3)] for right in (3, 9))
    assert f"Fixed(reasoning) is the most accurate: {100 * np.mean(better):.1f}% of {QUESTIONS} test questions" in text
    assert f"is {100 * (np.mean(better) - np.mean(worse)):+.1f} [" in text
    for task, odd in (("add", 1), ("chain", 0)):
        right = [verdict for seed in range(3) for verdict in answered(9, seed)[odd::2]]
        assert re.search(rf"{task}Fixed\(reasoning\){100 * np.mean(right):.1f}%", text)
    for words in ("Which is best", "On what kind of question", "correct answer cost", "Which supervision should I use"):
        assert words in text
    assert "1,000 queries" in text and "10 million queries" in text


def test_a_close_race_is_not_decided(tmp_path: Path) -> None:
    write_comparison(tmp_path, {"answer": 5})
    for seed, right in enumerate((3, 7, 8)):
        write_run(tmp_path / "runs" / f"short-{seed}", rows(answered(right, seed)), supervision="short", seed=seed)
    text = outline(report_of(tmp_path)).text
    assert "Whether it is better than Fixed(answer), the next, is not decided by this data" in text


def test_one_seed_gives_no_interval_over_seeds(tmp_path: Path) -> None:
    text = outline(report_of(write_comparison(tmp_path, {"answer": 3, "reasoning": 9}, seeds=1))).text
    assert "no interval over seeds, 1 seed" in text
    assert "one seed gives no interval" in text


def test_students_that_are_never_right_have_a_page(tmp_path: Path) -> None:
    text = outline(report_of(write_comparison(tmp_path, {"answer": 0, "reasoning": 0}))).text
    assert "no answer is right" in text


def test_every_text_is_escaped_and_every_element_closed(tmp_path: Path) -> None:
    answers = rows([True, False] * (QUESTIONS // 2))
    hostile = '</script><img src=x onerror="f()">'
    answers[1] |= {"output": hostile, "prompt": hostile, "task": hostile, "answer": hostile}
    run = write_run(tmp_path / "<b>run", answers)
    add_stages(run, 2, supervision="answer")
    parts = outline(write_report(run).read_text(encoding="utf-8"))
    assert parts.tags.count("script") == 1
    assert "img" not in parts.tags and "b" in parts.tags
    assert not [name for name, _ in parts.attributes if name.startswith("on") or name == "style"]
    assert parts.text.count(hostile) >= 4
    assert "warm <b>up</b>" in parts.text


def test_half_a_surrogate_pair_is_written(tmp_path: Path) -> None:
    answers = rows([True] * QUESTIONS)
    answers[0]["output"] = "\ud83d"
    page = write_report(write_run(tmp_path / "run", answers)).read_text(encoding="utf-8")
    assert "\\ud83d" in page


def test_the_page_asks_nothing_of_the_network_and_allows_nothing_else(tmp_path: Path) -> None:
    page = report_of(write_comparison(tmp_path, {"answer": 3, "reasoning": 9}))
    assert re.search(r"""\bsrc\s*=|\bhref\s*=\s*["'](?!#|data:,)|url\(|@import|https?:""", page) is None
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]


def test_the_page_is_the_same_every_time(tmp_path: Path) -> None:
    write_comparison(tmp_path, {"answer": 3, "reasoning": 9})
    assert report_of(tmp_path) == report_of(tmp_path)


def test_long_outputs_are_cut_and_counted() -> None:
    assert cut("x" * LONGEST_CHARS) == "x" * LONGEST_CHARS
    shown = cut("a" + "x" * 400_000 + "z")
    assert shown[0] == "a" and shown[-1] == "z" and len(shown) < LONGEST_CHARS + 100
    assert f"{400_002 - LONGEST_CHARS:,} characters left out" in shown


def test_very_long_outputs_do_not_blow_up_the_page(tmp_path: Path) -> None:
    answers = rows([place % 2 == 0 for place in range(300)])
    for row in answers:
        row["output"] = "<" * 100_000
    page = write_report(write_run(tmp_path / "run", answers)).read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    assert page.count("<article") == 2 * PER_VERDICT


def test_samples_are_the_same_questions_for_every_setting(tmp_path: Path) -> None:
    page = report_of(write_comparison(tmp_path, {"answer": 0, "reasoning": 11}, seeds=1))
    prompts = re.findall(r'data-setting="([^"]*)".*?<pre>(.*?)</pre>', page, re.DOTALL)
    by_setting = [[prompt for setting, prompt in prompts if setting == name] for name in dict(prompts)]
    assert len(by_setting) == 2 and by_setting[0] == by_setting[1]


def test_an_unfinished_run_and_an_empty_one_have_a_page() -> None:
    parts = outline(page_of(make_record(3)))
    text = parts.text + "".join(value or "" for _, value in parts.attributes)
    assert "3.3e8 of 1e9 FLOPs" in text
    assert "evaluate 3e6" in text
    assert "not been scored" in text
    for name in (*TASKS, *SUPERVISIONS, "warm <b>up</b>", "Staged", "total_flops"):
        assert name in text
    assert "stages so far" in outline(page_of(make_record(0))).text


def test_probes_without_known_tasks_are_pooled() -> None:
    record = make_record(1)
    record.identity.clear()
    assert "Probe accuracy over the budget" in page_of(record)


def test_many_tasks_and_supervisions_still_draw() -> None:
    tasks = tuple(f"task {index}" for index in range(25))
    text = page_of(make_record(1, tasks))
    assert all(task in text for task in tasks)


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


def test_a_run_folder_gets_its_page_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", rows([True] * 10 + [False] * 30))
    before = {path.name for path in run.iterdir()}
    main([str(run)])
    assert {path.name for path in run.iterdir()} == before | {"report.html"}
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    text = outline((run / "report.html").read_text(encoding="utf-8")).text
    assert "25.0% of 40 test questions" in text and "for this very run" in text


def test_several_folders_make_one_page_and_what_gave_nothing_is_named(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", rows([True] * QUESTIONS))
    other = write_run(tmp_path / "other", rows([False] * QUESTIONS), supervision="reasoning")
    broken = write_run(tmp_path / "broken", rows([True] * QUESTIONS), seed=1)
    (broken / "test.jsonl").unlink()
    main([str(one), str(other), str(broken), str(tmp_path / "nowhere"), "--output_dir", str(tmp_path / "out" / "deep")])
    text = outline((tmp_path / "out" / "deep" / "report.html").read_text(encoding="utf-8")).text
    assert "Fixed(answer)" in text and "Fixed(reasoning)" in text
    assert str(broken) in text and "there is no such folder" in text
    assert (tmp_path / "out" / "deep" / "report.md").is_file()


def test_what_cannot_be_reported_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", rows([True] * QUESTIONS))
    shutil.copytree(run, tmp_path / "other")
    for arguments in ([str(tmp_path)], [str(run), str(tmp_path / "other")], [str(run), "--max_attempts", "0"], []):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1


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
