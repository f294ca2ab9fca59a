"""How a teacher is to write, and which local model is one: plain data, so that a driver without torch can hold it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainers.teachers.teacher import Request

Engine = Literal["own", "vllm"]
"""Who writes a local teacher's completions: our own loop (trainers/decoding/), or vLLM."""
BATCH_ROWS: Mapping[Engine, int] = {"own": 32, "vllm": 1024}
"""Completions asked for at once where nothing is said. vLLM lets its own number of rows in, as there is room, and is
idle for nobody but the last of a batch; what it is at is lost in a kill."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn.

    Example:
        Sampling(temperature=0.6, top_p=0.95, max_tokens=8192)
    """

    temperature: float = 0.6  # 0 is greedy
    top_p: float = 0.95  # the likeliest tokens that together have this probability are drawn from, in (0, 1]
    max_tokens: int = 4096  # of one completion, thinking included
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature must be 0 (greedy) or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], got {self.top_p}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")

    def seed_of(self, request: Request) -> int:
        """A seed of 31 bits that no two requests are meant to share, the same whatever else is asked for."""
        content = f"{self.seed}\0{request.sample}\0{request.thinking}\0{request.prompt}"
        return int.from_bytes(hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A Hugging Face model on this machine that is to teach.

    Example:
        LocalModel(name="student", model="runs/x/student", cache_dir=Path("cache"))
    """

    name: str  # as it stands behind `#`; may be empty
    model: str  # a folder, a hub id, a .gguf file or a tiny student, as trainers.student takes it
    cache_dir: Path  # where converted GGUF files are kept
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = "own"
    batch_rows: int = BATCH_ROWS["own"]  # completions asked for at once; our own loop writes them side by side
    threads: int = 1

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.threads < 1:
            raise ValueError(f"batch_rows and threads must be at least 1, got {self.batch_rows} and {self.threads}")
