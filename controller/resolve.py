"""Fills what a config leaves open from the student and the corpus, once, so that no `auto` survives in config.yaml."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from controller.config import RunConfig
from controller.tables import Identity, TokenCounts
from curricula.types import SUPERVISION_KINDS, SupervisionKind
from trainers.pricing.tuning import Adapters, Tuning

LONGEST_ROW_TOKENS = 1024
OUTPUT_MARGIN_TOKENS = 8  # beyond the longest target: room to end

SMALL_PARAMETERS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class SizeClass:
    """Students of about one size, and the base learning rate of full fine-tuning by supervision kind.

    Example:
        SizeClass(name="0.4 to 1 M", below_parameters=1e6,
                  rates={"answer": 5e-4, "compressed": 1e-3, "reasoning": 1e-3})
    """

    name: str
    below_parameters: float
    rates: Mapping[SupervisionKind, float]


# The one table of base rates. Where experiments/rates.json has a size and kind, its rate stands here
# (python -m experiments.rates; a test holds one against the other): `tiny-0.2m`, `tiny`, `tiny-3m` and, coarsely,
# SmolLM2-135M, the one pretrained student.
SIZE_CLASSES = (
    SizeClass(
        name="below 0.4 M",
        below_parameters=400_000,
        rates={"answer": 2e-3, "compressed": 2e-3, "reasoning": 1e-3},
    ),
    SizeClass(
        name="0.4 to 1 M",
        below_parameters=1_000_000,
        rates={"answer": 5e-4, "compressed": 1e-3, "reasoning": 1e-3},
    ),
    SizeClass(
        name="1 to 10 M",
        below_parameters=SMALL_PARAMETERS,
        rates={"answer": 2.5e-4, "compressed": 2.5e-4, "reasoning": 5e-4},
    ),
    SizeClass(
        name="10 M and more",
        below_parameters=math.inf,
        rates={"answer": 2e-4, "compressed": 1e-4, "reasoning": 2e-4},
    ),
)
NEAREST_KIND: Mapping[SupervisionKind, SupervisionKind] = {
    "response": "answer",  # no thinking, and the answer at its end
    "short": "compressed",  # a few steps
    "truncated": "compressed",  # cut to its length
}
"""Whose rate a kind takes that was not gridded."""

# Adapters of a pretrained student are tuned at ten times the rate of full fine-tuning, and with alpha fixed the best
# rate hardly depends on the rank: both after "LoRA Without Regret" (2025), taken over, not tuned here.
# A small student has only what it was trained on here to adapt: of 2e-3, 6e-3 and 2e-2 (rank 16, 120 steps of 512
# tokens, one seed) the middle one was best from random weights, the two lower ones alike from trained ones, and the
# highest diverged.
LORA_RATE_FACTOR = 10.0
SMALL_LORA_RATE_FACTOR = 3.0
LORA_ALPHA = 32.0

# Activations of a 0.1 B student take 1.5 GB per 1,024 positions in fp32; on a CPU larger micro-batches are no faster,
# on an accelerator they are, and one that is too large is halved.
_LARGE_MICRO_BATCH_TOKENS = {"cpu": 1024, "cuda": 8192}


def size_class(parameters: int) -> SizeClass:
    """The class of a student with so many parameters."""
    return next(size for size in SIZE_CLASSES if parameters < size.below_parameters)


def base_rates(parameters: int) -> dict[SupervisionKind, float]:
    """Base rate of every supervision kind, in full fine-tuning of a student with so many parameters."""
    rates = size_class(parameters).rates
    return {kind: rates[kind if kind in rates else NEAREST_KIND[kind]] for kind in SUPERVISION_KINDS}


def resolve_student(config: RunConfig, identity: Identity) -> RunConfig:
    """What depends on the student alone."""
    small = identity.shape.parameters < SMALL_PARAMETERS
    adapted = SMALL_LORA_RATE_FACTOR if small else LORA_RATE_FACTOR
    factor = 1.0 if config.lora_rank is None else adapted
    rates = {kind: factor * rate for kind, rate in base_rates(identity.shape.parameters).items()}
    return dataclasses.replace(
        config,
        max_tokens=config.max_tokens or min(identity.positions, LONGEST_ROW_TOKENS),
        step_tokens=config.step_tokens or (512 if small else 2048),
        micro_batch_tokens=config.micro_batch_tokens or (8192 if small else _LARGE_MICRO_BATCH_TOKENS[identity.device]),
        lora_alpha=None if config.lora_rank is None else config.lora_alpha or LORA_ALPHA,
        precision=config.precision or identity.precision,
        learning_rates=dict(sorted({**rates, **(config.learning_rates or {})}.items())),
    )


def resolve_corpus(config: RunConfig, counts: TokenCounts) -> RunConfig:
    """What depends on the corpus's lengths."""
    longest = int(counts.target_tokens_NS.max())
    return dataclasses.replace(config, max_output_tokens=config.max_output_tokens or longest + OUTPUT_MARGIN_TOKENS)


def run_tuning(config: RunConfig) -> Tuning:
    """What a run trains: everything, or adapters alone."""
    if config.lora_rank is None:
        return Tuning(recompute=config.activation_checkpointing)
    return Tuning(
        adapters=Adapters(rank=config.lora_rank),
        embeddings=False,
        head=False,
        recompute=config.activation_checkpointing,
        marked_input=False,
    )


def resolve_threads(config: RunConfig) -> RunConfig:
    """Threads of a student: decided before one is loaded, since loading it already computes."""
    tiny = config.student.startswith("tiny")
    return dataclasses.replace(config, threads=config.threads or (1 if tiny else 2))
