"""What is computed (`RunConfig`, fingerprinted) and where it runs (`Where`): they share no field."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from controller.ledger import Unit
from curricula.policy import CurriculumPolicy
from curricula.procedural import FAMILIES
from trainers.jobs import Precision
from trainers.schedule import Schedule

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

PROCEDURAL: dict[str, tuple[str, ...]] = {
    # Ten families that a tiny student can learn in minutes: five need no trace, three a short one, two a long one.
    "procedural": ("bigger", "last_digit", "copy", "label", "sort", "add", "chain", "maximum", "long_chain", "walk"),
    "procedural-all": tuple(FAMILIES),  # harder ones beside them, for larger students and budgets
}
"""The corpora that are made here, by name, and their families."""

DEFAULT_FLOPS = 6_000_000_000_000
DOLLARS_PER_HOUR: Mapping[str, float] = {"cpu": 0.05, "cuda": 3.0}
"""Of one core, and of one GPU with all its host: of the order of what clouds ask for, an assumption and no offer."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run's result. The same RunConfig gives the same stages.jsonl on a CPU in fp32.

    So a CPU computes in fp32 unless bf16 is asked for, which depends on more of the hardware; the summary says what a
    run promised.
    """

    policy: CurriculumPolicy
    student: str = "tiny"  # tiny-0.2m, tiny, tiny-3m, a Hugging Face folder or id, or a .gguf file
    white_box_teacher: str | None = None  # whose logits and hidden states recipes may ask for; named as students are
    corpus: str = "procedural"  # procedural, procedural-all, a saved corpus, a GSM8K folder, or a .jsonl or .parquet
    total_flops: float | None = None  # the one budget: training, probes and bought features; 6e12 where none is given
    total_tokens: float | None = None  # ... in unpadded tokens read and written
    total_seconds: float | None = None  # ... in seconds of workers, those side by side each counted
    total_dollars: float | None = None  # ... in those seconds at their price
    dollars_per_hour: dict[str, float] | None = None  # price of a core (cpu) and of a GPU (cuda); 0.05 and 3 where none
    seed: int = 0
    final_split: Literal["dev", "test"] = "dev"  # test is opened once, for the configuration you report
    grader: str | None = None  # import path of your own (prompt, answer, output) -> bool; the usual rules where none
    eval_examples: int | None = None  # questions of the final evaluation, by hash; all where none
    strict: bool = False  # whether a dropped target is an error
    max_tokens: int | None = (
        None  # longest row trained on, in tokens; the student's positions, at most 1024, where none
    )
    max_output_tokens: int | None = None  # cap of an answer, in tokens; the longest target's where none
    step_tokens: int | None = None  # unpadded tokens of one optimizer step; by the student's size where none
    micro_batch_tokens: int | None = None  # tokens computed at once; by the student's size where none
    lora_rank: int | None = None  # of adapters on all linear layers, the rest frozen; everything is trained where none
    lora_alpha: float | None = None  # adapters count lora_alpha / lora_rank; 32 where none
    precision: Precision | None = None  # of training's products; bf16 on a GPU, fp32 on a CPU, where none
    activation_checkpointing: bool = False  # recompute activations: less memory, more FLOPs, which are charged
    batch_answers: int = 128  # answers generated side by side
    threads: int | None = None  # of one student; this machine's cores where none
    learning_rates: dict[str, float] | None = None  # base rate by supervision kind; by the student's size where none
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if len(self._budgets) > 1:
            given = " and ".join(f"total_{unit}" for unit in self._budgets)
            raise ValueError(f"a run has one budget, and {given} are given; leave out, or set to null, all but one")
        unknown = sorted(set(self.dollars_per_hour or {}) - set(DOLLARS_PER_HOUR))
        if unknown:
            raise ValueError(f"dollars_per_hour: no price is asked for {unknown[0]!r}; there are cpu and cuda")
        checks = {
            **{f"total_{unit}": _is_amount(unit, total) for unit, total in self._budgets.items()},
            "dollars_per_hour": all(
                math.isfinite(price) and price >= 0 for price in (self.dollars_per_hour or {}).values()
            ),
            "seed": self.seed >= 0,
            "eval_examples": self.eval_examples is None or self.eval_examples >= 1,
            "max_tokens": self.max_tokens is None or self.max_tokens >= 2,
            "max_output_tokens": self.max_output_tokens is None or self.max_output_tokens >= 1,
            "step_tokens": self.step_tokens is None or self.step_tokens >= 1,
            "micro_batch_tokens": self.micro_batch_tokens is None or self.micro_batch_tokens >= 1,
            "lora_rank": self.lora_rank is None or self.lora_rank >= 1,
            "lora_alpha": self.lora_alpha is None or self.lora_alpha > 0,
            "batch_answers": self.batch_answers >= 1,
            "threads": self.threads is None or self.threads >= 1,
            "learning_rates": self.learning_rates is None or all(rate > 0 for rate in self.learning_rates.values()),
        }
        for name, holds in checks.items():
            if not holds:
                raise ValueError(f"{name} must be positive, got {dataclasses.asdict(self)[name]}")
        if self.policy.asks_teacher and self.white_box_teacher is None:
            raise ValueError(
                f"{type(self.policy).__name__} learns from a white-box teacher; name one with --white_box_teacher"
            )
        if self.lora_rank is None and self.lora_alpha is not None:
            raise ValueError(f"lora_alpha={self.lora_alpha} scales adapters, and there are none; set lora_rank too")

    @property
    def _budgets(self) -> dict[Unit, float]:
        given: dict[Unit, float | None] = {
            "flops": self.total_flops,
            "tokens": self.total_tokens,
            "seconds": self.total_seconds,
            "dollars": self.total_dollars,
        }
        return {unit: total for unit, total in given.items() if total is not None}

    @property
    def budget(self) -> tuple[Unit, float]:
        """The unit of the one budget, and its amount: whole of FLOPs and tokens."""
        for unit, total in self._budgets.items():
            return unit, int(total) if unit in ("flops", "tokens") else total
        return "flops", DEFAULT_FLOPS


def _is_amount(unit: Unit, total: float) -> bool:
    return math.isfinite(total) and (total >= 1 if unit in ("flops", "tokens") else total > 0)


def user_cache() -> Path:
    """Where this user's programs keep what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "adaptive-distillation"


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a run is computed and kept. Nothing here changes a result."""

    output_dir: Path  # a folder for this run alone
    num_workers: int = 1  # students side by side: forks and shards of probes
    cache_dir: Path = field(default_factory=user_cache)  # tokenized corpora and converted students
    ray_address: str | None = None  # of a running Ray cluster that shares both folders; a local one where none

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {self.num_workers}")


def policy_spec(policy: CurriculumPolicy) -> dict[str, Json]:
    """A policy as class path and fields, the way a config file spells it."""
    kind = type(policy)
    fields = {item.name: _plain(getattr(policy, item.name)) for item in dataclasses.fields(policy)}
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": fields}


def config_dict(config: RunConfig) -> dict[str, Json]:
    """A config as plain data, loadable again with `--config`."""
    values = {item.name: _plain(getattr(config, item.name)) for item in dataclasses.fields(config)}
    return {**values, "policy": policy_spec(config.policy)}


def _plain(value: object) -> Json:
    if isinstance(value, CurriculumPolicy):
        return policy_spec(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def fingerprint(identity: Mapping[str, Json]) -> str:
    """sha256 of plain data, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differing_fields(ours: Mapping[str, Json], theirs: Mapping[str, Json], prefix: str = "") -> list[str]:
    """Each field in which two configs differ, as `name: theirs -> ours`."""
    found = []
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found += differing_fields(mine, other, f"{prefix}{name}.")
        elif mine != other:
            found.append(f"{prefix}{name}: {json.dumps(other)} there, {json.dumps(mine)} now")
    return found
