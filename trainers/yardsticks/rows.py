"""The rows that every side of a speed comparison trains on, and how many of them make one step."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curricula.corpus import Corpus
from trainers.batches import Integers
from trainers.collate import Rows
from trainers.pricing.flops import ModelShape, train_flops
from trainers.tokens import IGNORED_LABEL, TokenStore

RowSet = Literal["similar", "mixed"]
"""`similar`: one supervision, rows whose lengths hardly differ; `mixed`: every example under all its supervisions."""

SIMILAR_SUPERVISION = "compressed"
SIMILAR_SHARE = 0.1
"""A row is similar whose length differs from the median by at most this share of it."""


def choose_rows(corpus: Corpus, store: TokenStore, kind: RowSet, *, limit: int, seed: int = 0) -> Rows:
    """Up to `limit` rows of the training split, shuffled by `seed`.

    Raises:
        ValueError: the corpus has no such rows.
    """
    train_N = corpus.rows("train").astype(np.int64)
    tokens_NS = store.target_tokens_NS[train_N].astype(np.int64)
    if kind == "similar":
        if SIMILAR_SUPERVISION not in corpus.supervisions:
            raise ValueError(f"corpus {corpus.name!r} has no targets under {SIMILAR_SUPERVISION!r}")
        other = [column for column, name in enumerate(corpus.supervisions) if name != SIMILAR_SUPERVISION]
        tokens_NS[:, other] = -1
    length_NS = np.where(tokens_NS >= 0, store.prompt_tokens_N[train_N][:, None] + tokens_NS, -1)
    chosen_NS = length_NS >= 0
    if kind == "similar" and chosen_NS.any():
        median = float(np.median(length_NS[chosen_NS]))
        chosen_NS &= np.abs(length_NS - median) <= SIMILAR_SHARE * median
    example_R, supervision_R = np.nonzero(chosen_NS)
    if not len(example_R):
        raise ValueError(f"corpus {corpus.name!r} has no {kind} rows in its train split")
    order = np.random.default_rng(seed).permutation(len(example_R))[:limit]
    return Rows(store=store, example_R=train_N[example_R[order]], supervision_R=supervision_R[order])


def lengths(rows: Rows) -> NDArray[np.int64]:
    """Tokens of every row (R,), prompt and target."""
    return rows.prompt_tokens_R.astype(np.int64) + rows.target_tokens_R


def rows_a_step(rows: Rows, step_tokens: int) -> int:
    """Rows that hold about as many tokens as a step that is cut once it has reached `step_tokens`.

    Such a step ends with the row that reaches the mark, so that it holds half a mean row more than the mark.
    """
    mean = float(lengths(rows).mean())
    return max(1, round((step_tokens + mean / 2) / mean))


def mean_token_flops(rows: Rows, shape: ModelShape) -> float:
    """FLOPs that training needs for a token of these rows, padding and a head at unsupervised positions left out."""
    length_R, target_R = lengths(rows), rows.target_tokens_R.astype(np.int64)
    return float(train_flops(shape, rows=1, length=length_R, head_positions=target_R).sum() / length_R.sum())


def token_lists(rows: Rows) -> tuple[list[list[int]], list[list[int]]]:
    """`input_ids` and `labels` of every row, as a trainer of token lists takes them: the prompt is not learnt."""
    ids, labels = [], []
    for example, supervision in zip(_plain(rows.example_R), _plain(rows.supervision_R), strict=True):
        prompt, target = rows.store.prompt(example).tolist(), rows.store.target(example, supervision).tolist()
        ids.append(prompt + target)
        labels.append([IGNORED_LABEL] * len(prompt) + target)
    return ids, labels


def _plain(values: Integers) -> list[int]:
    return [int(value) for value in values]
