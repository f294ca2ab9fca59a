"""Which compressor, in plain data: a driver without torch names it, a worker builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from curricula.types import Supervision
from trainers.compressors.targets import CompressStep, Cuts
from trainers.teachers.sampling import LocalModel
from trainers.teachers.server_teacher import ServerTeacher

Method = Literal["truncated", "steps", "tokens", "rewrite"]
METHODS: tuple[Method, ...] = get_args(Method)
Signal = Literal["surprisal", "entropy"]


@dataclass(frozen=True, kw_only=True)
class CompressorSpec:
    """What a worker makes its step from.

    Example:
        CompressorSpec(method="steps", cuts=Cuts(source="reasoning", ratios=(0.3,)), scorer="models/small",
                       cache_dir=Path("cache"))
    """

    method: Method
    cuts: Cuts
    cache_dir: Path  # where converted GGUF files are kept
    scorer: str | None = None  # the model that scores steps or tokens
    signal: Signal = "entropy"
    tokenizer: str = "tiny"  # counts what no scorer counts
    teacher: ServerTeacher | LocalModel | None = None  # writes rewrites
    attempts: int = 3  # at one rewrite
    journal: Path | None = None  # keeps what the teacher wrote
    threads: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.method in ("steps", "tokens") and self.scorer is None:
            raise ValueError(
                f"method {self.method!r} needs a scorer: a small causal language model, as a folder, a hub id or a "
                ".gguf file"
            )
        if self.method == "rewrite" and self.teacher is None:
            raise ValueError("method 'rewrite' needs a teacher: a server or a local instruct model")

    def build(self) -> CompressStep:
        """The step, in the process that is to run it.

        Raises:
            ValueError: a model cannot be had or used.
        """
        # Here, not above: the driver must not load torch.
        from trainers.compressors.building import build_step

        return build_step(self)

    @property
    def matched(self) -> str | None:
        """How the length-matched control names what it is matched to."""
        if self.cuts.match is None:
            return None
        matched = Supervision.parse(self.cuts.match)
        return matched.compressor or matched.kind
