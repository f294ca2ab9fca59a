"""Which setting is called the most accurate, and when that is not decided: on the page and in report.md alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluators.sentences import price_unit
from experiments.findings.finding import find
from experiments.findings.findings import Findings
from experiments.findings.markdown import money_text
from experiments.findings.reader import ReaderFlags, reader_of
from experiments.findings.reading import read_runs
from experiments.findings.words import report_text
from experiments.page.decision import choices
from experiments.page.quality import Verdict, overall_section, verdict
from experiments.page.whole import report_page
from experiments.page.wording import facets, money
from tests.experiments.run_folders import QUESTIONS, rows, write_run


def found_of(tmp_path: Path, right: Mapping[str, Mapping[int, int]], flags: ReaderFlags | None = None) -> Findings:
    """A run for each supervision and seed, with so many of 40 questions right; `reasoning` thinks."""
    folders = [
        write_run(
            tmp_path / f"{supervision}{seed}",
            rows([place < count for place in range(QUESTIONS)], thinks=supervision == "reasoning"),
            supervision=supervision,
            seed=seed,
        )
        for supervision, by_seed in right.items()
        for seed, count in by_seed.items()
    ]
    read = read_runs(folders)
    return find(read, reader_of(flags or ReaderFlags(), read.runs))


def seeds(*right: int) -> dict[int, int]:
    return dict(enumerate(right))


def the_verdict(found: Findings) -> Verdict:
    (questions,) = found.question_sets
    (facet,) = facets(questions)
    return verdict(questions, facet)


def in_short(found: Findings, start: str = "Most accurate") -> Sequence[str]:
    return [line for line in report_text(found).splitlines() if line.startswith(f"- {start}")]


def test_the_best_of_all_is_better_than_each_other(tmp_path: Path) -> None:
    found = found_of(tmp_path, {"answer": seeds(30, 31, 30), "short": seeds(20, 20, 21), "reasoning": seeds(9, 9, 10)})
    assert the_verdict(found).decided
    assert "Fixed(answer) is the most accurate" in the_verdict(found).sentence
    assert "better than every other" in in_short(found)[0]


def test_one_that_the_best_is_not_told_from_leaves_it_open_though_the_next_is_behind(tmp_path: Path) -> None:
    found = found_of(tmp_path, {"answer": seeds(30, 31, 30), "short": seeds(25, 26, 24), "reasoning": seeds(6, 36, 9)})
    assert not the_verdict(found).decided
    assert "better than Fixed(reasoning) is not decided by this data" in the_verdict(found).sentence
    assert "does not tell it from Fixed(supervision=reasoning)" in in_short(found)[0]


def test_one_that_shares_no_seed_with_the_best_leaves_it_open(tmp_path: Path) -> None:
    found = found_of(tmp_path, {"answer": seeds(30, 31), "short": seeds(20, 20), "reasoning": {7: 9}})
    assert not the_verdict(found).decided
    assert "shares no seed with Fixed(reasoning)" in the_verdict(found).sentence
    assert "does not tell it from Fixed(supervision=reasoning)" in in_short(found)[0]


def test_a_mean_over_other_seeds_is_no_lead_where_common_seeds_say_otherwise(tmp_path: Path) -> None:
    found = found_of(tmp_path, {"answer": seeds(20, 20, 20, 40, 40, 40, 40, 40), "short": seeds(30, 31, 30)})
    assert not the_verdict(found).decided
    assert "the other way round" in the_verdict(found).sentence


def test_a_verdict_counts_the_questions_that_were_graded(tmp_path: Path) -> None:
    right = [None if place < 10 else place % 2 == 0 for place in range(QUESTIONS)]
    read = read_runs([write_run(tmp_path / "a", rows(right))])
    assert "50.0% of 30 test questions" in the_verdict(find(read, reader_of(ReaderFlags(), read.runs))).sentence


def test_ungraded_answers_are_counted_beside_the_settings(tmp_path: Path) -> None:
    right = [None if place < 7 else place % 2 == 0 for place in range(QUESTIONS)]
    runs = [write_run(tmp_path / name, rows(right), supervision=name) for name in ("answer", "short")]
    read = read_runs(runs)
    (questions,) = find(read, reader_of(ReaderFlags(), read.runs)).question_sets
    assert '<td class="n">7</td>' in overall_section(questions)


def test_a_choice_is_told_with_its_price_and_its_interval(tmp_path: Path) -> None:
    found = found_of(tmp_path, {"answer": seeds(38, 38, 39), "short": seeds(5, 5, 6)})
    (questions,) = found.question_sets
    assert questions.costs is not None
    cost = questions.costs.owned["Fixed(supervision=answer)"][-1].dollars_per_correct
    (said,) = choices(questions)
    times, unit = price_unit([cost.value or 0.0])
    assert "choose Fixed(answer), at " in said and f"{money(cost, times)} per {unit}" in said
    assert f"{money_text(cost, times)} dollars per {unit}." in in_short(found, "To choose")[-1].replace("\\", "")


def test_what_alone_keeps_within_the_limits_is_named(tmp_path: Path) -> None:
    right = {"answer": seeds(30, 31), "reasoning": seeds(20, 21)}
    found = found_of(tmp_path, right, ReaderFlags(visible_reasoning=True))
    (said,) = choices(found.question_sets[0])
    assert said.endswith("queries nothing to compare with Fixed(reasoning).")
    assert "nothing to compare with Fixed(supervision=reasoning)" in in_short(found, "To choose")[0]


def test_one_seed_gives_a_difference_without_an_interval_and_leaves_it_open(tmp_path: Path) -> None:
    said = the_verdict(found_of(tmp_path, {"answer": seeds(30), "short": seeds(20)})).sentence
    assert "the difference is +25.0 percentage points, and one seed gives no interval" in said


def test_nobody_is_ahead_where_nothing_is_right(tmp_path: Path) -> None:
    found = found_of(tmp_path, {"answer": seeds(0, 0), "short": seeds(0, 0)})
    assert "is not ahead" in the_verdict(found).sentence


def test_sets_of_other_questions_are_no_comparison(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / prefix, rows([True] * QUESTIONS, prefix=prefix), supervision=supervision)
        for prefix, supervision in (("p", "answer"), ("q", "short"))
    ]
    read = read_runs(folders)
    page = report_page(find(read, reader_of(ReaderFlags(), read.runs)))
    assert "No two settings of one student and budget answered the same questions. Nothing is averaged" in page


def test_one_budget_is_not_told_why_it_has_no_curve(tmp_path: Path) -> None:
    found = found_of(tmp_path, {"answer": seeds(30, 31)})
    assert "saturating curve" not in report_page(found)
