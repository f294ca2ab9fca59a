"""Chat templates of four families, as published: what is read is rendered once, what is learnt is the target alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from curricula.corpus import Corpus
from curricula.procedural import generate
from curricula.rendering import THINK_CLOSE, THINK_OPEN, prompt_text
from trainers.batches import pack
from trainers.collate import Rows, collate
from trainers.tokens import IGNORED_LABEL, TokenStore, open_tokens

QWEN3 = """\
{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + "
    "message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA3 = (
    "{{ bos_token }}{%- for message in messages -%}{%- set role = 'model' if message['role'] == 'assistant' else "
    "message['role'] -%}{{ '<start_of_turn>' + role + '\n' }}{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family's tokens, its template, and what the template gives, written out."""

    template: str
    before: str
    after: str
    end: str
    begin: str | None = None  # put before every text that is encoded as its tokenizer does by itself
    others: tuple[str, ...] = ()
    think_tokens: bool = False  # whether the think tags are tokens of their own


FAMILIES = {
    "Qwen3": Family(
        template=QWEN3,
        before="<|im_start|>user\n",
        after="<|im_end|>\n<|im_start|>assistant\n",
        end="<|im_end|>",
        others=("<|im_start|>",),
        think_tokens=True,
    ),
    "Llama 3": Family(
        template=LLAMA3,
        before="<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
        after="<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
        begin="<|begin_of_text|>",
        others=("<|start_header_id|>", "<|end_header_id|>"),
    ),
    "SmolLM2": Family(
        template=SMOLLM2,
        before="<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\n",
        after="<|im_end|>\n<|im_start|>assistant\n",
        end="<|im_end|>",
        others=("<|im_start|>",),
    ),
    "Gemma 3": Family(
        template=GEMMA3,
        before="<bos><start_of_turn>user\n",
        after="<end_of_turn>\n<start_of_turn>model\n",
        end="<eos>",
        begin="<bos>",
        others=("<start_of_turn>", "<end_of_turn>"),
    ),
}


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """Bytes, and the family's special tokens; it adds its begin token by itself, as the published ones do."""
    specials = [family.end, *family.others, *([family.begin] if family.begin else [])]
    pieces = [*specials, *sorted(ByteLevel.alphabet())]
    backend = Tokenizer(BPE({piece: token for token, piece in enumerate(pieces)}, []))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevelDecoder()
    backend.add_special_tokens(specials)
    if family.think_tokens:
        backend.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in (THINK_OPEN, THINK_CLOSE)])
    if family.begin:
        backend.post_processor = TemplateProcessing(
            single=f"{family.begin} $A", special_tokens=[(family.begin, pieces.index(family.begin))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=family.end,
        pad_token=family.end,
        bos_token=family.begin,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = family.template
    return tokenizer


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.build(generate(examples=120, seed=5), name="small")


def _open(corpus: Corpus, name: str, folder: Path) -> tuple[PreTrainedTokenizerFast, TokenStore]:
    tokenizer = _tokenizer(FAMILIES[name])
    return tokenizer, open_tokens(corpus, tokenizer, max_tokens=2048, cache_dir=folder)


def _texts(corpus: Corpus) -> dict[tuple[int, str], str]:
    columns = corpus.targets.select(["example", "supervision", "text"]).to_pydict()
    rows = zip(columns["example"], columns["supervision"], columns["text"], strict=True)
    return {(example, supervision): text for example, supervision, text in rows}


@pytest.mark.parametrize("name", FAMILIES)
def test_prompt_and_target_decode_to_what_was_rendered_once(name: str, corpus: Corpus, tmp_path: Path) -> None:
    family = FAMILIES[name]
    tokenizer, store = _open(corpus, name, tmp_path)
    columns = corpus.examples.select(["prompt", "kind", "choices"]).to_pydict()
    thinking = 0
    for (example, supervision), text in _texts(corpus).items():
        asked = prompt_text(columns["prompt"][example], columns["kind"][example], columns["choices"][example])
        prompt, target = store.prompt(example), store.target(example, corpus.supervisions.index(supervision))
        whole = str(tokenizer.decode([*prompt.tolist(), *target.tolist()]))
        assert whole == family.before + asked.strip() + family.after + text + family.end
        assert tokenizer.decode(target[:-1].tolist()) == text
        assert target[-1] == tokenizer.eos_token_id and tokenizer.eos_token_id not in target[:-1]
        if family.begin:
            assert [*prompt, *target].count(tokenizer.bos_token_id) == 1 and prompt[0] == tokenizer.bos_token_id
        thinking += text.startswith(THINK_OPEN) and THINK_CLOSE in str(tokenizer.decode(target.tolist()))
    assert thinking
    prefix = list(store.think_prefix)
    assert tokenizer.decode(prefix) == THINK_OPEN
    assert len(prefix) == (1 if family.think_tokens else len(THINK_OPEN))


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_cover_the_target_and_nothing_else(name: str, corpus: Corpus, tmp_path: Path) -> None:
    _, store = _open(corpus, name, tmp_path)
    for column in range(len(corpus.supervisions)):
        offered = np.flatnonzero(store.target_tokens_NS[:, column] >= 0)[:8]
        rows = Rows(store=store, example_R=offered, supervision_R=np.full(len(offered), column))
        lengths = (rows.prompt_tokens_R + rows.target_tokens_R).astype(np.int64)
        targets = rows.target_tokens_R.astype(np.int64)
        for batch in pack(np.arange(len(offered)), lengths, targets, micro_batch_tokens=4000):
            tensors = collate(rows, batch, pad_id=0, device=torch.device("cpu"))
            real = tensors.label_H != IGNORED_LABEL
            learnt = torch.zeros(tensors.input_ids.numel(), dtype=torch.bool)
            learnt[tensors.position_H[real] + 1] = True
            start = 0
            for row, length, width in zip(batch.row_B, batch.length_B, batch.width_B, strict=True):
                prompt, target = (
                    store.prompt(int(offered[row])),
                    store.target(int(offered[row]), column),
                )
                expected = np.arange(length) >= len(prompt)
                assert np.array_equal(learnt[start : start + length].numpy(), expected)
                assert not learnt[start + length : start + width].any()  # a row's padding
                assert np.array_equal(tensors.input_ids[0, start : start + length].numpy()[expected], target)
                start += int(width)
            assert not learnt[start:].any()
            assert int(real.sum()) == batch.supervised_tokens
