"""Generation and teacher forcing against plain generate and a plain forward pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import GenerationConfig

from curricula.corpus import Corpus
from curricula.procedural import generate
from trainers.collate import Rows
from trainers.generation import Generator
from trainers.measuring import force_flops, generation_ceiling_flops, prompt_batches
from trainers.pricing.shape import model_shape
from trainers.process import set_up_process
from trainers.student import load_student
from trainers.tokens import open_tokens

CAP = 40


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    set_up_process(threads=1)
    folder: Path = tmp_path_factory.mktemp("cache")
    corpus = Corpus.build(generate(examples=300, seed=4), name="small")
    student = load_student("tiny-0.2m", seed=1, cache_dir=folder)
    with torch.no_grad():  # a larger head makes an untrained student end at different places
        embedding = student.model.get_input_embeddings()
        assert isinstance(embedding, torch.nn.Embedding)
        embedding.weight.mul_(30)
    store = open_tokens(corpus, student.tokenizer, max_tokens=512, cache_dir=folder)
    shape = model_shape(student.model)
    return Generator(student=student, store=store, shape=shape, max_output_tokens=CAP, micro_batch_tokens=800)


def _plain(generator: Generator, example: int) -> list[int]:
    prompt = torch.tensor([generator.store.prompt(example).tolist()])
    output = generator.student.model.generate(  # pyright: ignore[reportCallIssue]
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=CAP,
        pad_token_id=0,
        eos_token_id=generator.student.tokenizer.eos_token_id,
    )
    return output[0, prompt.shape[1] :].tolist()


def test_a_batch_says_what_plain_generate_says_one_by_one(generator: Generator) -> None:
    examples = list(range(24))
    batch = generator.generate_batch(examples, mode="free", purpose="probe")
    end = generator.student.tokenizer.eos_token_id
    for place, example in enumerate(examples):
        plain = _plain(generator, example)
        assert batch.output_tokens_Q[place] == len(plain)
        assert batch.truncated_Q[place] == (end not in plain)
        assert batch.text_Q[place] == generator.student.tokenizer.decode([token for token in plain if token != end])


def test_a_students_own_generation_settings_do_not_change_its_answers(generator: Generator) -> None:
    model = generator.student.model
    plain = generator.generate_batch(list(range(8)), mode="free", purpose="probe")
    own = model.generation_config
    habits = GenerationConfig(repetition_penalty=9.0, no_repeat_ngram_size=1, num_beams=2, min_new_tokens=CAP)
    model.generation_config = habits
    again = generator.generate_batch(list(range(8)), mode="free", purpose="probe")
    assert model.generation_config is habits
    model.generation_config = own
    assert again.text_Q == plain.text_Q


def test_generation_stays_within_its_reservation(generator: Generator) -> None:
    examples = np.arange(30)
    counts = generator.store.prompt_tokens_N[examples]
    ceiling = generation_ceiling_flops(generator.shape, counts, batch_rows=7, max_output_tokens=CAP, prefix_tokens=1)
    spent = sum(
        generator.generate_batch(examples[batch].tolist(), mode="think", purpose="probe").charge.flops
        for batch in prompt_batches(counts, batch_rows=7)
    )
    assert 0 < spent <= ceiling


def test_forced_modes_begin_as_they_are_told(generator: Generator) -> None:
    think = generator.generate_batch(list(range(8)), mode="think", purpose="probe")
    assert all(text.startswith("<think>") for text in think.text_Q)
    quiet = generator.generate_batch(list(range(8)), mode="no_think", purpose="probe")
    assert not any(text.startswith("<think>") for text in quiet.text_Q)


def test_forced_losses_equal_a_plain_forward(generator: Generator) -> None:
    store, model = generator.store, generator.student.model
    offered = np.argwhere(store.target_tokens_NS >= 0)[:40]
    rows = Rows(store=store, example_R=offered[:, 0], supervision_R=offered[:, 1])
    forced = generator.force(rows, purpose="features")
    for place, (example, column) in enumerate(offered.tolist()):
        prompt, target = store.prompt(example).tolist(), store.target(example, column).tolist()
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
        loss = F.cross_entropy(logits, torch.tensor(target)).item()
        assert forced.loss_Q[place] == pytest.approx(loss, rel=1e-4, abs=1e-5)
        assert forced.exact_Q[place] == (logits.argmax(-1).tolist() == target)
    assert forced.charge.flops == force_flops(
        generator.shape, rows.prompt_tokens_R, rows.target_tokens_R, micro_batch_tokens=800
    )
