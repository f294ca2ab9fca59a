"""`traces describe`: the real command on a small corpus, its JSON against a count by hand, and its pictures."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import matplotlib.image
import numpy as np
import pytest

from curricula.corpus import Corpus, open_corpus
from curricula.description.describing import TokenCounts, describe
from curricula.description.description import Description
from curricula.description.overlap import READ_COLUMNS, measure_overlap
from curricula.procedural import generate
from curricula.rendering import prompt_text, think
from curricula.stream.scan import scan_corpus
from curricula.types import Cost, Example, Target
from evaluators.accuracy import wilson
from experiments.corpora.picture import draw
from experiments.corpora.tables import warnings
from experiments.traces import main
from tests.experiments.runs import ROOT
from trainers.tokenizer import character_tokenizer

LIMIT_SECONDS = 120.0
LONGEST_TOKENS = 150
SAME = "how many apples are there in the basket when nine are taken and four are put back again"
COMMAND = """
import sys
from experiments.traces import main
main(sys.argv[1:])
sys.exit(3 if "torch" in sys.modules else 0)
"""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the command left behind."""

    corpus: Path
    folder: Path
    data: dict[str, object]
    printed: str
    told: str


def write_corpus(path: Path) -> Path:
    """300 procedural examples, with verdicts and costs, and one prompt in train and test."""
    rows: list[dict[str, object]] = []
    for number, example in enumerate(generate(examples=300, seed=1)):
        targets: dict[str, object] = {
            "answer": example.answer,
            "short": {
                "text": next(target.text for target in example.targets if target.supervision == "short"),
                "verdict": ("numeric", "wrong", "unchecked", "numeric")[number % 4],
                "teach_tokens": 10,
            },
            "reasoning#t": {
                "text": next(target.text for target in example.targets if target.supervision == "reasoning"),
                "teach_flops": 2 * 10**9 + number,
                "teach_dollars": 0.25,
            },
        }
        if number % 2:
            targets["compressed:steps@0.3#t"] = {
                "text": next(target.text for target in example.targets if target.supervision == "compressed"),
                "teach_flops": 2 * 10**9 + number,
                "compress_flops": 5,
                "token_ratio": 0.31,
            }
        row: dict[str, object] = {"task": example.task, "prompt": example.prompt, "answer": example.answer}
        row |= {"kind": example.kind, "choices": list(example.choices), "domain": example.domain}
        rows.append({**row, "split": ("train", "dev")[example.domain == "transfer"], "targets": targets})
    same: dict[str, object] = {"task": "basket", "answer": "5", "targets": {"answer": "5"}}
    rows += [{**same, "prompt": SAME + ".", "split": "train"}, {**same, "prompt": SAME.upper(), "split": "test"}]
    rows.append({**same, "prompt": "bad", "split": "train", "targets": {"answer": "5", "short": "no end"}})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Described:
    """The command in a process of its own."""
    folder = tmp_path_factory.mktemp("describe")
    corpus = write_corpus(folder / "made.jsonl")
    flags = ("describe", str(corpus), "--max_tokens", str(LONGEST_TOKENS), "--json", str(folder / "there" / "it.json"))
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *flags], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert ended.returncode == 0, ended.stderr
    return Described(
        corpus=corpus,
        folder=folder / "made-description",
        data=json.loads((folder / "there" / "it.json").read_text("utf-8")),
        printed=ended.stdout,
        told=ended.stderr,
    )


def under(data: dict[str, object], supervision: str) -> dict[str, object]:
    """What the JSON says of one supervision."""
    parts = cast(list[dict[str, object]], data["offered"])
    return next(part for part in parts if part["supervision"] == supervision)


def test_the_json_is_what_a_count_by_hand_finds(described: Described) -> None:
    corpus = open_corpus(described.corpus)
    data = described.data
    examples = corpus.examples.to_pylist()
    targets = corpus.targets.to_pylist()
    tokenizer = character_tokenizer(max_tokens=1024)
    prompts = [
        len(tokenizer(prompt_text(row["prompt"], row["kind"], row["choices"]) + "\n")["input_ids"]) for row in examples
    ]
    assert (data["examples"], data["targets"], data["fingerprint"]) == (len(examples), len(targets), corpus.fingerprint)
    splits = Counter(row["split"] for row in examples)
    assert data["splits"] == {split: splits[split] for split in ("train", "probe", "dev", "test")}
    assert (data["tokenizer"], data["max_tokens"]) == ("tiny", LONGEST_TOKENS)
    assert data["dropped"] == {"short: does not end in its answer": 1}
    for name in corpus.supervisions:
        own = [row for row in targets if row["supervision"] == name]
        tokens = [len(tokenizer(row["text"])["input_ids"]) + 1 for row in own]
        part = under(data, name)
        lengths = cast(dict[str, int], part["tokens"])
        assert part["targets"] == len(own)
        assert (lengths["most"], lengths["total"]) == (max(tokens), sum(tokens))
        assert lengths["p50"] == sorted(tokens)[math.ceil(len(tokens) / 2) - 1]
        assert part["verdicts"] == dict(Counter(row["verdict"] for row in own))
        assert part["too_long"] == sum(
            count + prompts[row["example"]] > LONGEST_TOKENS for count, row in zip(tokens, own, strict=True)
        )
        assert cast(dict[str, float], part["teach"])["flops"] == sum(row["teach_flops"] for row in own)
    full = {row["example"]: row["teach_flops"] for row in targets if row["supervision"] == "reasoning#t"}
    whole = cast(dict[str, float], data["teach"])
    assert whole == {"flops": sum(full.values()), "tokens": 3000, "dollars": 75.0}
    short = [row["verdict"] for row in targets if row["supervision"] == "short"]
    right, checked = short.count("numeric"), short.count("numeric") + short.count("wrong")
    assert data["right_of_checked"] == {
        "short": {"n": checked, "share": right / checked, "ci95": list(wilson(right, checked))}
    }


