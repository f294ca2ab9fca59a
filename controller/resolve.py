"""Fills what a config leaves open from the student and the corpus, once, so that no `auto` survives in config.yaml."""

from __future__ import annotations

import dataclasses

from controller.config import RunConfig
from controller.tables import Identity, TokenCounts

LONGEST_ROW_TOKENS = 1024
OUTPUT_MARGIN_TOKENS = 8  # beyond the longest target: room to end

# Base rates by student size and supervision kind. Those of small students come from the grid in experiments/LOG.md;
# a pretrained student of 0.1 to 1 B parameters is tuned at 2e-4 for every kind.
_RATES_BELOW_TEN_MILLION = {
    "answer": 2e-3,
    "response": 2e-3,
    "short": 2e-3,
    "reasoning": 2e-3,
    "compressed": 2e-3,
    "truncated": 2e-3,
}
_RATES_ABOVE = dict.fromkeys(_RATES_BELOW_TEN_MILLION, 2e-4)
SMALL_PARAMETERS = 10_000_000


def resolve_student(config: RunConfig, identity: Identity) -> RunConfig:
    """What depends on the student alone."""
    small = identity.shape.parameters < SMALL_PARAMETERS
    rates = _RATES_BELOW_TEN_MILLION if small else _RATES_ABOVE
    return dataclasses.replace(
        config,
        max_tokens=config.max_tokens or min(identity.positions, LONGEST_ROW_TOKENS),
        step_tokens=config.step_tokens or (512 if small else 2048),
        micro_batch_tokens=config.micro_batch_tokens or (8192 if small else 2048),
        learning_rates=dict(sorted({**rates, **(config.learning_rates or {})}.items())),
    )


def resolve_corpus(config: RunConfig, counts: TokenCounts) -> RunConfig:
    """What depends on the corpus's lengths."""
    longest = int(counts.target_tokens_NS.max())
    return dataclasses.replace(config, max_output_tokens=config.max_output_tokens or longest + OUTPUT_MARGIN_TOKENS)


def resolve_threads(config: RunConfig) -> RunConfig:
    """Threads of a student: decided before one is loaded, since loading it already computes."""
    tiny = config.student.startswith("tiny")
    return dataclasses.replace(config, threads=config.threads or (1 if tiny else 2))
