"""What the trainer's measurements come to: one number for each question, a median of repeats or a ratio of medians."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.speed.actors import ColdStart, Pair, Share
from experiments.speed.sides import Played

LIBRARIES = ("torch", "transformers", "trl", "accelerate", "datasets", "ray", "numpy", "scikit-learn")
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""A second, dense, in bf16, from the makers' data sheets, by a part of the device's name."""
COMPARED = {
    "similar_vs_default": ("similar", "trl_default"),
    "similar_vs_bare_loop": ("similar", "bare_loop"),
    "mixed_vs_default": ("mixed", "trl_default"),
    "mixed_vs_grouped": ("mixed", "trl_grouped"),
}
"""Rows and side of each ratio that has a name."""
_OF_THE_LARGE = ("similar_vs_default", "mixed_vs_default")


@dataclass(frozen=True, kw_only=True)
class Planning:
    """One stage planned, without a model."""

    policy: str
    rows: int  # training examples
    plan_rows: int
    steps: int
    next_stage_seconds: float
    check_seconds: float  # check_plan and plan_digest, which the controller adds
    batch_planning_seconds: float
    peak_bytes_before: int  # of the process: imports, tables and a rehearsed history
    peak_bytes: int

    @classmethod
    def read(cls, answer: Mapping[str, object], *, policy: str, rows: int) -> Planning:
        """What a process that plans told (experiments.speed.planning)."""
        return cls(
            policy=policy,
            rows=rows,
            plan_rows=int(str(answer["plan_rows"])),
            steps=int(str(answer["steps"])),
            next_stage_seconds=float(str(answer["next_stage_seconds"])),
            check_seconds=float(str(answer["check_seconds"])),
            batch_planning_seconds=float(str(answer["batch_planning_seconds"])),
            peak_bytes_before=int(str(answer["peak_bytes_before"])),
            peak_bytes=int(str(answer["peak_bytes"])),
        )

    @property
    def seconds(self) -> float:
        """What the bar is about."""
        return self.next_stage_seconds + self.batch_planning_seconds


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything that was measured, repeat by repeat; what was left out is empty or None."""

    played: tuple[Played, ...] = ()
    next_stage_seconds: Mapping[str, tuple[float, ...]]  # by side
    planning: tuple[Planning, ...] = ()
    many_rows: int
    ray_start_seconds: float | None = None
    cold_starts: tuple[ColdStart, ...] = ()  # the first one tokenized the corpus
    share: Share | None = None
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One number for each question."""

    ratios: dict[str, float]
    seconds: dict[str, float]
    shares: dict[str, float]
    ratios_by_cpu_time: dict[str, float]  # the ratios of sides, by the processor's clock
    seconds_beside: dict[str, float]  # what stands beside the others
    peak_bytes: dict[str, int]  # of a process that plans

    def all(self) -> dict[str, float]:
        """Those that may have a bar, by name."""
        return {**self.ratios, **self.seconds, **self.seconds_beside, **self.shares}


def figures_of(measured: Measured) -> Figures:
    """Medians, and ratios of them."""
    ratios, by_cpu = {}, {}
    for played in measured.played:
        student = played.match.name
        for name, (rows, side) in COMPARED.items():
            if played.match.rows == rows and (student != "smollm" or name in _OF_THE_LARGE):
                whole = f"{student}_{name}"
                ratios[whole] = ratio(played, side)
                by_cpu[whole] = ratio(played, side, by_cpu=True)
    if measured.pairs:
        ratios["two_actors_vs_one"] = statistics.median(pair.ratio for pair in measured.pairs)
    seconds = {
        name: statistics.median(measured.next_stage_seconds[side])
        for name, side in (("next_stage_warm", "ours"), ("next_stage_plain_trl", "trl"))
        if side in measured.next_stage_seconds
    }
    beside: dict[str, float] = {}
    if measured.cold_starts:
        first, *warm = measured.cold_starts
        beside["actor_cold_start_tokenizing"] = first.to_first_steps_seconds
        seconds["actor_cold_start"] = statistics.median(start.to_first_steps_seconds for start in warm)
    peaks = {}
    for policy, rows in dict.fromkeys((one.policy, one.rows) for one in measured.planning):
        own = [one for one in measured.planning if (one.policy, one.rows) == (policy, rows)]
        size = "million" if rows == measured.many_rows else str(rows)
        name = f"plan_{size}_{policy.lower()}"
        where = seconds if name in ("plan_million_fixed", "plan_million_routed") else beside
        where[name] = statistics.median(one.seconds for one in own)
        peaks[name] = max(one.peak_bytes for one in own)
    return Figures(
        ratios=ratios,
        seconds=seconds,
        shares={} if measured.share is None else {"controller": measured.share.controller},
        ratios_by_cpu_time=by_cpu,
        seconds_beside=beside,
        peak_bytes=peaks,
    )


def ratio(played: Played, side: str, *, by_cpu: bool = False) -> float:
    """Our median speed over a side's."""
    return median_speed(played, "ours", by_cpu=by_cpu) / median_speed(played, side, by_cpu=by_cpu)


def median_speed(played: Played, side: str, *, by_cpu: bool = False) -> float:
    """Unpadded tokens a second."""
    return statistics.median(
        one.tokens_per_cpu_second if by_cpu else one.tokens_per_second for one in played.rounds if one.side == side
    )


def utilisation(played: Played, side: str) -> float | None:
    """Share of the device's peak that a side's training needs: model FLOPs utilisation. None where no peak is known."""
    told = played.told["ours"]
    peaks = [peak for name, peak in PEAK_FLOPS.items() if name in str(told["device"])]
    return median_speed(played, side) * float(str(told["token_flops"])) / peaks[0] if peaks else None


def machine() -> dict[str, str | int]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    """Its name, as Linux tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
