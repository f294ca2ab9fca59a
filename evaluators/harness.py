"""A student through lm-evaluation-harness (github.com/EleutherAI/lm-evaluation-harness), which is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

MISSING = "lm-evaluation-harness is not installed; install it with: pip install -e '.[lm-eval]'"


@dataclass(frozen=True, kw_only=True)
class HarnessTask:
    """What the harness says of a student on one of its tasks, or on a group of them.

    Example:
        HarnessTask(harness_version="0.4.13", task_version="1.0", num_fewshot=0, n=2376, metrics={"acc,none": 0.31},
                    standard_errors={"acc,none": 0.0095})
    """

    harness_version: str
    task_version: str  # scores of different versions cannot be compared; empty where the task has none
    num_fewshot: int | None  # None of a group
    n: int | None  # questions answered; None of a group
    metrics: Mapping[str, float]  # by "metric,filter", as the harness names them
    standard_errors: Mapping[str, float]  # of those metrics that have one


def require_harness() -> None:
    """Refuse to begin without the extra.

    Raises:
        ValueError: it is not installed; the message says how to.
    """
    if find_spec("lm_eval") is None:
        raise ValueError(MISSING)


def evaluate_with_harness(
    student: Path,
    tasks: Sequence[str],
    *,
    threads: int,
    include_path: Path | None = None,
    num_fewshot: int | None = None,
    limit: int | None = None,
) -> dict[str, HarnessTask]:
    """Evaluate a student's folder on tasks of the harness, in fp32, question by question, by the tasks' own rules.

    Prompts are the tasks', in the student's chat template where it has one; they are not those it was trained on.

    Args:
        student: a Hugging Face checkpoint, as runs export it.
        tasks: names of tasks or of groups.
        include_path: a folder with tasks of your own, in YAML, beside those that come with the harness.
        num_fewshot: worked examples before each question; the task's own number where None.
        limit: of the questions of each task; all where None.

    Returns:
        A result for every task, and for every group, by name.

    Raises:
        ValueError: the extra is not installed, or there is no such task.
    """
    require_harness()
    # Here, not above: the extra may be missing, and whoever only reads results need not load torch.
    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]
    from transformers import AutoTokenizer

    from trainers.process import default_device, set_up_process

    set_up_process(threads=threads)
    known = TaskManager(include_path=None if include_path is None else str(include_path))
    if unknown := [task for task in tasks if task not in known.all_tasks]:
        raise ValueError(f"lm-evaluation-harness has no task {unknown[0]!r}; `lm-eval ls tasks` lists them")
    said = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(student), "dtype": "float32"},
        tasks=list(tasks),
        task_manager=known,
        num_fewshot=num_fewshot,
        limit=limit,
        batch_size=1,
        device=default_device(),
        apply_chat_template=AutoTokenizer.from_pretrained(student).chat_template is not None,
        log_samples=False,
    )
    return {name: harness_task(name, said, harness_version=version("lm_eval")) for name in said["results"]}


def harness_task(
    name: str, said: Mapping[str, Mapping[str, Mapping[str, object]]], *, harness_version: str
) -> HarnessTask:
    """One task or group from what the harness returns."""
    result = said["results"][name]
    metrics = {key: float(value) for key, value in result.items() if "," in key and isinstance(value, int | float)}
    errors = {key.replace("_stderr,", ","): value for key, value in metrics.items() if "_stderr," in key}
    asked, shots = said["n-samples"].get(name, {}).get("effective"), said["n-shot"].get(name)
    told = said["versions"].get(name)
    return HarnessTask(
        harness_version=harness_version,
        task_version="" if told is None else str(told),
        num_fewshot=shots if isinstance(shots, int) else None,
        n=asked if isinstance(asked, int) else None,
        metrics={key: value for key, value in metrics.items() if "_stderr," not in key},
        standard_errors=errors,
    )
