"""A student that looks its positions up, as GPT-2 does, and has few of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from controller.tables import TokenCounts
from controller.worker import StudentWorker
from curricula.corpus import Corpus
from curricula.procedural import generate
from trainers.decoding.rows import Row, Terms, greedy
from trainers.decoding.writing import write
from trainers.generation import Generator
from trainers.lengths import open_counter
from trainers.pricing.shape import model_shape
from trainers.student import load_student

POSITIONS = 67  # no multiple of what prompts are rounded up to


def _opened(folder: Path, *, positions: int, max_tokens: int) -> tuple[StudentWorker, TokenCounts]:
    tokenizer = load_student("tiny", seed=0, cache_dir=folder).tokenizer
    config = GPT2Config(
        **{"vocab_size": len(tokenizer), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": positions},
        **{"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id},
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "gpt2")
    tokenizer.save_pretrained(folder / "gpt2")
    Corpus.build(generate(examples=100, seed=2), name="small").save(folder / "corpus")
    worker = StudentWorker(student=str(folder / "gpt2"), seed=0, threads=1, cache_dir=folder / "cache")
    return worker, worker.open(folder / "corpus", max_tokens=max_tokens)


def test_positions_are_read_under_the_models_own_name_for_them(tmp_path: Path) -> None:
    worker, counts = _opened(tmp_path, positions=POSITIONS, max_tokens=POSITIONS)
    assert worker.describe().positions == POSITIONS
    assert open_counter(str(tmp_path / "gpt2")).positions == POSITIONS
    assert counts.too_long_S.sum() > 0


def test_an_answer_ends_with_the_last_position(tmp_path: Path) -> None:
    worker, counts = _opened(tmp_path, positions=POSITIONS, max_tokens=POSITIONS)
    generator = Generator(
        student=worker.student,
        store=worker.store,
        shape=worker.shape,
        max_output_tokens=2 * POSITIONS,
        micro_batch_tokens=512,
    )
    answers = generator.generate_batch(list(range(20)), mode="think", purpose="probe")
    room_Q = POSITIONS - counts.prompt_tokens_N[:20] - counts.think_tokens
    assert (answers.output_tokens_Q <= room_Q).all()
    assert answers.truncated_Q.any()
    assert np.array_equal(answers.output_tokens_Q[answers.truncated_Q], room_Q[answers.truncated_Q])


def test_a_prompt_is_not_rounded_up_beyond_the_last_position(tmp_path: Path) -> None:
    worker, _ = _opened(tmp_path, positions=POSITIONS, max_tokens=POSITIONS)
    model = worker.student.model.eval()
    terms = Terms(shape=model_shape(model), end_ids=frozenset({0}), pad_id=0, choose=greedy, reading_tokens=POSITIONS)
    row = Row(index=0, prompt=[7] * (POSITIONS - 1), most_tokens=1)
    assert list(write(model, [row], terms)) == [row]
    with torch.no_grad():
        assert row.written == [int(model(torch.tensor([row.prompt])).logits[0, -1].argmax())]


@pytest.mark.parametrize(
    ("positions", "max_tokens", "told"),
    [
        (POSITIONS, POSITIONS + 1, rf"reads at most {POSITIONS} tokens: set --max_tokens {POSITIONS}"),
        (30, 30, r"reads at most 30 tokens, which leaves no room to answer \d+ questions of probe, dev and test, such"),
    ],
)
def test_what_it_cannot_read_is_refused_in_a_line(positions: int, max_tokens: int, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        _opened(tmp_path, positions=positions, max_tokens=max_tokens)
    assert "\n" not in str(caught.value)
