"""What many runs say together, on folders made by hand: hard cases, and figures that can be had another way."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from controller.config import Json
from evaluators.saturating import NotFitted
from experiments.comparison.grid import Cell
from experiments.comparison.progress import final_tables
from experiments.findings.finding import find
from experiments.findings.findings import Findings, FinishedRun, QuestionSet
from experiments.findings.reader import ReaderFlags, reader_of
from experiments.findings.reading import read_runs
from experiments.findings.words import report_text
from experiments.findings.writing import csv_text, write_findings
from tests.experiments.recorded import add_stages
from tests.experiments.run_folders import QUESTIONS, rows, write_run


def share_right(right: int, *, of: int = QUESTIONS, ungraded: int = 0) -> list[bool | None]:
    """The first so many right, the last so many ungraded."""
    return [None if place >= of - ungraded else place * right % of < right for place in range(of)]


def findings(*folders: Path, flags: ReaderFlags | None = None) -> Findings:
    read = read_runs(folders)
    return find(read, reader_of(flags or ReaderFlags(), read.runs))


def one_set(found: Findings) -> QuestionSet:
    (each,) = found.question_sets
    return each


def two_policies(tmp_path: Path, seeds: Sequence[int] = (0, 1, 2)) -> list[Path]:
    """`reasoning` is right more often than `answer`, in five times the tokens."""
    return [
        *(write_run(tmp_path / f"a{seed}", rows(share_right(10 + seed)), seed=seed) for seed in seeds),
        *(
            write_run(
                tmp_path / f"r{seed}",
                rows(share_right(30 - seed), tokens=25, thinks=True),
                supervision="reasoning",
                seed=seed,
            )
            for seed in seeds
        ),
    ]


def test_runs_alike_but_for_their_seed_are_one_setting(tmp_path: Path) -> None:
    each = one_set(findings(*two_policies(tmp_path)))
    assert [setting.name for setting in each.settings] == ["Fixed(supervision=reasoning)", "Fixed(supervision=answer)"]
    assert [setting.graded.seeds_K for setting in each.settings] == [(0, 1, 2)] * 2
    assert (each.corpus, each.split, each.questions) == ("sums", "test", QUESTIONS)


def test_differences_are_paired_and_have_the_t_interval_of_their_seeds(tmp_path: Path) -> None:
    (pair,) = one_set(findings(*two_policies(tmp_path))).differences
    by_seed = [(30 - seed) / QUESTIONS - (10 + seed) / QUESTIONS for seed in range(3)]
    mean = sum(by_seed) / 3
    half = 4.302652729749 * math.sqrt(sum((x - mean) ** 2 for x in by_seed) / 2 / 3)
    assert pair.accuracy.value == pytest.approx(mean)
    assert pair.accuracy.interval is not None
    assert (pair.accuracy.interval.low, pair.accuracy.interval.high) == pytest.approx((mean - half, mean + half))


def test_raw_is_what_shows_full_traces(tmp_path: Path) -> None:
    each = one_set(findings(*two_policies(tmp_path)))
    assert each.raw == "Fixed(supervision=reasoning)"
    raw, answer = each.settings
    assert raw.retention is not None and raw.retention.value == 1.0
    assert answer.retention is not None and answer.retention.value == pytest.approx(33 / 87)
    tokens = [sum(5 + place % 3 for place in range(QUESTIONS)), sum(25 + place % 3 for place in range(QUESTIONS))]
    assert answer.token_efficiency is not None
    assert answer.token_efficiency.value == pytest.approx(33 / 87 * tokens[1] / tokens[0])


def test_other_questions_are_another_set_and_never_compared(tmp_path: Path) -> None:
    found = findings(
        write_run(tmp_path / "a", rows(share_right(10))),
        write_run(tmp_path / "b", rows(share_right(20), prefix="p"), supervision="reasoning"),
        write_run(tmp_path / "c", rows(share_right(20)), supervision="reasoning", corpus_fingerprint="other"),
        write_run(tmp_path / "d", rows(share_right(20)), supervision="reasoning", split="dev"),
        write_run(tmp_path / "e", rows(share_right(20)), supervision="reasoning", config={"grader": "mine.grade"}),
    )
    assert len(found.question_sets) == 5
    assert [each.differences for each in found.question_sets] == [()] * 5
    assert "5 different sets of questions" in report_text(found)


def test_folders_that_cannot_be_read_are_named_and_the_rest_stays(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", rows(share_right(10)))
    folders = {
        name: write_run(tmp_path / name, rows(share_right(10)), seed=1)
        for name in ("cut", "bare", "torn", "odd", "boundless", "unsaid")
    }
    whole = (folders["cut"] / "test.jsonl").read_text()
    (folders["cut"] / "test.jsonl").write_text(whole[: len(whole) // 2])
    (folders["bare"] / "test.jsonl").unlink()
    (folders["torn"] / "summary.json").write_text('{"policy": {')
    (folders["odd"] / "test.jsonl").write_text(whole.replace('"correct": true', '"correct": "yes"', 1))
    summary = (folders["boundless"] / "summary.json").read_text()
    (folders["boundless"] / "summary.json").write_text(
        summary.replace('"total_flops": 1000000000', '"total_flops": 1e999')
    )
    (folders["unsaid"] / "identity.json").write_text("[]")
    (tmp_path / "nothing").mkdir()
    found = findings(good, *folders.values(), tmp_path / "nothing", tmp_path / "absent")
    reasons = {each.folder.name: each.reason for each in found.left_out}
    assert set(reasons) == {*folders, "nothing", "absent"}
    assert "whole lines of 40" in reasons["cut"]
    assert "missing" in reasons["bare"]
    assert "total_flops" in reasons["boundless"]
    assert all("cannot be read" in reasons[name] for name in ("torn", "unsaid"))
    assert "line 1" in reasons["odd"] and "'yes'" in reasons["odd"]
    assert not any("\n" in reason for reason in reasons.values())
    assert [run.folder for setting in one_set(found).settings for run in setting.runs] == [good]
    assert all(name in report_text(found) for name in reasons)


def test_a_finished_run_whose_stages_were_cut_is_left_out(tmp_path: Path) -> None:
    good, cut = (
        write_run(tmp_path / name, rows(share_right(10)), seed=seed, summary={"stages": 3})
        for seed, name in enumerate(("good", "cut"))
    )
    for folder in (good, cut):
        add_stages(folder, 3)
    whole = (cut / "stages.jsonl").read_text()
    (cut / "stages.jsonl").write_text(whole[: len(whole) * 2 // 3])
    (left,) = findings(good, cut).left_out
    assert left.folder == cut
    assert "2 whole stages of 3" in left.reason or "1 whole stages of 3" in left.reason


def test_other_library_versions_are_noted(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"{seed}", rows(share_right(10 + seed)), seed=seed) for seed in range(2)]
    for folder, version in zip(folders, ("2.1", "2.2"), strict=True):
        identity = json.loads((folder / "identity.json").read_text())
        (folder / "identity.json").write_text(json.dumps({**identity, "versions": {"torch": version, "numpy": "2.4"}}))
    (note,) = one_set(findings(*folders)).notes
    assert "torch 2.1 and 2.2" in note and "numpy" not in note
    assert one_set(findings(folders[0])).notes == ()


def test_a_run_without_scores_is_unfinished(tmp_path: Path) -> None:
    begun = write_run(tmp_path / "begun", rows(share_right(10)))
    (begun / "summary.json").unlink()
    (begun / "stages.jsonl").write_text('{"index": 0, "rou')
    found = findings(begun)
    assert (found.question_sets, found.left_out, found.unfinished) == ((), (), (begun,))


def test_nothing_at_all_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing to report: .*absent: there is no such folder"):
        read_runs([tmp_path / "absent"])


def test_a_comparison_gives_its_runs_and_its_failed_cells(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", rows(share_right(10)))
    cells = [{"folder": "runs/one"}, {"folder": "runs/two", "error": "no example offers supervision 'short'"}]
    (tmp_path / "compare.json").write_text(json.dumps({"settings": {}, "rows": cells}))
    found = findings(tmp_path)
    assert len(one_set(found).settings) == 1
    assert [(each.folder, each.reason) for each in found.left_out] == [
        (tmp_path / "runs" / "two", "no example offers supervision 'short'")
    ]


def test_the_same_setting_and_seed_twice_is_left_out_by_name(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", rows(share_right(10)))
    second = write_run(tmp_path / "second", rows(share_right(20)))
    found = findings(first, second, first)
    assert [each.folder for each in found.left_out] == [second]
    assert str(first) in found.left_out[0].reason


def test_runs_that_differ_in_more_than_their_seed_are_settings_apart(tmp_path: Path) -> None:
    each = one_set(
        findings(
            write_run(tmp_path / "a", rows(share_right(20))),
            write_run(tmp_path / "b", rows(share_right(10)), seed=1, config={"lora_rank": 8}),
            write_run(tmp_path / "c", rows(share_right(19)), seed=2, config={"threads": 4}),
        )
    )
    names = {setting.name: setting.graded.seeds_K for setting in each.settings}
    assert names == {"Fixed(supervision=answer)": (0, 2), "Fixed(supervision=answer), lora_rank=8": (1,)}


def test_another_student_of_the_same_name_is_left_out(tmp_path: Path) -> None:
    one, other = (
        write_run(tmp_path / name, rows(share_right(10)), supervision=name) for name in ("answer", "reasoning")
    )
    identity = json.loads((other / "identity.json").read_text())
    (other / "identity.json").write_text(json.dumps({**identity, "student_digest": "other weights"}))
    found = findings(one, other)
    assert [each.folder for each in found.left_out] == [other]


def test_one_seed_has_no_interval_over_seeds_and_decides_nothing(tmp_path: Path) -> None:
    found = findings(*two_policies(tmp_path, seeds=(0,)))
    each = one_set(found)
    assert all(setting.scores[0].accuracy.interval is None for setting in each.settings)
    assert all(setting.scores[0].accuracy.given_seeds is not None for setting in each.settings)
    assert each.differences[0].accuracy.interval is None
    assert each.decisions is not None
    assert {cell.verdict for cell in each.decisions.cells} == {"too little data"}
    assert "it takes two seeds" in report_text(found)


def test_pairs_are_compared_under_their_common_seeds_which_are_named(tmp_path: Path) -> None:
    folders = two_policies(tmp_path)
    found = one_set(findings(*folders[:2], *folders[4:]))  # answer: 0, 1; reasoning: 1, 2
    assert found.differences[0].seeds == (1,) == found.frontier_seeds
    assert found.differences[0].accuracy.value == pytest.approx((29 - 11) / QUESTIONS)
    assert any("0, 1" in note and "1, 2" in note for note in found.notes)


def test_settings_without_a_common_seed_are_not_compared(tmp_path: Path) -> None:
    folders = two_policies(tmp_path)
    found = one_set(findings(folders[0], folders[4]))
    assert (found.differences, found.training_frontier, found.inference_frontier) == ((), None, None)


def test_without_a_right_answer_nothing_is_divided(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / f"{name}{seed}", rows(share_right(0)), supervision=name, seed=seed)
        for name in ("answer", "reasoning")
        for seed in (0, 1)
    ]
    found = findings(*folders)
    each = one_set(found)
    assert [setting.retention for setting in each.settings] == [None, None]
    assert each.costs is not None and each.decisions is not None
    assert all(owned.dollars_per_correct.value is None for of in each.costs.owned.values() for owned in of)
    assert {cell.verdict for cell in each.decisions.cells} == {"none right"}
    assert "none right" in report_text(found)


def test_ungraded_answers_are_in_no_accuracy_and_counted(tmp_path: Path) -> None:
    each = one_set(
        findings(
            write_run(tmp_path / "a", rows(share_right(20, ungraded=4))),
            write_run(tmp_path / "b", rows(share_right(20)), seed=1),
            write_run(tmp_path / "c", rows(share_right(20)), supervision="reasoning"),
        )
    )
    first = next(setting for setting in each.settings if setting.policy == "Fixed(supervision=answer)")
    assert (first.scores[0].questions, first.scores[0].ungraded) == (36, 4)
    assert first.scores[0].accuracy.value == pytest.approx(18 / 36)
    assert len(each.differences) == 1  # on the 36 questions that both were graded on


def test_a_run_of_which_nothing_was_graded_is_left_out(tmp_path: Path) -> None:
    found = read_runs(
        [write_run(tmp_path / "a", rows(share_right(9))), write_run(tmp_path / "b", rows([None] * QUESTIONS), seed=1)]
    )
    assert [each.reason for each in found.left_out] == ["none of the 40 answers in test.jsonl was graded"]


def test_outputs_of_a_hundred_thousand_tokens(tmp_path: Path) -> None:
    long = rows(share_right(20), tokens=100_000)
    each = one_set(findings(write_run(tmp_path / "a", [{**row, "output": "x " * 50_000} for row in long])))
    (setting,) = each.settings
    assert setting.scores[0].p90_output_tokens == 100_002
    # Llama of 2 layers, 16 wide, MLP 32, head 50: see docs/flops.md.
    weights, attention, head = 2 * (4 * 16 * 16 + 3 * 16 * 32), 2 * 16, 50 * 16
    flops = [
        2 * 8 * weights
        + 4 * 8 * 8 * attention
        + 2 * head
        + (tokens - 1) * 2 * (weights + head)
        + 4 * attention * sum(8 + step for step in range(1, tokens))
        for tokens in (100_000, 100_001, 100_002)
    ]
    by_length = [sum(place % 3 == rest for place in range(QUESTIONS)) for rest in range(3)]
    assert setting.answer_flops == pytest.approx(
        sum(count * each_flops for count, each_flops in zip(by_length, flops, strict=True)) / QUESTIONS
    )


def test_early_runs_have_no_costs_and_a_note(tmp_path: Path) -> None:
    early = [
        {name: value for name, value in row.items() if name not in ("kind", "domain", "prompt_tokens")}
        for row in rows(share_right(20))
    ]
    each = one_set(findings(write_run(tmp_path / "a", early)))
    assert (each.costs, each.decisions, each.settings[0].answer_flops) == (None, None, None)
    assert "prompts' tokens" in each.notes[0]


def test_making_is_what_the_run_paid_at_the_price_of_its_machine(tmp_path: Path) -> None:
    each = one_set(findings(*two_policies(tmp_path)))
    assert each.costs is not None
    owned = each.costs.owned["Fixed(supervision=answer)"][0]
    assert owned.making_dollars["training"] == pytest.approx(0.001)  # what `spent` says of train
    assert owned.making_dollars["teacher"] == pytest.approx(0.5)
    assert each.costs.volumes == (1e3, 1e5, 1e7)
    there, back = (each.costs.break_evens[pair] for pair in sorted(each.costs.break_evens))
    assert there.queries == back.queries


def test_flags_set_prices_limits_and_volumes(tmp_path: Path) -> None:
    flags = ReaderFlags(
        dollars_per_hour=7.2,
        flops_per_second=1e9,
        utilisation=0.5,
        prompt_dollars_per_million_tokens=1.0,
        output_dollars_per_million_tokens=2.0,
        volumes="1e4, 10",
        max_latency_seconds=0.5,
        visible_reasoning=True,
    )
    each = one_set(findings(*two_policies(tmp_path), flags=flags))
    assert each.costs is not None and each.decisions is not None
    owned = each.costs.owned["Fixed(supervision=answer)"]
    assert [one.queries for one in owned] == [10, 1e4]
    assert owned[0].making_dollars["training"] == pytest.approx(1e9 * 7.2 / 3600 / (1e9 * 0.5))
    tokens = sum(5 + place % 3 for place in range(QUESTIONS)) / QUESTIONS
    assert owned[0].serving_dollars.value == pytest.approx(10 * (8 * 1.0 + tokens * 2.0) / 1e6)
    reasons = {removed.supervision: removed.reason for removed in each.decisions.cells[0].removed}
    assert "shows no reasoning" in reasons["Fixed(supervision=answer)"]
    assert "no measured response time" in reasons["Fixed(supervision=reasoning)"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (ReaderFlags(volumes="1e3,many"), "--volumes: expected numbers"),
        (ReaderFlags(volumes=[0.0]), "--volumes: expected numbers"),
        (ReaderFlags(max_memory_gib=-1.0), "--max_memory_gib must be above 0"),
        (ReaderFlags(corrects=0.3, max_attempts=3), "exclude each other"),
        (ReaderFlags(output_dollars_per_million_tokens=1.0), "together, or neither"),
        (ReaderFlags(error_dollars=-1.0), "--error_dollars must be"),
        (ReaderFlags(max_attempts=0), "--max_attempts must be"),
    ],
)
def test_flags_out_of_range_are_refused_by_name(flags: ReaderFlags, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reader_of(flags, ())


def test_latency_and_memory_of_the_summary_reach_the_limits(tmp_path: Path) -> None:
    latency = {"median_seconds": 0.25, "p90_seconds": 0.5, "answers": 16, "threads": 1, "device": "cpu"}
    measured = {"latency": latency, "serving_bytes": 2**30}
    folders = [write_run(tmp_path / f"{s}", rows(share_right(20)), seed=s, summary=measured) for s in range(2)]
    each = one_set(findings(*folders, flags=ReaderFlags(max_latency_seconds=0.3, max_memory_gib=0.5)))
    assert each.settings[0].latency_seconds == 0.25
    assert each.decisions is not None
    assert "needs 1 GiB of memory" in each.decisions.cells[0].removed[0].reason


def test_task_groups_are_kind_and_domain_and_share_what_making_took(tmp_path: Path) -> None:
    of = 200
    folders = [write_run(tmp_path / f"{seed}", rows(share_right(90 + seed, of=of)), seed=seed) for seed in range(2)]
    decisions = one_set(findings(*folders)).decisions
    assert decisions is not None
    made = {cell.task_group: cell.evidence[0] for cell in decisions.cells if cell.queries == 1e3}
    assert {name: evidence.questions for name, evidence in made.items()} == {
        "all questions": of,
        "in-domain open questions": 75,
        "transfer-domain open questions": 25,
        "in-domain multiple-choice questions": 75,
        "transfer-domain multiple-choice questions": 25,
    }
    whole = made["all questions"].making_dollars
    assert made["in-domain open questions"].making_dollars == pytest.approx(whole * 75 / of)
    assert len(decisions.sentences) == len(decisions.cells) == 5 * 3


@pytest.mark.parametrize(("questions", "groups"), [(80, {"open questions", "multiple-choice questions"}), (40, set())])
def test_bands_of_difficulty_tell_task_groups_apart_where_enough_questions_are_known(
    tmp_path: Path, questions: int, groups: set[str]
) -> None:
    answers = rows(share_right(20, of=questions))
    banded = [{**row, "band": f"{1 + place % 2}: {place % 2} to 9 characters"} for place, row in enumerate(answers)]
    decisions = one_set(findings(write_run(tmp_path / "a", banded))).decisions
    assert decisions is not None
    expected = {f"{name} ({low} to 9 characters)" for name in groups for low in (0, 1)}
    assert {cell.task_group for cell in decisions.cells} == {"all questions", *expected}


def test_curves_over_budgets_are_refused_with_a_reason(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / f"{budget}", rows(share_right(budget)), total_flops=budget * 10**9) for budget in (10, 20)
    ]
    each = one_set(findings(*folders))
    assert [setting.name for setting in each.settings] == [
        "Fixed(supervision=answer), 1e10 FLOPs",
        "Fixed(supervision=answer), 2e10 FLOPs",
    ]
    (fit,) = each.fits
    assert fit.flops_M == (1e10, 2e10) and fit.accuracy_M == (0.25, 0.5)
    assert isinstance(fit.fit, NotFitted)
    assert fit.fit.reason in report_text(findings(*folders)).replace("\\", "")


def test_the_same_folders_give_the_same_files(tmp_path: Path) -> None:
    folders = two_policies(tmp_path)
    texts = []
    for name in ("one", "two"):
        write_findings(findings(*folders), tmp_path / name)
        texts.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert texts[0] == texts[1]
    assert {"report.md", "settings.csv", "differences.csv", "decisions.csv", "break_even.csv"} <= texts[0].keys()


def test_figures_in_csv_are_numbers_and_exact(tmp_path: Path) -> None:
    found = findings(*two_policies(tmp_path))
    write_findings(found, tmp_path / "out")
    with (tmp_path / "out" / "settings.csv").open(newline="", encoding="utf-8") as file:
        told = {row["setting"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    assert told == {s.name: s.scores[0].accuracy.value for s in one_set(found).settings}


def test_text_of_a_corpus_is_no_formula_in_a_spreadsheet() -> None:
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1"]
    text = csv_text([{"task": name, "figure": -0.5} for name in hostile])
    read = list(csv.DictReader(text.splitlines(keepends=True)))
    assert all(row["task"].startswith("'") for row in read)
    assert [float(row["figure"]) for row in read] == [-0.5] * len(hostile)


def test_text_of_a_corpus_is_no_markup_in_the_report(tmp_path: Path) -> None:
    hostile = "<script>x()</script> | [a](http://b) ![c](d) `e` **f** <http://g>\n# h\n- i &amp;"
    answers = [{**row, "task": hostile if place % 2 else "add"} for place, row in enumerate(rows(share_right(20)))]
    found = findings(write_run(tmp_path / "a", answers), tmp_path / "1. absent")
    page = MarkdownIt("commonmark").enable("table").render(report_text(found))
    for tag in ("<script", "<a ", "<img", "<code", "<strong>f"):
        assert tag not in page
    assert html.escape(" ".join(hostile.split()), quote=False) in page


def test_a_comparison_ends_with_how_far_each_policy_is_from_the_best(tmp_path: Path) -> None:
    runs = read_runs(two_policies(tmp_path)).runs
    place = {"corpus": "corpora/sums", "student": "tiny", "total_flops": 10**9}
    cells = [
        Cell(corpus="corpora/sums", student="tiny", total_flops=10**9, policy=run.policy, seed=run.seed) for run in runs
    ]
    table_rows: list[dict[str, Json]] = [
        {**place, "policy": run.policy, "seed": run.seed, "test": (run.record.summary or {})["test"]} for run in runs
    ]
    text = shown_tables(cells, table_rows, runs)
    by_seed = [100 * ((10 + seed) - (30 - seed)) / QUESTIONS for seed in range(3)]
    half = 4.302652729749 * math.sqrt(sum((x + 45) ** 2 for x in by_seed) / 2 / 3)
    assert sum(by_seed) / 3 == -45
    assert f"-45.0 ({-45 - half:+.1f} to {-45 + half:+.1f})" in text
    assert "best" in text
    assert "from the best" not in shown_tables(cells[::3], table_rows[::3], runs[::3])  # one seed


def shown_tables(cells: list[Cell], table_rows: list[dict[str, Json]], runs: Sequence[FinishedRun]) -> str:
    console = Console(file=io.StringIO(), width=200)
    for table in final_tables(cells, table_rows, runs):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
