"""The command makes a corpus that has everything of the old one and the shorter targets beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.rendering import ends_in_answer
from experiments.traces import main
from trainers.compressors.targets import trace_of
from trainers.student import load_student


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "small"
    families = ("copy", "label", "add", "chain", "maximum", "swaps")
    examples = generate(examples=72, seed=4, families=families, transfer_share=0.0)
    split = [replace(one, split="probe" if place < 6 else "train") for place, one in enumerate(examples)]
    Corpus.build(split, name="small").save(folder)
    return folder


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "scorer"
    student = load_student("tiny-0.2m", seed=3, cache_dir=folder)
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    return folder


def compress(source: Path, output_dir: Path, *flags: str) -> Corpus:
    main(["compress", str(source), "--output_dir", str(output_dir), "--workers", "0", *flags])
    return Corpus.load(output_dir)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(["compress", *arguments])
    return capsys.readouterr().err


def traces_of(corpus: Corpus, supervision: str) -> dict[int, str]:
    """Traces by row of their example."""
    answers = corpus.examples["answer"].to_pylist()
    return {
        row["example"]: trace_of(row["text"], answers[row["example"]]) or ""
        for row in corpus.targets.to_pylist()
        if row["supervision"] == supervision
    }


def test_every_old_target_stays_and_every_new_one_ends_in_its_answer(
    folder: Path, scorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Corpus.load(folder)
    steps = compress(folder, tmp_path / "steps", "--method", "steps", "--scorer", str(scorer), "--ratios", "[0.3, 0.5]")
    shown = capsys.readouterr().out
    assert "every step carries the result" in shown and "compressed:steps@0.3" in shown
    new = {"compressed:steps@0.3", "compressed:steps@0.5"}
    assert {*steps.supervisions} == {*before.supervisions, *new}
    assert steps.examples.equals(before.examples)
    old = [row for row in steps.targets.to_pylist() if row["supervision"] not in new]
    assert old == before.targets.to_pylist()
    answers = steps.examples["answer"].to_pylist()
    added = [row for row in steps.targets.to_pylist() if row["supervision"] in new]
    assert all(ends_in_answer(row["text"], answers[row["example"]]) for row in added)
    assert all(0.0 < row["token_ratio"] < 1.0 and row["compress_flops"] > 0 for row in added)
    lost = sum(steps.dropped.values()) - sum(before.dropped.values())
    assert len(added) + lost == 2 * len(traces_of(before, "reasoning"))

    matched = compress(
        tmp_path / "steps", tmp_path / "both", "--method", "truncated", "--match", "compressed:steps@0.3"
    )
    control, wanted = traces_of(matched, "truncated:steps@0.3"), traces_of(matched, "compressed:steps@0.3")
    assert control.keys() <= wanted.keys() and len(control) > 0.8 * len(wanted)
    assert all(len(control[row]) <= len(wanted[row]) for row in control)


def test_difficulty_moves_the_shares_and_keeps_their_mean(folder: Path, tmp_path: Path) -> None:
    flags = ("--method", "truncated", "--ratios", "[0.5]", "--by_difficulty", "true", "--label", "hard")
    corpus = compress(folder, tmp_path / "out", *flags)
    tasks = corpus.examples["task"].to_pylist()
    rows = [row for row in corpus.targets.to_pylist() if row["supervision"] == "truncated:hard@0.5"]
    full = traces_of(corpus, "reasoning")
    ratios = np.array([row["char_ratio"] for row in rows])
    longest = {task: max(len(text) for row, text in full.items() if tasks[row] == task) for task in set(tasks)}
    hard = np.array([len(full[row["example"]]) == longest[tasks[row["example"]]] for row in rows])
    assert ratios[hard].mean() > ratios[~hard].mean() + 0.03
    assert ratios.mean() == pytest.approx(0.5, abs=0.05)  # cut at whole words, so a little less


def test_the_same_corpus_comes_out_whatever_the_batches(folder: Path, scorer: Path, tmp_path: Path) -> None:
    flags = ("--method", "tokens", "--scorer", str(scorer), "--ratios", "[0.4]")
    one = compress(folder, tmp_path / "one", *flags, "--batch_examples", "72")
    other = compress(folder, tmp_path / "other", *flags, "--batch_examples", "17")
    assert one.fingerprint == other.fingerprint


def test_rewrites_that_lose_the_answer_are_left_out_and_the_corpus_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--method", "rewrite", "--model", "tiny-0.2m", "--sampling.max_tokens", "4", "--attempts", "1"]
    corpus = compress(folder, tmp_path / "out", *flags, "--ratios", "[0.3]", "--cache_dir", str(tmp_path))
    assert corpus.targets.equals(Corpus.load(folder).targets)
    assert sum(corpus.dropped.values()) == len(corpus)
    assert (tmp_path / "out.rewrites.jsonl").exists()
    assert "left out" in capsys.readouterr().out


def test_what_is_wrong_is_told_in_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = ("--output_dir", str(tmp_path / "out"))
    assert "needs a scorer" in refusal(capsys, str(folder), *to, "--method", "steps")
    assert "needs --model" in refusal(capsys, str(folder), *to, "--method", "rewrite")
    assert "in (0, 1), got 1.5" in refusal(capsys, str(folder), *to, "--method", "truncated", "--ratios", "[1.5]")
    bare = refusal(capsys, str(folder), *to, "--method", "truncated", "--ratios", "0.5")
    assert bare.endswith("error: --ratios: expected list in brackets, such as '[A, B]', got '0.5'\n")
    wrong = refusal(capsys, str(folder), *to, "--method", "truncated", "--source_supervision", "reasoning#gpt")
    assert "no target under 'reasoning#gpt'" in wrong and "did you mean reasoning" in wrong
    assert "--match is for --method truncated" in refusal(
        capsys, str(folder), *to, "--method", "tokens", "--scorer", "x", "--match", "short"
    )
    assert "is missing" in refusal(capsys, str(tmp_path), *to, "--method", "truncated")
    assert not (tmp_path / "out").exists()
