"""GSM8K as published: the number, the worked solution and the equations alone, each ending in the number."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curricula.importers import read_gsm8k
from curricula.rendering import ends_in_answer, split_thinking

SEEDS = "A bag holds 1,000 seeds. Ana sows 2 bags and then 80 seeds more. How many seeds does Ana sow?"
SEEDS_WORKED = (
    "The bags hold 2*1,000 = <<2*1000=2000>>2,000 seeds.\n"
    "In all, Ana sows 2,000+80 = <<2000+80=2080>>2,080 seeds.\n#### 2,080"
)


def write_gsm8k(directory: Path, train: list[dict[str, str]], test: list[dict[str, str]]) -> Path:
    for name, rows in (("train", train), ("test", test)):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


def test_targets_of_a_marked_solution(tmp_path: Path) -> None:
    train = [{"question": SEEDS, "answer": SEEDS_WORKED}]
    test = [{"question": "How many legs have 2 spiders?", "answer": "A spider has 8 legs.\n#### 16"}]
    first, second = read_gsm8k(write_gsm8k(tmp_path, train, test))
    assert (first.task, first.prompt, first.answer, first.split) == ("gsm8k", SEEDS, "2080", "train")
    assert {target.supervision: target.text for target in first.targets} == {
        "answer": "2080",
        "short": "The bags hold 2*1,000 = 2,000 seeds.\nIn all, Ana sows 2,000+80 = 2,080 seeds.\n#### 2080",
        "compressed:equations": "<think>2*1000=2000\n2000+80=2080</think>2080",
    }
    assert second.split == "test"
    assert [target.supervision for target in second.targets] == ["answer", "short"]


@pytest.mark.parametrize("number", ["-3", "0.5", "1,000,000", "12.25"])
def test_numbers_keep_sign_and_decimals(tmp_path: Path, number: str) -> None:
    directory = write_gsm8k(tmp_path, [{"question": "q", "answer": f"work <<1={number}>>\n#### {number}"}], [])
    (example,) = read_gsm8k(directory)
    assert example.answer == number.replace(",", "")
    assert all(ends_in_answer(target.text, example.answer) for target in example.targets)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "q"}, "'answer' must hold a text"),
        ({"question": "", "answer": "#### 1"}, "'question' must hold a text"),
        ({"question": "q", "answer": "it is 17"}, "must end in '#### number'"),
        ({"question": "q", "answer": "#### many"}, "must end in '#### number'"),
        ({"question": "q", "answer": "#### 1,00"}, "must end in '#### number'"),
    ],
)
def test_a_row_of_another_form_is_named(tmp_path: Path, row: dict[str, str], words: str) -> None:
    directory = write_gsm8k(tmp_path, [{"question": "q", "answer": "#### 1"}, row], [])
    with pytest.raises(ValueError, match=rf"train\.jsonl, line 2: .*{words}"):
        list(read_gsm8k(directory))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"test\.jsonl is missing; a GSM8K folder holds train\.jsonl and test\.jsonl"):
        list(read_gsm8k(tmp_path))


@pytest.mark.skipif("GSM8K_DIR" not in os.environ, reason="GSM8K_DIR does not name a folder with the published files")
def test_the_published_files_are_read_whole() -> None:
    examples = list(read_gsm8k(Path(os.environ["GSM8K_DIR"])))
    assert [sum(example.split == split for example in examples) for split in ("train", "test")] == [7473, 1319]
    for example in examples:
        for target in example.targets:
            assert ends_in_answer(target.text, example.answer)
            assert "<<" not in target.text
            assert (split_thinking(target.text)[0] is not None) == target.supervision.startswith("compressed")
