"""Lengths of texts in tokens, from a tokenizer alone: no model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from curricula.rendering import messages
from curricula.types import Ints
from trainers.positions import stated_positions
from trainers.student import STUDENTS, TINY_MAX_TOKENS
from trainers.tokenizer import character_tokenizer

_NO_LIMIT = 10**9  # tokenizers that know no limit say 10**30


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenCounter:
    """Counts tokens as training does (trainers.tokens): a prompt as the student reads it, a target with its end token.

    Example:
        open_counter("tiny").target_tokens(["7"])  # [2]
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    positions: int | None  # the longest sequence its model takes; None where that is not known

    def prompt_tokens(self, texts: Sequence[str]) -> Ints:
        """Tokens of each question, in the tokenizer's chat template where it has one, else with a line break."""
        if self.tokenizer.chat_template is None:
            return self._tokens([text + "\n" for text in texts])
        chats = [
            str(self.tokenizer.apply_chat_template(messages(text), tokenize=False, add_generation_prompt=True))
            for text in texts
        ]
        return self._tokens(chats)

    def target_tokens(self, texts: Sequence[str]) -> Ints:
        """Tokens of each target, its end token included."""
        return self._tokens(texts) + np.int32(1)

    def _tokens(self, texts: Sequence[str]) -> Ints:
        if isinstance(self.tokenizer, PreTrainedTokenizerFast):
            # The same ids as by a call, without making lists of them: twice as fast.
            backend = self.tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            rows = backend.encode_batch_fast(list(texts), add_special_tokens=False)
            return np.array([len(row) for row in rows], dtype=np.int32)
        rows = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return np.array([len(row) for row in rows], dtype=np.int32)


def open_counter(name: str) -> TokenCounter:
    """The tokenizer of a student, or of a folder or hub id that need hold no more than a tokenizer.

    Args:
        name: one of `STUDENTS`, a folder, a hub id or a .gguf file.

    Raises:
        ValueError: there is no such tokenizer, or it cannot be loaded.
    """
    if name in STUDENTS:
        tokenizer: PreTrainedTokenizerBase = character_tokenizer(max_tokens=TINY_MAX_TOKENS)
        return TokenCounter(name=name, tokenizer=tokenizer, positions=TINY_MAX_TOKENS)
    path = Path(name).expanduser()
    gguf = path.suffix.lower() == ".gguf"
    if not (path.is_file() if gguf else path.is_dir() or name.count("/") == 1):
        raise ValueError(
            f"there is no tokenizer {name!r}: give one of {', '.join(STUDENTS)}, a folder with a tokenizer, a hub id "
            "such as organisation/model, or a .gguf file"
        )
    where = path.parent if gguf else path if path.is_dir() else name
    gguf_file = path.name if gguf else None
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=gguf_file)
        positions = _positions(where, gguf_file, tokenizer)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(" :")
        raise ValueError(f"the tokenizer of {name!r} cannot be loaded: {reason}") from None
    return TokenCounter(name=name, tokenizer=tokenizer, positions=positions)


def _positions(where: Path | str, gguf_file: str | None, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The most positions of the model beside a tokenizer, or what the tokenizer says where it stands alone."""
    if isinstance(where, str) or gguf_file is not None or (where / "config.json").is_file():
        stated = stated_positions(AutoConfig.from_pretrained(where, gguf_file=gguf_file))
    else:
        stated = tokenizer.model_max_length
    return int(stated) if stated and stated < _NO_LIMIT else None
