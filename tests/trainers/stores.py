"""Token stores for tests: random ids of given lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainers.tokens import TokenStore


def random_store(
    *, vocabulary: int, prompt_tokens: Sequence[int], target_tokens: Sequence[int], seed: int = 0
) -> TokenStore:
    """One supervision; example i has the given numbers of tokens, ids from 3 up."""
    rng = np.random.default_rng(seed)
    prompts, targets = np.array(prompt_tokens, dtype=np.int32), np.array(target_tokens, dtype=np.int32)
    total = int(prompts.sum() + targets.sum())
    return TokenStore(
        ids=rng.integers(3, vocabulary, total, dtype=np.int32),
        prompt_start_N=np.cumsum(prompts, dtype=np.int64) - prompts,
        prompt_tokens_N=prompts,
        target_start_NS=(prompts.sum() + np.cumsum(targets, dtype=np.int64) - targets)[:, None],
        target_tokens_NS=targets[:, None],
        thinking_tokens_NS=np.zeros((len(prompts), 1), dtype=np.int32),
        too_long_NS=np.zeros((len(prompts), 1), dtype=bool),
        think_prefix=(1,),
    )
