"""A comparison's figures again, straight from its files with json and plain arithmetic: none of the project's code."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

T_975 = {1: 12.706204736174698, 2: 4.302652729749462, 3: 3.182446305283708}
"""Student's t at 97.5%, by degrees of freedom."""

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Again:
    """One run of a comparison, read anew."""

    policy: str
    seed: int
    spent_flops: int
    mix_by_examples: Mapping[str, float]
    mix_by_flops: Mapping[str, float]
    answers: tuple[Row, ...]
    answer_flops: float


def read_again(comparison: Path) -> list[Again]:
    """The runs of a comparison, those that failed left out."""
    rows = json.loads((comparison / "compare.json").read_text(encoding="utf-8"))["rows"]
    return [_run(comparison / row["folder"], row["policy"], row["seed"]) for row in rows if "error" not in row]


def share_right(answers: Sequence[Row], where: Callable[[Row], bool] = lambda _: True) -> float:
    """Accuracy over some of the answers."""
    chosen = [row["correct"] is True for row in answers if where(row)]
    return sum(chosen) / len(chosen)


def mean_tokens(answers: Sequence[Row]) -> float:
    """Output tokens of an answer."""
    return sum(int(str(row["output_tokens"])) for row in answers) / len(answers)


def t_interval(by_seed: Sequence[float]) -> tuple[float, float, float]:
    """Mean and both ends of its 95% interval over seeds."""
    n = len(by_seed)
    mean = sum(by_seed) / n
    error = math.sqrt(sum((value - mean) ** 2 for value in by_seed) / (n - 1) / n)
    return mean, mean - T_975[n - 1] * error, mean + T_975[n - 1] * error


def _run(folder: Path, policy: str, seed: int) -> Again:
    stages = [json.loads(line) for line in (folder / "stages.jsonl").read_text(encoding="utf-8").splitlines()]
    charged = [charge for stage in stages for charge in stage["charges"]]
    mix = [part for stage in stages for part in stage["mix"]]
    answers = [json.loads(line) for line in (folder / "dev.jsonl").read_text(encoding="utf-8").splitlines()]
    config = json.loads((folder / "student" / "config.json").read_text(encoding="utf-8"))
    return Again(
        policy=policy,
        seed=seed,
        spent_flops=sum(c["flops"] for c in charged if c["purpose"] in ("train", "probe", "features")),
        mix_by_examples=_shares([(name, count) for name, count, _ in mix]),
        mix_by_flops=_shares([(name, flops) for name, _, flops in mix]),
        answers=tuple(sorted(answers, key=lambda row: row["id"])),
        answer_flops=sum(_flops(config, row["prompt_tokens"], row["output_tokens"]) for row in answers) / len(answers),
    )


def _shares(parts: Sequence[tuple[str, int]]) -> dict[str, float]:
    whole = sum(amount for _, amount in parts)
    return {name: sum(amount for other, amount in parts if other == name) / whole for name, _ in parts}


def _flops(config: Mapping[str, int], prompt: int, written: int) -> int:
    """Of one answer by a Llama without grouped queries, position by position: docs/design.md, the account."""
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    weights = layers * (4 * hidden * hidden + 3 * hidden * config["intermediate_size"])
    attention, head = layers * hidden, config["vocab_size"] * hidden
    total = 2 * prompt * weights + 4 * prompt * prompt * attention + 2 * head
    for step in range(1, written):
        total += 2 * weights + 4 * (prompt + step) * attention + 2 * head
    return total
