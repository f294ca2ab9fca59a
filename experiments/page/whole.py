"""The whole page of one run or many: four questions answered in order, then how it came about.

findings --> headline --> how good --> on what --> at what cost --> so what --> learning --> samples --> runs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.record import RunRecord
from experiments.findings.findings import Findings, FinishedRun, QuestionSet
from experiments.page.costs import costs_section
from experiments.page.decision import choices, decision_section
from experiments.page.frame import cards, page, section
from experiments.page.frontiers import frontier_figures
from experiments.page.kinds import hardest, kinds_section
from experiments.page.learning import calibration_section, learning_section
from experiments.page.markup import Html, folded, joined, note, table, tag
from experiments.page.quality import overall_section, verdict
from experiments.page.run_details import run_cards, run_charts, run_tables, summary_of
from experiments.page.samples import samples_section
from experiments.page.wording import accuracy_words, called, facets, percent, range_text
from experiments.summary import share_text

MOST_RUN_CHARS = 4_000_000
"""Of the charts and tables of all single runs of a page; those beyond it are named, and have pages of their own."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A section of the page and its entry in the contents."""

    key: str
    name: str  # empty where the contents leave it out
    content: Html


def report_page(findings: Findings, unfinished: Sequence[tuple[Path, RunRecord]] = ()) -> str:
    """The page, self-contained. The same findings, the same bytes.

    Args:
        unfinished: runs without scores yet, of which only what is on record is drawn.

    Raises:
        ValueError: a record is not of its form.
    """
    sets = findings.question_sets
    runs = [run for questions in sets for setting in questions.settings for run in setting.runs]
    alone = len(runs) + len(unfinished) == 1
    parts: list[Part] = []
    for number, questions in enumerate(sets):
        parts += _set_parts(questions, f"-{number + 1}" if number else "", several=len(sets) > 1, alone=alone)
    only = _only_run(*((runs[0].folder, runs[0].record) if runs else unfinished[0])) if alone else []
    parts += only[:1]
    if sets:
        content = section("samples", "What students wrote", "", samples_section(sets))
        parts.append(Part(key="samples", name="Samples", content=content))
    parts += only[1:] if alone else _runs(runs, unfinished)
    parts += _left_out(findings)
    lead = _lead(sets)
    return page(
        title=_title(runs, sets, unfinished),
        lead=lead or ["The run has not been scored yet." if unfinished else "No run was found."],
        contents=[(part.key, part.name) for part in parts if part.name],
        body=[part.content for part in parts],
    )


def _lead(sets: Sequence[QuestionSet]) -> list[str]:
    """What was found, in a sentence or two: the verdict where there is one, else how many there are of each sort."""
    found = [(facet, verdict(questions, facet)) for questions in sets for facet in facets(questions)]
    if len(found) == 1:
        return [found[0][1].sentence, *choices(sets[0])]
    if not found:
        return []
    compared = [each for facet, each in found if len(facet.settings) > 1]
    across = "Nothing is averaged or compared across different sets of questions." if len(sets) > 1 else ""
    if not compared:
        return [f"No two settings of one student and budget answered the same questions. {across}".strip()]
    decided = sum(each.decided for each in compared)
    where = "comparison" if len(compared) == 1 else "comparisons"
    words = (
        f"In {decided} of {len(compared)} {where} within one corpus, student and budget one setting is surely the most"
    )
    return [f"{words} accurate. {across}".strip()]


def _title(
    runs: Sequence[FinishedRun], sets: Sequence[QuestionSet], unfinished: Sequence[tuple[Path, RunRecord]]
) -> str:
    if len(runs) == 1:
        return runs[0].summary.title
    if not runs:
        return summary_of(unfinished[0][1]).title if len(unfinished) == 1 else f"{len(unfinished)} unfinished runs"
    settings = sum(len(questions.settings) for questions in sets)
    corpora = ", ".join(dict.fromkeys(questions.corpus for questions in sets))
    return f"{settings} setting{'' if settings == 1 else 's'}, {len(runs)} runs, {corpora}"