def test_the_json_tells_the_prompt_that_stands_in_train_and_test(described: Described) -> None:
    corpus = open_corpus(described.corpus)
    ids = {row["prompt"]: row["id"] for row in corpus.examples.to_pylist()}
    overlap = cast(dict[str, object], described.data["overlap"])
    leaks = {leak["split"]: leak for leak in cast(list[dict[str, object]], overlap["leakage"])}
    assert leaks["test"] == {
        "split": "test",
        "prompts": 1,
        "equal": 1,
        "mostly": 1,
        "overlapping": 1,
        "pairs": [{"example": ids[SAME.upper()], "earlier": ids[SAME + "."]}],
    }


def test_a_person_reads_what_to_look_out_for(described: Described) -> None:
    printed = " ".join(described.printed.split())
    too_long = cast(int, under(described.data, "reasoning#t")["too_long"])
    assert f"reasoning#t: {too_long:,} of 300 targets" in printed
    assert "longer, with their prompts, than the 150 tokens of a training row" in printed
    assert "test: 1 of 1 prompts share 13 words in a row" in printed
    assert "75 of 1,053 targets (7.1%) were found wrong (75) or without an answer (0)" in printed
    assert "were never checked" in printed and "of 75 nothing is known" in printed
    assert "1 were dropped when it was built (short: does not end in its answer: 1)" in printed
    assert "made-description/description.png" in printed
    assert described.told == ""


def test_the_pictures_are_pictures(described: Described) -> None:
    assert sorted(path.name for path in described.folder.iterdir()) == ["description.png", "description.svg"]
    picture = matplotlib.image.imread(described.folder / "description.png")
    height, width = picture.shape[:2]
    assert 1000 <= width <= 1400 and 500 <= height <= 1400
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
    assert (described.folder / "description.png").stat().st_size < 200_000
    texts = "".join(ElementTree.parse(described.folder / "description.svg").getroot().itertext())
    assert "made: 303 examples" in texts


def made(targets_N: list[tuple[Target, ...]], *, tokens: bool = True) -> Description:
    """A description of a corpus with these targets for the answer "7"."""
    examples = [
        Example(task="t", prompt=f"prompt {row}", answer="7", targets=targets) for row, targets in enumerate(targets_N)
    ]
    probe = dataclasses.replace(examples[0], prompt="the probe", split="probe")
    rest = [dataclasses.replace(example, split="train") for example in examples]
    scan = scan_corpus(Corpus.build([*rest, probe], name="made [b]$x$ <&>"))
    counts = TokenCounts(
        tokenizer="some/where",
        prompt_tokens_N=np.ones(scan.example_rows, dtype=np.int32),
        target_tokens_T=np.ones(scan.target_rows, dtype=np.int32),
    )
    overlap = measure_overlap(lambda: scan.examples(READ_COLUMNS))
    return describe(scan, overlap=overlap, tokens=counts if tokens else None, max_tokens=1 if tokens else None)


BARE = Target(supervision="answer", text="7", verdict="no_answer")
DEAR = Target(supervision="short#x", text="so 7", verdict="unchecked", teach=Cost(dollars=0.002))
MANY = tuple(
    Target(supervision=f"compressed:steps@0.{digit}#{'x' * 30}", text=think("y", "7")) for digit in range(10, 45)
)


@pytest.mark.parametrize(
    ("targets", "tokens"), [((BARE,), True), ((BARE, DEAR), False), (MANY, True)], ids=["one", "dollars", "many"]
)
def test_any_corpus_can_be_drawn_and_gives_the_same_bytes_again(
    targets: tuple[Target, ...], tokens: bool, tmp_path: Path
) -> None:
    description = made([targets] * 3, tokens=tokens)
    drawn = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        drawn.append([path.read_bytes() for path in draw(description, tmp_path / name)])
    assert drawn[0] == drawn[1]
    height, width = matplotlib.image.imread(tmp_path / "one" / "description.png").shape[:2]
    assert width <= 1400 and height <= 2400
    assert len(warnings(description)) >= 1


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the command ends with."""
    with pytest.raises(SystemExit) as ended:
        main(["describe", *arguments])
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def test_a_person_who_mistypes_gets_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no corpus 'procedral'" in refusal(capsys, "procedral")
    assert "did you mean tiny" in refusal(capsys, "procedural", "--student", "tny")
    assert "--tokenizer: there is no 'tny'" in refusal(capsys, "procedural", "--tokenizer", "tny")
    assert "max_tokens must be at least 1, got 0" in refusal(capsys, "procedural", "--max_tokens", "0")
    (tmp_path / "corpus.json").write_text("{}", "utf-8")
    assert "--output_dir" in refusal(capsys, "procedural", "--output_dir", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]
