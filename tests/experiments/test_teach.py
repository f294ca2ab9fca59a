"""`traces teach` against a chat server in this process: what is written, said and never said, and a real kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from curricula.corpus import Corpus, open_corpus
from experiments.traces import main
from tests.experiments.runs import ROOT, wait_until
from tests.trainers.servers import Chat, chat_server

KEY = "sk-Very-Secret-0123456789"


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    with chat_server() as chat:
        yield chat


def _questions(path: Path, *, count: int = 30, word: str = "pair") -> Path:
    path.write_text("".join(_row(f"{word}:{place}", "train" if place % 5 else "probe") for place in range(count)))
    return path


def _row(prompt: str, split: str) -> str:
    row = {"task": "t", "prompt": prompt, "answer": "7", "targets": {"answer": "7"}, "split": split}
    return json.dumps(row) + "\n"


def _flags(source: Path, folder: Path, url: str, *more: str) -> list[str]:
    fixed = ["--model", "org/m-1", "--splits", "train,probe,dev,test", "--backoff_seconds", "0.001", "--attempts", "2"]
    return ["teach", str(source), "--output_dir", str(folder), "--base_url", url, *fixed, *more]


def _fails(flags: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    assert KEY not in told
    return told


def test_a_paired_corpus_is_built_and_the_key_is_nowhere(
    chat: Chat, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = _questions(tmp_path / "q.jsonl")
    main(
        _flags(source, tmp_path / "out", chat.url, "--price_in", "1", "--price_out", "2", "--active_parameters", "1e9")
    )
    shown = "".join(capfd.readouterr())
    corpus = open_corpus(tmp_path / "out" / "corpus")
    assert corpus.supervisions == ("answer", "response#m-1", "short#m-1", "reasoning#m-1")
    assert corpus.targets.num_rows == 30 * 4
    assert set(corpus.targets["verdict"].to_pylist()) == {"declared", "exact"}
    texts = {row["supervision"]: row["text"] for row in corpus.targets.to_pylist()}
    assert texts["reasoning#m-1"] == "<think>3+4=7</think>7"
    paid = [row for row in corpus.targets.to_pylist() if row["supervision"] != "answer"]
    assert {(row["teach_tokens"], row["teach_flops"]) for row in paid} == {(12, 24 * 10**9)}
    assert "30" in shown and "2.4e10" not in shown
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 7
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in shown
    assert len(chat.headers) == 60 and all(KEY in headers["authorization"] for headers in chat.headers)


def test_a_killed_command_goes_on_and_asks_only_for_what_it_lacks(chat: Chat, tmp_path: Path) -> None:
    source, folder, held, at_once = _questions(tmp_path / "q.jsonl"), tmp_path / "out", 17, 3
    flags = _flags(source, folder, chat.url, "--concurrency", str(at_once))
    chat.hold_after = held
    command = [sys.executable, "-m", "experiments.traces", *flags]
    journal = folder / "journal.jsonl"
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        wait_until(lambda: len(chat.seen) == held + at_once, what="requests that are held")
        wait_until(lambda: journal.read_bytes().count(b"\n") == held, what="answers in the journal")
        process.send_signal(signal.SIGKILL)
    with journal.open("ab") as file:
        file.write(b'{"id": "half a li')
    before = journal.read_bytes()[:-17]
    chat.released.set()
    main(flags)
    assert journal.read_bytes().startswith(before)
    asked = Counter((str(body["messages"]), str(body["chat_template_kwargs"])) for body in chat.seen)
    assert len(asked) == 60
    assert asked.total() == 60 + at_once  # those that were on their way
    main(_flags(source, tmp_path / "whole", chat.url))
    assert Corpus.load(folder / "corpus").fingerprint == Corpus.load(tmp_path / "whole" / "corpus").fingerprint
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("out", "whole")]
    assert summaries[0] == summaries[1]


def test_what_went_wrong_is_counted_and_shown(chat: Chat, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = _questions(tmp_path / "q.jsonl", count=12)
    with path.open("a") as file:
        for word in ("unclosed", "empty", "refused", "length", "500"):
            file.write(_row(f"{word}:x", "train"))
    main(_flags(path, tmp_path / "out", chat.url))
    shown = capfd.readouterr().out
    for reason in ("unclosed think tag", "empty completion", "refused by the model", "cut at the limit", "status 500"):
        assert f"reasoning: {reason}" in shown
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["sides_asked"]["short"]["reasons"]["unclosed think tag"] == 1
    assert summary["sides_asked"]["short"]["unspent_on_any_target"]["tokens"] == 4 * 12


def test_a_server_that_is_down_is_one_line_and_the_command_goes_on_later(
    chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _questions(tmp_path / "q.jsonl")
    told = _fails(_flags(source, tmp_path / "out", "http://127.0.0.1:9/v1"), capsys)
    assert "cannot be reached" in told and "the same command goes on with it" in told
    main(_flags(source, tmp_path / "out", chat.url))  # another address of the same teacher
    assert (tmp_path / "out" / "corpus").is_dir()


def test_a_dry_run_prices_and_asks_nobody(chat: Chat, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = _questions(tmp_path / "q.jsonl")
    more = (
        "--dry_run",
        "true",
        "--price_out",
        "10",
        "--max_tokens",
        "1000",
        "--samples",
        "2",
        "--active_parameters",
        "1e9",
    )
    main(_flags(source, tmp_path / "out", chat.url, *more))
    shown = capfd.readouterr().out
    assert "60,000" in shown and "1.20" in shown  # 2 sides x 30 questions x 2 samples x 1,000 tokens at 10 dollars
    assert not chat.seen and not (tmp_path / "out").exists()


def test_flags_that_do_not_fit_together_are_told(
    chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _questions(tmp_path / "q.jsonl")
    plain = ["teach", str(source), "--output_dir", str(tmp_path / "out")]
    assert "name one teacher" in _fails(plain, capsys)
    assert "name one teacher" in _fails([*plain, "--local", "tiny", "--base_url", chat.url], capsys)
    assert "--base_url needs --model" in _fails([*plain, "--base_url", chat.url], capsys)
    flags = _flags(source, tmp_path / "out", chat.url)
    assert "did you mean short?" in _fails([*flags, "--sides", "reasoning,shrt"], capsys)
    assert "did you mean probe?" in _fails([*flags, "--splits", "prob"], capsys)
    assert "needs a --temperature above 0" in _fails([*flags, "--samples", "2", "--temperature", "0"], capsys)
    assert "no corpus at" in _fails(_flags(tmp_path / "none.jsonl", tmp_path / "out", chat.url), capsys)
    monkeypatch.delenv("OPENAI_API_KEY")
    told = _fails(_flags(source, tmp_path / "out", "https://api.example.org/v1"), capsys)
    assert "OPENAI_API_KEY is not set" in told
