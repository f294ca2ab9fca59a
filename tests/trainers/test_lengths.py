"""Lengths counted from a tokenizer alone are those of the rows that are trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.rendering import prompt_text
from trainers.lengths import TokenCounter, open_counter
from trainers.tokenizer import character_tokenizer
from trainers.tokens import open_tokens

CHAT_TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}<think>\n\n</think>"


@pytest.mark.parametrize("template", [None, CHAT_TEMPLATE])
def test_counts_are_those_of_the_tokenized_corpus(template: str | None, tmp_path: Path) -> None:
    corpus = Corpus.build(generate(examples=200, seed=5), name="small")
    counter = open_counter("tiny")
    counter.tokenizer.chat_template = template
    store = open_tokens(corpus, counter.tokenizer, max_tokens=4096, cache_dir=tmp_path)
    columns = corpus.examples.select(["prompt", "kind", "choices"]).to_pydict()
    prompts = [prompt_text(*row) for row in zip(columns["prompt"], columns["kind"], columns["choices"], strict=True)]
    np.testing.assert_array_equal(counter.prompt_tokens(prompts), store.prompt_tokens_N)
    row_NS = corpus.target_rows_NS()
    counted = counter.target_tokens(corpus.targets["text"].to_pylist())
    np.testing.assert_array_equal(counted[row_NS][row_NS >= 0], store.target_tokens_NS[row_NS >= 0])


def test_a_tokenizer_that_cuts_and_fills_up_is_not_let(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(max_tokens=8)
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=6)
    tokenizer.save_pretrained(tmp_path)
    counter = open_counter(str(tmp_path))
    assert counter.target_tokens(["a" * 50, "a"]).tolist() == [51, 2]
    assert counter.positions == 8  # of the tokenizer, where no model stands beside it


def test_a_model_beside_the_tokenizer_says_how_long_a_row_may_be(tmp_path: Path) -> None:
    character_tokenizer(max_tokens=8).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 77}', "utf-8")
    assert open_counter(str(tmp_path)).positions == 77


def test_a_tokenizer_of_another_make_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = open_counter("tiny")
    texts = ["12 <think>", "é"]
    expected = counter.target_tokens(texts)
    monkeypatch.setattr("trainers.lengths.PreTrainedTokenizerFast", _Unknown)
    assert dataclasses.replace(counter).target_tokens(texts).tolist() == expected.tolist()


class _Unknown(PreTrainedTokenizerBase):
    """What no tokenizer here is."""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tinny", "there is no tokenizer 'tinny'.*tiny-0.2m, tiny"),
        ("nowhere.gguf", "there is no tokenizer 'nowhere.gguf'"),
        ("no/such", "the tokenizer of 'no/such' cannot be loaded: ."),
        (".", "the tokenizer of '.' cannot be loaded: ."),
    ],
)
def test_a_tokenizer_that_is_not_there_is_named(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said) as refusal:
        open_counter(name)
    assert "\n" not in str(refusal.value)


def test_nothing_to_count_is_no_error() -> None:
    counter: TokenCounter = open_counter("tiny")
    assert len(counter.target_tokens([])) == len(counter.prompt_tokens([])) == 0
