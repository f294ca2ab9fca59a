"""Tokenized corpora: what is read, what is learnt, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from curricula.corpus import Corpus
from curricula.procedural import generate
from trainers.batches import pack
from trainers.collate import Rows, collate
from trainers.student import Student, load_student
from trainers.tokens import IGNORED_LABEL, open_tokens

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.build(generate(examples=600, seed=5), name="small")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student("tiny-0.2m", seed=0, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("template", [None, CHAT_TEMPLATE])
def test_labels_cover_the_target_and_nothing_else(
    corpus: Corpus, student: Student, template: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student.tokenizer, "chat_template", template)
    store = open_tokens(corpus, student.tokenizer, max_tokens=1024, cache_dir=tmp_path)
    texts = dict(
        zip(
            zip(
                corpus.targets["example"].to_pylist(),
                corpus.targets["supervision"].to_pylist(),
                strict=True,
            ),
            corpus.targets["text"].to_pylist(),
            strict=True,
        )
    )
    prompts = corpus.examples["prompt"].to_pylist()
    for column, supervision in enumerate(corpus.supervisions):
        offered = np.flatnonzero(store.target_tokens_NS[:, column] >= 0)[:12]
        rows = Rows(store=store, example_R=offered, supervision_R=np.full(len(offered), column))
        batches = pack(
            np.arange(len(offered)),
            (rows.prompt_tokens_R + rows.target_tokens_R).astype(np.int64),
            rows.target_tokens_R.astype(np.int64),
            micro_batch_tokens=2000,
        )
        for batch in batches:
            tensors = collate(rows, batch, pad_id=0, device=torch.device("cpu"))
            labels = torch.full_like(tensors.input_ids, IGNORED_LABEL).flatten()
            real = tensors.label_H != IGNORED_LABEL
            labels[tensors.position_H[real] + 1] = tensors.label_H[real]
            start = 0
            for row, length in zip(batch.row_B, batch.length_B.tolist(), strict=True):
                example = int(offered[row])
                ids, at = tensors.input_ids[0, start : start + length], labels[start : start + length]
                start += length
                learnt = ids[at != IGNORED_LABEL]
                assert torch.equal(learnt, at[at != IGNORED_LABEL])
                assert learnt[-1] == student.tokenizer.eos_token_id
                assert student.tokenizer.decode(learnt[:-1]) == texts[(example, supervision)]
                first = int((at != IGNORED_LABEL).nonzero()[0])
                read = str(student.tokenizer.decode(ids[:first]))
                assert prompts[example] in read
                assert read.endswith("\n" if template is None else "<|assistant|>")


def test_a_second_opening_reads_the_same_arrays(corpus: Corpus, student: Student, tmp_path: Path) -> None:
    first = open_tokens(corpus, student.tokenizer, max_tokens=1024, cache_dir=tmp_path)
    second = open_tokens(corpus, student.tokenizer, max_tokens=1024, cache_dir=tmp_path)
    assert np.array_equal(first.ids, second.ids)
    assert len(list((tmp_path / "tokens").iterdir())) == 1


def test_rows_that_are_too_long_are_left_out_and_counted(corpus: Corpus, student: Student, tmp_path: Path) -> None:
    whole = open_tokens(corpus, student.tokenizer, max_tokens=1024, cache_dir=tmp_path)
    cut = open_tokens(corpus, student.tokenizer, max_tokens=80, cache_dir=tmp_path)
    length_NS = whole.target_tokens_NS + whole.prompt_tokens_N[:, None]
    too_long_NS = (whole.target_tokens_NS >= 0) & (length_NS > 80)
    assert too_long_NS.any()
    assert np.array_equal(cut.too_long_NS, too_long_NS)
    assert np.array_equal(cut.target_tokens_NS, np.where(too_long_NS, -1, whole.target_tokens_NS))


def test_a_limit_that_leaves_nothing_is_an_error(corpus: Corpus, student: Student, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_tokens=2"):
        open_tokens(corpus, student.tokenizer, max_tokens=2, cache_dir=tmp_path)
