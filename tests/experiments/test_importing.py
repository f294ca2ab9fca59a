"""`traces import`: every layout's sample end to end, what is shown, and what is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from curricula.corpus import Corpus
from curricula.layouts import LAYOUTS, detect
from curricula.sieve import sift
from experiments.corpora import importing
from experiments.traces import main

SAMPLES = sorted(Path(__file__).parent.parent.glob("samples/*.jsonl"))
COPIES = 200

Rewrite = Callable[[str], str]


def changed(value: object, rewrite: Rewrite) -> object:
    """A row with every text in it rewritten."""
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, list):
        return [changed(item, rewrite) for item in value]
    if isinstance(value, dict):
        return {key: changed(item, rewrite) for key, item in value.items()}
    return value


def many_of(sample: Path, path: Path) -> tuple[set[str], int]:
    """Write many questions of a sample's form; the supervisions they offer, and how many rows can be used."""
    rows = [json.loads(line) for line in sample.read_text("utf-8").splitlines()]
    layout = detect(rows)
    offered: set[str] = set()
    usable = 0
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            intake = layout.intake(row, f"row {number}")
            if not intake.examples:
                continue
            usable += 1
            example = intake.examples[0]
            sifted = sift(example, "row")
            offered |= {target.supervision for target in sifted.targets}
            for copy in range(COPIES):
                asked = f"Question {number}.{copy}: {example.prompt}"
                rewritten = changed(row, lambda text, old=example.prompt, new=asked: text.replace(old, new, 1))
                file.write(json.dumps(rewritten) + "\n")
    return offered, usable


@pytest.mark.parametrize("sample", [path for path in SAMPLES if path.stem != "unknown"], ids=lambda path: path.stem)
def test_every_layout_becomes_a_corpus(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offered, usable = many_of(sample, tmp_path / "rows.jsonl")
    main(["import", str(tmp_path / "rows.jsonl"), "--output_dir", str(tmp_path / "made")])
    corpus = Corpus.load(tmp_path / "made")
    assert set(corpus.supervisions) == offered
    assert len(corpus) == usable * COPIES - corpus.dropped.get("duplicate example", 0)
    assert len(corpus) > 0
    shown = capsys.readouterr().out
    assert any(f"layout {layout.name}:" in shown for layout in LAYOUTS)
    assert f"next: python -m experiments.traces describe {tmp_path / 'made'}" in shown


def write_rows(path: Path, count: int) -> Path:
    rows = [{"q": f"{number} + 0 = ?", "a": str(number), "cot": f"It stays {number}."} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "broken\n")
    return path


def test_unknown_columns_are_named_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "sums.jsonl", 300)
    flags = ["--columns.prompt", "q", "--columns.answer", "a", "--columns.reasoning", "cot"]
    labels = ["--task", "copy", "--teacher", "gpt", "--name", "mine"]
    main(["import", str(path), "--output_dir", str(tmp_path / "made"), *flags, *labels])
    corpus = Corpus.load(tmp_path / "made")
    assert (corpus.name, corpus.tasks, corpus.supervisions) == ("mine", ("copy",), ("answer", "reasoning#gpt"))
    shown = capsys.readouterr().out
    assert "not JSON" in shown
    assert f"losses: {tmp_path / 'made' / 'dropped.jsonl'}" in shown


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "sums.jsonl", 900)
    flags = ["--columns.prompt", "q", "--columns.short", "cot", "--columns.answer", "a", "--limit", "400"]
    main(["import", str(path), "--output_dir", str(tmp_path / "made"), *flags])
    assert Corpus.load(tmp_path / "made").examples["answer"].to_pylist() == [str(number) for number in range(400)]


def test_half_a_character_costs_one_row_and_brackets_in_paths_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "a [b].jsonl", 300)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"q": "3 \ud800 4", "a": "7", "cot": "It is 7."}) + "\n")
    flags = ["--columns.prompt", "q", "--columns.answer", "a", "--columns.short", "cot"]
    main(["import", str(path), "--output_dir", str(tmp_path / "[red]made[/x]"), *flags])
    assert len(Corpus.load(tmp_path / "[red]made[/x]")) == 300
    shown = capsys.readouterr().out
    assert "half a character" in shown
    assert f"written: {tmp_path / '[red]made[/x]'}" in shown
    assert f"describe '{tmp_path / '[red]made[/x]'}'" in shown


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "no known layout has the columns q, a, cot"),
        (["--layout", "gsm9k"], "unknown layout 'gsm9k'; did you mean gsm8k"),
        (["--layout", "gsm8k", "--columns.answer", "a"], "give one of them"),
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--columns.prompt", "q"], "error: --columns: name at least one of answer, completion"),
        (["--columns.prompt", "q", "--columns.answer", "a", "--strict", "true"], "line 301: not JSON"),
        (["--columns.prompt", "q", "--columns.answer", "none"], "more than half is too much"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    path = write_rows(tmp_path / "sums.jsonl", 300)
    with pytest.raises(SystemExit):
        main(["import", str(path), "--output_dir", str(tmp_path / "made"), *flags])
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not (tmp_path / "made").exists()


def test_an_interrupted_import_says_that_it_begins_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "run", interrupted)
    with pytest.raises(SystemExit):
        main(["import", "rows.jsonl", "--output_dir", str(tmp_path / "made")])
    assert capsys.readouterr().err == "stopped; the same command begins again: nothing was written\n"
