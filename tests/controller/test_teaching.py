"""Teaching is resumable: killed at any point it goes on, asks nothing twice, and ends in the same corpus."""

from __future__ import annotations

import dataclasses
import resource
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.traces.journal import IDENTITY, JOURNAL, Entry, Journal, JournalError
from controller.traces.pairing import Pairing, PairingPlan
from controller.traces.teaching import CORPUS, Teaching
from curricula.corpus import open_corpus
from curricula.types import Cost
from tests.controller.oracles import TENTH, Oracle, config, corpus, results, teach
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    teach(folder, Oracle())
    return folder


@settings(max_examples=30)
@given(share=st.floats(0, 1), seed=st.integers(0, 9))
def test_a_journal_cut_anywhere_is_gone_on_with_and_nothing_is_asked_twice(
    share: float, seed: int, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    written = (whole / JOURNAL).read_bytes()
    cut = written[: round(share * len(written))]
    (folder / JOURNAL).write_bytes(cut)
    (folder / IDENTITY).write_bytes((whole / IDENTITY).read_bytes())
    oracle = Oracle(shuffle=seed)
    teach(folder, oracle)
    assert results(folder) == results(whole)
    lines = (folder / JOURNAL).read_bytes().splitlines()
    assert sorted(lines) == sorted(written.splitlines())
    assert len(oracle.asked) == len(lines) - cut.count(b"\n")
    assert set(oracle.asked.values()) <= {1}


def test_a_disk_that_fills_loses_nothing_but_half_a_line(whole: Path, tmp_path: Path) -> None:
    written = (whole / JOURNAL).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(written) // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            teach(tmp_path, Oracle())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / JOURNAL).stat().st_size == len(written) // 2
    teach(tmp_path, Oracle())
    assert results(tmp_path) == results(whole)


def test_a_teacher_that_fails_again_and_again_gets_there(whole: Path, tmp_path: Path) -> None:
    asked: Counter[Request] = Counter()
    deaths = 0
    while not (tmp_path / CORPUS).exists():
        try:
            teach(tmp_path, Oracle(lives=7, shuffle=deaths, asked=asked))
        except TeacherError:
            deaths += 1
    assert deaths > 3
    assert set(asked.values()) == {1}
    assert results(tmp_path) == results(whole)


def test_a_finished_run_may_be_run_again_and_asks_for_nothing(tmp_path: Path) -> None:
    teach(tmp_path, Oracle())
    before, oracle = results(tmp_path), Oracle()
    teach(tmp_path, oracle)
    assert results(tmp_path) == before
    assert not oracle.asked


def test_changed_settings_are_refused_by_name(tmp_path: Path) -> None:
    teach(tmp_path, Oracle())
    with pytest.raises(JournalError, match=r"other settings: samples: 3 there, 4 now; give the same"):
        teach(tmp_path, Oracle(), changed=config(samples=4))
    other = dataclasses.replace(config(), teacher={"model": "another"})
    with pytest.raises(JournalError, match=r'teacher.model: "oracle" there, "another" now'):
        teach(tmp_path, Oracle(), changed=other)
    with pytest.raises(JournalError, match=r"corpus.fingerprint"):
        teach(tmp_path, Oracle(), questions=corpus(18))


def test_a_folder_in_use_or_with_other_things_is_refused(tmp_path: Path) -> None:
    with Teaching(corpus(), config(), tmp_path / "a"), pytest.raises(JournalError, match="in use by another process"):
        Teaching(corpus(), config(), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(JournalError, match="not empty and holds no journal"):
        teach(tmp_path / "b", Oracle())
    (tmp_path / "c").write_text("mine")
    with pytest.raises(JournalError, match="is a file"):
        teach(tmp_path / "c", Oracle())


def test_a_line_that_was_tampered_with_is_told_by_its_number(tmp_path: Path) -> None:
    teach(tmp_path, Oracle())
    lines = (tmp_path / JOURNAL).read_text().splitlines(keepends=True)
    for wrong in ("not JSON\n", '{"id": 3}\n', lines[2].replace('"flops"', '"flips"')):
        (tmp_path / JOURNAL).write_text("".join([*lines[:2], wrong, *lines[3:]]))
        with pytest.raises(JournalError, match=r"line 3: not a line of this version"):
            teach(tmp_path, Oracle())


def test_a_teacher_may_have_no_name_and_another_may_join_it(tmp_path: Path) -> None:
    teach(tmp_path / "one", Oracle(), changed=config(name=""))
    first = open_corpus(tmp_path / "one" / CORPUS)
    assert first.supervisions == ("answer", "response", "short", "reasoning")
    teach(tmp_path / "two", Oracle(), questions=first, changed=config(name="second", sides=("short",)))
    both = open_corpus(tmp_path / "two" / CORPUS)
    assert both.supervisions == ("answer", "response", "short", "short#second", "reasoning")
    assert both.examples.equals(first.examples)
    columns = ["example", "supervision", "text", "teach_flops"]
    kept = [row for row in both.targets.select(columns).to_pylist() if row["supervision"] in first.supervisions]
    assert kept == first.targets.select(columns).to_pylist()
    with pytest.raises(ValueError, match=r"offers short#second already; give this teacher another name"):
        Pairing(both, PairingPlan(name="second"))


def test_every_outcome_survives_the_journal(tmp_path: Path) -> None:
    entries = [
        Entry(id=f"{place}", thinking=bool(place % 2), sample=place, outcome=outcome)
        for place, outcome in enumerate(
            [
                Refusal(reason="status 500", cost=Cost(tokens=3)),
                Refusal(reason="past the deadline", cost=Cost(dollars=TENTH), estimated=True),
                *(
                    Completion(
                        estimated=estimated,
                        reasoning="line\u2028one\nline two",
                        text='"7" \U0001f600 \ud800',
                        prompt_tokens=1,
                        output_tokens=2,
                        finished=False,
                        cost=Cost(flops=2**62),
                    )
                    for estimated in (False, True)
                ),
            ]
        )
    ]
    journal = Journal.open(tmp_path, {})
    for entry in entries:
        journal.append(entry)
    assert list(journal.entries()) == entries
    journal.close()
