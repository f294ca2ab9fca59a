"""`traces verify`: verdicts in the written corpus, what is left out and shown, and one result for any workers."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from curricula.corpus import Corpus
from curricula.types import Example, Target
from experiments.traces import main

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = 300


def examples() -> list[Example]:
    """Sums: every third trace comes to another number than it ends in, every fourth needs mathematics."""
    made: list[Example] = []
    for number in range(EXAMPLES):
        answer = str(number + 1)
        if number % 3 == 0:
            short = f"The answer is {number}.\nOr rather, no: {answer}"
        elif number % 4 == 0:
            short = f"\\boxed{{{number} + 1 = {answer}}}"
        else:
            short = f"#### {answer}"
        made.append(
            Example(
                task="sums",
                prompt=f"{number} + 1 = ?",
                answer=answer,
                targets=(
                    Target(supervision="answer", text=answer, verdict="unchecked"),
                    Target(supervision="short", text=short),
                ),
            )
        )
    return made


def expected(supervision: str, *, kept: bool) -> Counter[str]:
    """Verdicts of one supervision."""
    if supervision == "answer":
        return Counter(exact=EXAMPLES)
    wrong = sum(number % 3 == 0 for number in range(EXAMPLES))
    mathematics = sum(number % 3 > 0 and number % 4 == 0 for number in range(EXAMPLES))
    counts = Counter(exact=EXAMPLES - wrong - mathematics, math=mathematics)
    return counts + Counter(wrong=wrong) if kept else counts


def verdicts(corpus: Corpus, supervision: str) -> Counter[str]:
    rows = zip(corpus.targets["supervision"].to_pylist(), corpus.targets["verdict"].to_pylist(), strict=True)
    return Counter(verdict for name, verdict in rows if name == supervision)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "sums"
    Corpus.build(examples(), name="sums").save(folder)
    return folder


def test_wrong_targets_are_left_out_and_counted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["verify", str(source), "--output_dir", str(tmp_path / "checked")])
    before, after = Corpus.load(source), Corpus.load(tmp_path / "checked")
    assert after.name == "sums"
    for supervision in ("answer", "short"):
        assert verdicts(after, supervision) == expected(supervision, kept=False)
    wrong = expected("short", kept=True)["wrong"]
    assert after.dropped == {"short: wrong answer": wrong}
    assert after.examples["id"].to_pylist() == before.examples["id"].to_pylist()
    assert after.examples["split"].to_pylist() == before.examples["split"].to_pylist()
    shown = capsys.readouterr().out
    assert f"left out {wrong}: short: wrong answer" in shown
    assert "100.0% [98.7, 100.0]" in shown  # of the answers
    assert "33.3% [28.2, 38.8]" in shown  # of the short answers, what was left out included


def test_wrong_targets_are_kept_where_asked_and_mathematics_can_be_left_out(source: Path, tmp_path: Path) -> None:
    flags = ["--keep_wrong", "true", "--mathematics", "false", "--name", "kept"]
    main(["verify", str(source), "--output_dir", str(tmp_path / "kept"), *flags])
    corpus = Corpus.load(tmp_path / "kept")
    counts = expected("short", kept=True)
    counts["declared"] = counts.pop("math")
    assert (corpus.name, corpus.dropped, verdicts(corpus, "short")) == ("kept", {}, counts)


def test_a_corpus_verified_again_is_the_same(source: Path, tmp_path: Path) -> None:
    main(["verify", str(source), "--output_dir", str(tmp_path / "once")])
    main(["verify", str(tmp_path / "once"), "--output_dir", str(tmp_path / "twice")])
    assert Corpus.load(tmp_path / "twice").fingerprint == Corpus.load(tmp_path / "once").fingerprint


def test_the_command_writes_the_same_in_workers(source: Path, tmp_path: Path) -> None:
    main(["verify", str(source), "--output_dir", str(tmp_path / "here")])
    command = [sys.executable, "-m", "experiments.traces", "verify", str(source)]
    flags = ["--output_dir", str(tmp_path / "there"), "--workers", "1", "--batch_examples", "7"]
    subprocess.run([*command, *flags], cwd=ROOT, check=True, capture_output=True)
    assert Corpus.load(tmp_path / "there").fingerprint == Corpus.load(tmp_path / "here").fingerprint


@pytest.mark.parametrize("right", [0, EXAMPLES // 3])
def test_a_corpus_that_is_mostly_wrong_is_refused_or_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: int
) -> None:
    wrong = [
        replace(example, targets=(Target(supervision="short", text=f"#### 0\n{example.answer}"),))
        for example in examples()[right:]
    ]
    Corpus.build([*examples()[:right], *wrong], name="wrong").save(tmp_path / "wrong")
    command = ["verify", str(tmp_path / "wrong"), "--output_dir", str(tmp_path / "checked")]
    if right:
        main(command)
        assert "more than half of the targets were left out" in capsys.readouterr().out
    else:
        with pytest.raises(SystemExit):
            main(command)
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
        assert not (tmp_path / "checked").exists()


def test_a_corpus_is_never_replaced_by_what_is_made_of_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Corpus.load(source).fingerprint
    for command in (["verify"], ["compress", "--method", "truncated"]):
        with pytest.raises(SystemExit):
            main([*command, str(source), "--output_dir", str(source / ".." / source.name)])
        assert "--output_dir is the corpus that is read" in capsys.readouterr().err
    assert Corpus.load(source).fingerprint == before


def test_what_is_no_corpus_folder_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    for name, words in (("rows.jsonl", "is a file, not a corpus folder"), ("none", "is not there")):
        with pytest.raises(SystemExit):
            main(["verify", str(tmp_path / name), "--output_dir", str(tmp_path / "checked")])
        assert f"{tmp_path / name} {words}" in capsys.readouterr().err


def test_names_in_brackets_are_shown_as_they_are(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["verify", str(source), "--output_dir", str(tmp_path / "[red]v[/x]"), "--name", "[b]n[/c]"])
    shown = capsys.readouterr().out
    assert f"written: {tmp_path / '[red]v[/x]'}, " in shown
    assert "[b]n[/c]: verdicts" in shown
    cut = ["--method", "truncated", "--source_supervision", "short", "--workers", "0"]
    main(["compress", str(tmp_path / "[red]v[/x]"), "--output_dir", str(tmp_path / "[red]c[/x]"), *cut])
    shown = capsys.readouterr().out
    assert f"written: {tmp_path / '[red]c[/x]'}" in shown
    assert "[b]n[/c]: shortened" in shown


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--deadline_seconds", "0"], "--deadline_seconds must be positive"),
        (["--batch_examples", "0"], "--batch_examples must be 1 or more"),
        (["--strict", "true"], "short: wrong answer"),
        (["--keep_wrnog", "true"], "did you mean --keep_wrong"),
    ],
)
def test_what_cannot_be_verified_is_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        main(["verify", str(source), "--output_dir", str(tmp_path / "checked"), *flags])
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not (tmp_path / "checked").exists()