def _set_parts(questions: QuestionSet, suffix: str, *, several: bool, alone: bool) -> list[Part]:
    """The four questions, asked of one set, and how it came about; the contents name each of several sets once."""
    where = f" ({questions.corpus}, {questions.split})" if several else ""
    many = len(questions.settings) > 1
    best = "Which is best, and by how much?" if many else "How good is this student?"
    costs = joined([frontier_figures(questions), costs_section(questions)])
    learned = calibration_section(questions) if alone else learning_section(questions)
    asked = [
        ("good", "How good", best, _good(questions, many=many, several=several)),
        ("kinds", "On what", "On what kind of question?", kinds_section(questions)),
        ("cost", "Costs", "What does a correct answer cost, to train and to serve?", costs),
        *([("choose", "Choose", "Which supervision should I use?", decision_section(questions))] if many else []),
        ("learning", "Learning", "Did it know what is hard?" if alone else "How did they learn?", learned),
        ("notes", "", "Notes", tag("ul", *(tag("li", words) for words in questions.notes)) if questions.notes else ""),
    ]
    parts = []
    for place, (key, name, title, content) in enumerate(each for each in asked if each[-1]):
        shown = (questions.corpus if place == 0 else "") if several else name
        parts.append(Part(key=key + suffix, name=shown, content=section(key + suffix, title + where, "", content)))
    return parts


def _good(questions: QuestionSet, *, many: bool, several: bool) -> Html:
    best = max(questions.settings, key=lambda setting: setting.scores[0].accuracy.value)
    overall = best.scores[0]
    figures = [
        ("best accuracy" if many else "accuracy", percent(overall.accuracy.value), _interval_words(questions)),
        (
            "mean output tokens",
            f"{overall.output_tokens:.1f}",
            f"at most {overall.p90_output_tokens:.0f} in 90% of the answers; {share_text(overall.truncated)} cut off",
        ),
    ]
    ends = hardest(best)
    if ends is not None:
        figures += [
            ("best task", ends[0].name, accuracy_words(ends[0].accuracy).removesuffix(" no interval")),
            ("worst task", ends[1].name, accuracy_words(ends[1].accuracy).removesuffix(" no interval")),
        ]
    if not many and len(best.runs) == 1:
        figures += run_cards(best.runs[0].record, best.runs[0].summary)
    found = [verdict(questions, facet).sentence for facet in facets(questions)]
    told = several or len(found) > 1  # and not at the head of the page
    said = tag("ul", *(tag("li", words) for words in [*found, *choices(questions)])) if told else ""
    return joined([said, cards(figures), overall_section(questions) if many else ""])


def _interval_words(questions: QuestionSet) -> str:
    best = max(questions.settings, key=lambda setting: setting.scores[0].accuracy.value)
    estimate = best.scores[0].accuracy
    of_questions = f"{best.scores[0].questions} questions"
    if estimate.interval is not None:
        ends = (estimate.interval.low, estimate.interval.high)
        return f"95% interval over {estimate.n_seeds} seeds {range_text(ends)}, {of_questions}"
    if estimate.given_seeds is not None:
        ends = (estimate.given_seeds.low, estimate.given_seeds.high)
        return f"95% interval for this very run {range_text(ends)}, {of_questions}"
    return of_questions


def _only_run(folder: Path, record: RunRecord) -> list[Part]:
    """The run that the page is about: its charts in the open, its tables behind lines that open them."""
    run = summary_of(record)
    asked = "What was the budget spent on, and what did it give?"
    figures = cards(run_cards(record, run)) if record.summary is None else ""
    charts = section("training", "How it was trained", asked, figures, run_charts(record, run))
    tables = section("record", "The record", str(folder), run_tables(record, run))
    return [Part(key="training", name="Training", content=charts), Part(key="record", name="Record", content=tables)]


def _runs(runs: Sequence[FinishedRun], unfinished: Sequence[tuple[Path, RunRecord]]) -> list[Part]:
    """Every run behind a line that opens it, as far as the page has room."""
    named = [(f"{called(run.policy)}, {run.student}, seed {run.seed}: {run.folder}", run.record) for run in runs]
    named += [(f"{folder}: not scored yet", record) for folder, record in unfinished]
    shown, beyond, chars = list[Html](), list[str](), 0
    for name, record in named:
        run = summary_of(record)
        details = folded(name, cards(run_cards(record, run)), run_charts(record, run), run_tables(record, run))
        chars += len(details)
        if chars <= MOST_RUN_CHARS:
            shown.append(details)
        else:
            beyond.append(name)
    words = "These would make this page too large; python -m experiments.report FOLDER writes the page of one:"
    rest = joined([note(words), tag("ul", *(tag("li", name) for name in beyond))]) if beyond else ""
    content = section("runs", "Every run", "Budget, stages, scores, config and environment.", *shown, rest)
    return [Part(key="runs", name="Runs", content=content)]


def _left_out(findings: Findings) -> list[Part]:
    if not findings.left_out:
        return []
    rows = [(str(each.folder), each.reason) for each in findings.left_out]
    content = section(
        "left-out",
        "Left out",
        "Folders that gave nothing.",
        table(("folder", "why"), rows, numeric_from=2, class_="wide"),
    )
    return [Part(key="left-out", name="Left out", content=content)]
