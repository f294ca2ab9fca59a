"""What is computed (`RunConfig`, fingerprinted) and where it runs (`Where`): they share no field."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run's result. The same RunConfig gives the same stages.jsonl on a CPU in fp32.

    So a CPU computes in fp32 unless bf16 is asked for, which depends on more of the hardware; the summary says what a
    run promised.
    """

    policy: CurriculumPolicy
    student: str = "tiny"  # tiny-0.2m, tiny, tiny-3m, a Hugging Face folder or id, or a .gguf file
    corpus: str = "procedural"  # procedural, procedural-all, a saved corpus, a GSM8K folder, or a .jsonl or .parquet
    total_flops: float = 6e12  # the one budget: training, probes and bought features
    seed: int = 0
    final_split: Literal["dev", "test"] = "dev"  # test is opened once, for the configuration you report
    eval_examples: int | None = None  # questions of the final evaluation, by hash; all where none
    strict: bool = False  # whether a dropped target is an error
    max_tokens: int | None = (
        None  # longest row trained on, in tokens; the student's positions, at most 1024, where none
    )
    max_output_tokens: int | None = None  # cap of an answer, in tokens; the longest target's where none
    step_tokens: int | None = None  # unpadded tokens of one optimizer step; by the student's size where none
    micro_batch_tokens: int | None = None  # padded positions computed at once; by the student's size where none
    lora_rank: int | None = None  # of adapters on all linear layers, the rest frozen; everything is trained where none
    lora_alpha: float | None = None  # adapters count lora_alpha / lora_rank; 32 where none
    precision: Precision | None = None  # of training's products; bf16 on a GPU, fp32 on a CPU, where none
    activation_checkpointing: bool = False  # recompute activations: less memory, more FLOPs, which are charged
    batch_answers: int = 128  # answers generated side by side
    threads: int | None = None  # of one student; this machine's cores where none
    learning_rates: dict[str, float] | None = None  # base rate by supervision kind; by the student's size where none
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        checks = {
            "total_flops": self.total_flops >= 1,
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
        if self.lora_rank is None and self.lora_alpha is not None:
            raise ValueError(f"lora_alpha={self.lora_alpha} scales adapters, and there are none; set lora_rank too")


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
