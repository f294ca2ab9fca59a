"""A corpus as token ids, written once per (corpus, tokenizer, limits) and memory-mapped by every actor.

A row is prompt + target: the prompt through the tokenizer's chat template where it has one, else followed by a line
break; the target followed by the end token. Prompt and target are tokenized apart, so that the boundary between what
is read and what is learnt is exact. A row longer than `max_tokens` is not offered, and counted: a trace cut before its
answer would teach a student to stop thinking half way.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import BatchEncoding, PreTrainedTokenizerBase

from curricula.corpus import Corpus
from curricula.rendering import THINK_CLOSE, THINK_OPEN, messages, prompt_text

FORMAT = "2"  # of the files; part of their key
IGNORED_LABEL = -100


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenStore:
    """Token ids of a corpus. N is every example of it, of whatever split.

    `ids` holds all prompts and targets end to end; `prompt_start_N`, `target_start_NS` say where each begins.
    """

    ids: NDArray[np.int32]
    prompt_start_N: NDArray[np.int64]
    prompt_tokens_N: NDArray[np.int32]
    target_start_NS: NDArray[np.int64]
    target_tokens_NS: NDArray[np.int32]  # end token included; -1 where not offered
    thinking_tokens_NS: NDArray[np.int32]  # of them, those up to the end of the think block; 0 where there is none
    too_long_NS: NDArray[np.bool_]  # offered by the corpus, left out here for length
    think_prefix: tuple[int, ...]  # the ids a thinking target opens with

    def prompt(self, example: int) -> NDArray[np.int32]:
        """Ids of a prompt."""
        start = int(self.prompt_start_N[example])
        return self.ids[start : start + int(self.prompt_tokens_N[example])]

    def target(self, example: int, supervision: int) -> NDArray[np.int32]:
        """Ids of a target, the end token last.

        Raises:
            ValueError: the example does not offer it.
        """
        count = int(self.target_tokens_NS[example, supervision])
        if count < 0:
            raise ValueError(f"example {example} offers no target under supervision column {supervision}")
        start = int(self.target_start_NS[example, supervision])
        return self.ids[start : start + count]


def render_prompts(corpus: Corpus, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Every prompt as the student reads it."""
    columns = corpus.examples.select(["prompt", "kind", "choices"]).to_pydict()
    texts = [
        prompt_text(prompt, kind, choices)
        for prompt, kind, choices in zip(columns["prompt"], columns["kind"], columns["choices"], strict=True)
    ]
    if tokenizer.chat_template is None:
        return [text + "\n" for text in texts]
    return [
        str(tokenizer.apply_chat_template(messages(text), tokenize=False, add_generation_prompt=True)) for text in texts
    ]


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Identity of what a tokenizer does to text, its template and end token included."""
    digest = hashlib.sha256()
    digest.update(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    digest.update(f"{tokenizer.chat_template}\0{tokenizer.eos_token_id}".encode())
    digest.update(json.dumps(tokenizer("a B  1,234\n<think>é</think> 7")["input_ids"]).encode())
    return digest.hexdigest()


def open_tokens(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int, cache_dir: Path) -> TokenStore:
    """The store of a corpus, tokenized now unless it lies in `cache_dir`.

    Raises:
        ValueError: the tokenizer has no end token, or every row is longer than `max_tokens`.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the student's tokenizer has no end token, so an answer could never end")
    key = hashlib.sha256(
        f"{FORMAT}\0{corpus.fingerprint}\0{tokenizer_digest(tokenizer)}\0{max_tokens}".encode()
    ).hexdigest()[:32]
    folder = cache_dir / "tokens" / key
    if not folder.exists():
        _write_aside(folder, _tokenize(corpus, tokenizer, max_tokens=max_tokens))
    # As plain arrays over the mapped files: a slice of a memmap object costs several times a slice of an array.
    arrays = {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in sorted(folder.glob("*.npy"))}
    store = TokenStore(
        ids=arrays["ids"],
        prompt_start_N=arrays["prompt_start_N"],
        prompt_tokens_N=arrays["prompt_tokens_N"],
        target_start_NS=arrays["target_start_NS"],
        target_tokens_NS=arrays["target_tokens_NS"],
        thinking_tokens_NS=arrays["thinking_tokens_NS"],
        too_long_NS=arrays["too_long_NS"],
        think_prefix=tuple(_encode(tokenizer, [THINK_OPEN])["input_ids"][0]),
    )
    if (store.target_tokens_NS < 0).all():
        raise ValueError(f"every row of the corpus is longer than max_tokens={max_tokens}; raise it")
    return store


def _encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> BatchEncoding:
    return tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)


def _tokenize(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> dict[str, NDArray[np.generic]]:
    """All arrays of a store, by name."""
    prompts = _encode(tokenizer, render_prompts(corpus, tokenizer))["input_ids"]
    texts = corpus.targets["text"].to_pylist()
    encoded = _encode(tokenizer, texts)
    targets = encoded["input_ids"]
    prompt_tokens_N = np.array([len(ids) for ids in prompts], dtype=np.int32)
    tokens_T = np.array([len(ids) + 1 for ids in targets], dtype=np.int64)
    start_T = int(prompt_tokens_N.sum()) + np.cumsum(tokens_T) - tokens_T
    end = tokenizer.eos_token_id
    assert isinstance(end, int), end
    total = int(prompt_tokens_N.sum() + tokens_T.sum())
    ids = np.fromiter(
        (token for part in (prompts, ((*target, end) for target in targets)) for row in part for token in row),
        dtype=np.int32,
        count=total,
    )
    row_NS = corpus.target_rows_NS()
    offered_NS = row_NS >= 0
    target_tokens_NS = np.where(offered_NS, tokens_T[row_NS], -1).astype(np.int32)
    target_start_NS = np.where(offered_NS, start_T[row_NS], 0)
    thinking_tokens_NS = np.where(offered_NS, _thinking_tokens(tokenizer, texts, encoded)[row_NS], 0)
    too_long_NS = offered_NS & (target_tokens_NS + prompt_tokens_N[:, None] > max_tokens)
    target_tokens_NS[too_long_NS] = -1
    return {
        "ids": ids,
        "prompt_start_N": np.cumsum(prompt_tokens_N, dtype=np.int64) - prompt_tokens_N,
        "prompt_tokens_N": prompt_tokens_N,
        "target_start_NS": target_start_NS,
        "target_tokens_NS": target_tokens_NS,
        "thinking_tokens_NS": thinking_tokens_NS,
        "too_long_NS": too_long_NS,
    }


def _thinking_tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], encoded: BatchEncoding
) -> NDArray[np.int32]:
    """Tokens of each text (T,) up to the end of its think block, counted in the tokens of the whole text.

    A tokenizer may split the closing tag, or join its end with what follows: the token that holds its last character
    is the block's last. One that is written in Python does not say which that is; it is asked for the block alone.
    """
    end_T = [text.find(THINK_CLOSE) + len(THINK_CLOSE) if THINK_CLOSE in text else 0 for text in texts]
    if not encoded.is_fast:
        blocks = [text[:end] for text, end in zip(texts, end_T, strict=True)]
        return np.array([len(ids) for ids in _encode(tokenizer, blocks)["input_ids"]], dtype=np.int32)
    last_T = [encoded.char_to_token(row, end - 1) if end else -1 for row, end in enumerate(end_T)]
    return np.array(last_T, dtype=np.int32) + 1


def _write_aside(folder: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write under another name, then rename: a reader sees the whole store or none."""
    aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    aside.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(aside / f"{name}.npy", array)
    try:
        os.rename(aside, folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(aside)  # another actor was first, with the same content
