"""What driver and workers tell each other before a run, and the tables that policies see: sizes, prices, no text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curricula.corpus import Corpus
from curricula.features import text_features
from curricula.types import ANSWER_KINDS, RIGHT_VERDICTS, ExampleTable, Split
from trainers.batches import BatchSizes
from trainers.jobs import Precision
from trainers.pricing.flops import ModelShape, generate_flops, train_flops
from trainers.pricing.tuning import Tuning
from trainers.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which student a worker holds, and which white-box teacher."""

    name: str
    digest: str  # of its weights' origin
    shape: ModelShape
    positions: int  # longest sequence it was made for
    device: str  # "cpu" or "cuda"
    precision: Precision  # what training uses there where nothing is said
    teacher: ModelShape | None = None  # of the white-box teacher; None where the run has none
    teacher_digest: str | None = None  # of its weights' origin


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a worker works; part of what is computed."""

    sizes: BatchSizes
    schedule: Schedule
    max_output_tokens: int
    checkpoints: Path
    seed: int
    tuning: Tuning
    lora_alpha: float | None  # None without adapters
    precision: Precision
    grader: str | None = None  # import path of a user's own
    mathematics: bool = True  # whether answers are compared as mathematics too


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenCounts:
    """Lengths of a whole corpus under one tokenizer. N is every example, S its supervisions."""

    prompt_tokens_N: NDArray[np.int32]
    target_tokens_NS: NDArray[np.int32]  # -1 where not offered
    too_long_S: NDArray[np.int64]  # targets left out for length, by supervision
    think_tokens: int  # of the think tag, which a forced probe puts before the answer


def build_table(
    corpus: Corpus, split: Split, counts: TokenCounts, *, shape: ModelShape, tuning: Tuning, max_output_tokens: int
) -> tuple[ExampleTable, NDArray[np.int64]]:
    """The table of a split and, for every row of it, the corpus example it stands for."""
    row_N = corpus.rows(split).astype(np.int64)
    columns = corpus.examples.select(["task", "kind", "prompt", "choices"]).take(row_N).to_pydict()
    prompt_tokens_N = counts.prompt_tokens_N[row_N]
    target_tokens_NS = counts.target_tokens_NS[row_N]
    offered_NS = target_tokens_NS >= 0
    length_NS = prompt_tokens_N[:, None].astype(np.int64) + target_tokens_NS
    flops_NS = train_flops(
        shape, rows=1, length=length_NS, head_positions=target_tokens_NS.astype(np.int64), tuning=tuning
    )
    answer_flops_N = generate_flops(
        shape,
        rows=1,
        prompt_length=prompt_tokens_N.astype(np.int64),
        new_tokens=max_output_tokens,
        adapters=tuning.adapters,
    )
    task_of = {task: index for index, task in enumerate(corpus.tasks)}
    table = ExampleTable(
        tasks=corpus.tasks,
        supervisions=corpus.supervisions,
        task_N=np.array([task_of[task] for task in columns["task"]], dtype=np.int32),
        kind_N=np.array([ANSWER_KINDS.index(kind) for kind in columns["kind"]], dtype=np.int32),
        prompt_tokens_N=prompt_tokens_N,
        target_tokens_NS=target_tokens_NS,
        verified_NS=_verified(corpus, row_N) & offered_NS,
        train_flops_NS=np.where(offered_NS, flops_NS, np.nan).astype(np.float64),
        answer_flops_N=np.asarray(answer_flops_N, dtype=np.float64),
        features_ND=text_features(columns["prompt"], columns["kind"], columns["choices"]),
    )
    return table, row_N


def _verified(corpus: Corpus, row_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    target_NS = corpus.target_rows_NS()[row_N]
    verified_T = np.isin(corpus.targets["verdict"].to_pylist(), list(RIGHT_VERDICTS))
    return verified_T[target_NS] & (target_NS >= 0)
