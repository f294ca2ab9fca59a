"""What summary.json says of a student beside its scores, typed. All of it may be missing: early summaries lack it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluators.calibration import Calibration, ReliabilityBin
from evaluators.harness import HarnessTask
from evaluators.latency import Latency
from evaluators.likelihood import ChoiceLikelihood
from experiments.fields import interval, mapping, number, numbers

EVALUATED = ("dev", "test")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Choices by likelihood, waiting, and memory.

    Example: a run on a corpus with choice questions, which trained one stage on answers and others on a mix.
        Measures(choice_likelihood={"dev": ChoiceLikelihood(accuracy=0.8, ci95=(0.49, 0.94), n=10, unknown=0)},
                 serving_bytes=2_600_000, peak_train_bytes={"answer": 7 * 10**8, "mixed": 9 * 10**8})
    """

    choice_likelihood: Mapping[str, ChoiceLikelihood] = field(default_factory=dict)  # of splits with such questions
    latency: Latency | None = None
    serving_bytes: int | None = None  # weights, and the cache of one answer of mean length
    peak_train_bytes: Mapping[str, int | None] = field(default_factory=dict)  # by supervision; `mixed`; None: not known
    harness: Mapping[str, HarnessTask] = field(default_factory=dict)  # by task, of those that were asked for


def read_measures(data: Mapping[str, object]) -> Measures:
    """Read these fields of summary.json.

    Raises:
        ValueError: one is there and of another type; the message names it.
    """
    by_split = {split: mapping(data[split], split) for split in EVALUATED if data.get(split) is not None}
    waiting, serving = data.get("latency"), data.get("serving_bytes")
    return Measures(
        choice_likelihood={
            split: _choice_likelihood(mapping(scores["choice_likelihood"], f"{split}.choice_likelihood"), split)
            for split, scores in by_split.items()
            if scores.get("choice_likelihood") is not None
        },
        latency=None if waiting is None else _latency(mapping(waiting, "latency")),
        serving_bytes=None if serving is None else int(number(serving, "serving_bytes")),
        peak_train_bytes={
            name: None if peak is None else int(number(peak, f"peak_train_bytes.{name}"))
            for name, peak in mapping(data.get("peak_train_bytes") or {}, "peak_train_bytes").items()
        },
        harness={
            name: _harness_task(mapping(task, f"harness.{name}"), f"harness.{name}")
            for name, task in mapping(data.get("harness") or {}, "harness").items()
        },
    )


def read_calibration(value: object) -> Calibration | None:
    """Read `difficulty`; None where there were no later outcomes to judge a classifier by.

    Raises:
        ValueError: a field is missing or of another type; the message names it.
    """
    if value is None:
        return None
    data = mapping(value, "difficulty")
    optional = {
        name: None if data.get(name) is None else number(data[name], f"difficulty.{name}")
        for name in ("auc", "brier", "base_brier")
    }
    bins = data.get("bins") or ()
    if not isinstance(bins, list | tuple):
        raise ValueError(f"summary.difficulty.bins must be a list, got {bins!r}")
    return Calibration(
        base_rate=number(data.get("base_rate"), "difficulty.base_rate"),
        n=int(number(data.get("n"), "difficulty.n")),
        bins=tuple(_bin(mapping(one, "difficulty.bins")) for one in bins),
        **optional,
    )


def _bin(data: Mapping[str, object]) -> ReliabilityBin:
    low, high, mean_predicted, solved = (
        number(data.get(name), f"difficulty.bins.{name}") for name in ("low", "high", "mean_predicted", "solved")
    )
    return ReliabilityBin(
        low=low,
        high=high,
        n=int(number(data.get("n"), "difficulty.bins.n")),
        mean_predicted=mean_predicted,
        solved=solved,
        ci95=interval(data.get("ci95"), "difficulty.bins.ci95"),
    )


def _choice_likelihood(data: Mapping[str, object], split: str) -> ChoiceLikelihood:
    where = f"{split}.choice_likelihood"
    return ChoiceLikelihood(
        accuracy=number(data.get("accuracy"), f"{where}.accuracy"),
        ci95=interval(data.get("ci95"), f"{where}.ci95"),
        n=int(number(data.get("n"), f"{where}.n")),
        unknown=int(number(data.get("unknown"), f"{where}.unknown")),
    )


def _latency(data: Mapping[str, object]) -> Latency:
    return Latency(
        median_seconds=number(data.get("median_seconds"), "latency.median_seconds"),
        p90_seconds=number(data.get("p90_seconds"), "latency.p90_seconds"),
        answers=int(number(data.get("answers"), "latency.answers")),
        threads=int(number(data.get("threads"), "latency.threads")),
        device=str(data.get("device")),
    )


def _harness_task(data: Mapping[str, object], where: str) -> HarnessTask:
    shots, n = data.get("num_fewshot"), data.get("n")
    return HarnessTask(
        harness_version=str(data.get("harness_version")),
        task_version=str(data.get("task_version")),
        num_fewshot=None if shots is None else int(number(shots, f"{where}.num_fewshot")),
        n=None if n is None else int(number(n, f"{where}.n")),
        metrics=numbers(data.get("metrics"), f"{where}.metrics"),
        standard_errors=numbers(data.get("standard_errors"), f"{where}.standard_errors"),
    )
