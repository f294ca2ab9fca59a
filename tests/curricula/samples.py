"""Samples of published sets, each in its exact shape, and what tests ask of the examples they make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from curricula.layouts import Layout
from curricula.stream.intake import UnusableError
from curricula.types import Example, Target

SAMPLES = Path(__file__).parent.parent / "samples"
LAYOUT_OF = {
    "alpaca": "alpaca",
    "gsm8k": "gsm8k",
    "messages": "messages",
    "mixchain_gsm8k": "mixchain",
    "mixchain_prm12k": "mixchain",
    "openr1_math": "openr1-math",
    "openthoughts2": "openthoughts",
    "openthoughts3": "openthoughts",
    "openthoughts_114k": "openthoughts",
    "openthoughts_114k_metadata": "openthoughts-metadata",
    "own": "own",
    "prompt_completion": "prompt-completion",
    "s1k_1_1": "s1k",
    "scale_or_reason": "paired",
    "sharegpt": "sharegpt",
    "uwnsl_long_cot": "short-solutions",
    "uwnsl_short_cot": "short-solutions",
}

Row = Mapping[str, object]


def sample(name: str) -> list[Row]:
    return [json.loads(line) for line in (SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def reason(layout: Layout, row: Row) -> str:
    with pytest.raises(UnusableError) as error:
        layout.example(row, "a.jsonl, line 1")
    return str(error.value)


def texts(example: Example) -> dict[str, str]:
    return {target.supervision: target.text for target in example.targets}


def verdicts(example: Example) -> dict[str, str]:
    return {target.supervision: target.verdict for target in example.targets}


def target(example: Example, supervision: str) -> Target:
    return next(target for target in example.targets if target.supervision == supervision)
