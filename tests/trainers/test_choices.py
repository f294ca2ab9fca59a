"""Choices forced as rows of a small store, against plain forward passes over prompt and choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.trainers.stages import small_store
from trainers.choices import choice_rows
from trainers.generation import Generator
from trainers.pricing.shape import model_shape
from trainers.student import load_student


def test_each_choice_costs_what_a_plain_forward_pass_says_its_end_included(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    student = load_student("tiny-0.2m", seed=1, cache_dir=tmp_path)
    examples, texts_Q = [7, 3, 40], [("A", "B"), ("food", "sport", "a long way to say cash"), ("B",)]
    rows = choice_rows(store, student.tokenizer, examples, texts_Q)
    generator = Generator(
        student=student, store=store, shape=model_shape(student.model), max_output_tokens=4, micro_batch_tokens=100
    )
    forced = generator.force(rows, purpose="evaluate")
    flat = [(example, text) for example, texts in zip(examples, texts_Q, strict=True) for text in texts]
    assert forced.charge.purpose == "evaluate"
    assert forced.charge.tokens == sum(
        len(store.prompt(example)) + len(student.tokenizer.encode(text)) + 1 for example, text in flat
    )
    for (example, text), loss, tokens in zip(flat, forced.loss_Q, rows.target_tokens_R, strict=True):
        prompt = store.prompt(example).tolist()
        target = [*student.tokenizer.encode(text, add_special_tokens=False), student.end_id]
        assert tokens == len(target)
        with torch.no_grad():
            logits = student.model.eval()(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
        nats = F.cross_entropy(logits, torch.tensor(target), reduction="sum").item()
        assert loss * tokens == pytest.approx(nats, rel=1e-4)


def test_choices_are_tokenized_as_the_targets_of_a_corpus_are(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    tokenizer = load_student("tiny-0.2m", seed=1, cache_dir=tmp_path).tokenizer
    example, column = (int(place) for place in np.argwhere(store.target_tokens_NS >= 0)[0])
    target = store.target(example, column)
    text = str(tokenizer.decode(target[:-1].tolist()))
    rows = choice_rows(store, tokenizer, [example], [[text]])
    assert rows.store.target(0, 0).tolist() == target.tolist()
    assert rows.store.prompt(0).tolist() == store.prompt(example).tolist()
