"""Texts beside a corpus's own targets, to be teacher forced: the choices of a question, as targets of a small store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from trainers.collate import Rows
from trainers.tokens import TokenStore


def choice_rows(
    store: TokenStore, tokenizer: PreTrainedTokenizerBase, examples: Sequence[int], texts_Q: Sequence[Sequence[str]]
) -> Rows:
    """A row for each choice of each question, questions in the order given.

    Args:
        examples: Q examples of the store, whose prompts are read.
        texts_Q: each one's choices, as a student would write them; the end token is added.
    """
    prompts = [store.prompt(example) for example in examples]
    ends = [tokenizer.eos_token_id]
    targets = [
        [[*ids, *ends] for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]] for texts in texts_Q
    ]
    lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int32)
    most = max(len(texts) for texts in texts_Q)
    tokens_QS = np.full((len(prompts), most), -1, dtype=np.int32)
    for place, own in enumerate(targets):
        tokens_QS[place, : len(own)] = [len(target) for target in own]
    question_R, choice_R = np.nonzero(tokens_QS >= 0)
    start_QS = np.zeros(tokens_QS.shape, dtype=np.int64)
    tokens_R = tokens_QS[question_R, choice_R].astype(np.int64)
    start_QS[question_R, choice_R] = lengths.sum(dtype=np.int64) + np.cumsum(tokens_R) - tokens_R
    ids = np.concatenate([*prompts, *(np.array(target) for own in targets for target in own)]).astype(np.int32)
    small = TokenStore(
        ids=ids,
        prompt_start_N=np.cumsum(lengths, dtype=np.int64) - lengths,
        prompt_tokens_N=lengths,
        target_start_NS=start_QS,
        target_tokens_NS=tokens_QS,
        thinking_tokens_NS=np.zeros_like(tokens_QS),
        too_long_NS=np.zeros(tokens_QS.shape, dtype=bool),
        think_prefix=store.think_prefix,
    )
    return Rows(store=small, example_R=question_R, supervision_R=choice_R)
