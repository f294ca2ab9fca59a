"""What a run came to: summary.json, the student as a Hugging Face checkpoint, and its model card."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from controller.budgets import reopen_ledger
from controller.config import Json, policy_spec
from controller.held_out import write_answers
from controller.ledger import Budget, Ledger
from controller.measures import measure_latency, student_bytes, training_peaks
from controller.record import STATE_DIGEST
from controller.session import Session, evaluated_splits, final_stage
from curricula.traces.completions import Completions
from curricula.types import BUDGET_PURPOSES, Cost, Purpose, RunState
from evaluators.calibration import difficulty_on_later_outcomes
from trainers.jobs import Precision


def conclude(session: Session, state: RunState, *, started: float) -> dict[str, Json]:
    """Test the student the run ended with, export it, and write summary.json.

    Args:
        started: time.monotonic() when the command began.
    """
    last = final_stage(state)
    checkpoint = last.checkpoint
    ledger = reopen_ledger(session.ledger.budget, state.history, session.folder.timings())
    held_out = {split: write_answers(session, split, checkpoint) for split in evaluated_splits(session.config)}
    for split in held_out.values():
        ledger = ledger.charged(split.charges, {"evaluate": split.seconds})
    dev = held_out["dev"]
    waiting, charges, seconds = measure_latency(session, checkpoint, dev.row_Q)
    ledger = ledger.charged(charges, {"evaluate": seconds})
    calibration = difficulty_on_later_outcomes(state)
    made = target_costs(session.corpus.targets, trained_targets(session, state))
    examples, flops = mixes(state)
    timings = session.folder.timings()
    summary: dict[str, Json] = {
        "policy": policy_spec(session.config.policy),
        "student": session.config.student,
        "corpus": session.config.corpus,
        "seed": session.config.seed,
        **account(ledger, made),
        "stages": len(state.history),
        STATE_DIGEST: last.state_digest,
        **{name: split.to_json() for name, split in held_out.items()},
        "mix_by_examples": examples,
        "mix_by_flops": flops,
        "difficulty": None if calibration is None else dataclasses.asdict(calibration),
        "dropped": dict(session.corpus.dropped),
        "too_long_targets": dict(
            zip(session.corpus.supervisions, (int(count) for count in session.counts.too_long_S), strict=True)
        ),
        "lost": lost_work(timings),
        "replay": replay(session.config.precision, session.identity.device, timings, ledger.budget),
        "wall_seconds": time.monotonic() - started,
        "train_seconds": train_seconds(timings),
        "latency": dataclasses.asdict(waiting),
        "serving_bytes": student_bytes(session, dev.row_Q, dev.scores),
        "peak_train_bytes": dict(training_peaks(state.history, timings)),
        "peak_worker_bytes": max(session.crew.on_each(lambda worker: worker.peak_bytes())),
    }
    folder = session.folder.folder / "student"
    card = model_card(summary)
    session.crew.map([lambda worker: worker.export(checkpoint, folder, card)])
    summary["wall_seconds"] = time.monotonic() - started
    session.folder.write_summary(summary)
    return summary


def account(ledger: Ledger, made: Mapping[Purpose, Cost]) -> dict[str, Json]:
    """What a run spent of its budget, and by purpose in every unit; what its targets cost stands beside it."""
    budget = ledger.budget
    spent = ledger.total_spent
    return {
        "budget": {
            "unit": budget.unit,
            "total": budget.total,
            "spent": spent.of(budget.unit),
            "dollars_per_hour": 3600 * budget.dollars_per_second,  # of one worker
        },
        "total_flops": ledger.total_flops,
        "spent_flops": spent.flops,
        "charges": {
            **{purpose: ledger.spent[purpose].flops for purpose in BUDGET_PURPOSES},
            **{purpose: cost.flops for purpose, cost in made.items()},
        },
        "spent": {purpose: dataclasses.asdict(spend) for purpose, spend in ledger.spent.items()},
        "corpus_costs": {purpose: dataclasses.asdict(cost) for purpose, cost in made.items()},
        "recorded": {"evaluate": ledger.spent["evaluate"].flops},
    }


def mixes(state: RunState) -> tuple[dict[str, Json], dict[str, Json]]:
    """Share of each supervision over the whole run, by examples drawn and by training FLOPs."""
    drawn: dict[str, int] = {}
    flops: dict[str, int] = {}
    for result in state.history:
        for name, count, cost in result.mix:
            drawn[name] = drawn.get(name, 0) + count
            flops[name] = flops.get(name, 0) + cost
    return _shares(drawn), _shares(flops)


def _shares(amounts: Mapping[str, int]) -> dict[str, Json]:
    total = sum(amounts.values())
    return {name: amount / total for name, amount in amounts.items()}


def target_costs(targets: pa.Table, target_K: NDArray[np.integer]) -> dict[Purpose, Cost]:
    """What making the distinct targets K trained on took: beside the budget, never part of it.

    A completion from which several of them were made is counted once.
    """
    trained = targets.take(np.sort(target_K))
    completions = Completions()
    completions.add(trained)
    compress = Cost(
        flops=sum(trained["compress_flops"].to_pylist()),
        tokens=sum(trained["compress_tokens"].to_pylist()),
        dollars=math.fsum(trained["compress_dollars"].to_pylist()),
    )
    return {"teach": completions.cost(), "compress": compress}


def trained_targets(session: Session, state: RunState) -> NDArray[np.integer]:
    """Rows, in the corpus's targets, of the distinct ones trained on."""
    trained_NS = np.zeros(state.train.target_tokens_NS.shape, dtype=bool)
    for result in state.history:
        seen = result.seen_R > 0
        trained_NS[result.example_R[seen], result.supervision_R[seen]] = True
    example_K, column_K = np.nonzero(trained_NS)
    return session.corpus.target_rows_NS()[session.students.train_row_N[example_K], column_K]


def train_seconds(timings: Iterable[Mapping[str, Json]]) -> float:
    """Seconds inside training loops, stages side by side each counted."""
    total = 0.0
    for line in timings:
        seconds = line.get("loop_seconds")
        if isinstance(seconds, list):
            total += sum(float(item) for item in seconds if isinstance(item, int | float))
    return total


def lost_work(timings: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """Attempts that ended in no record: a killed driver's, or a killed worker's; their FLOPs at most.

    An attempt that bought no step was none.
    """
    attempts, flops_at_most = 0, 0
    open_ceiling: int | None = None
    for line in timings:
        event, ceiling = line.get("event"), line.get("ceiling_flops")
        if event == "attempt" and isinstance(ceiling, int):
            if open_ceiling is not None:
                attempts, flops_at_most = attempts + 1, flops_at_most + open_ceiling
            open_ceiling = ceiling
        elif event == "trained":
            workers, tokens = line.get("lost_workers"), line.get("tokens")
            if isinstance(workers, int) and workers and open_ceiling is not None:
                attempts, flops_at_most = attempts + workers, flops_at_most + workers * open_ceiling
            if isinstance(tokens, list) and not any(tokens):
                open_ceiling = None
        elif event == "recorded":
            open_ceiling = None
    return {"attempts": attempts, "flops_at_most": flops_at_most}


def replay(
    precision: Precision | None, device: str, timings: Iterable[Mapping[str, Json]], budget: Budget
) -> dict[str, Json]:
    """Whether the same configuration gives the same stages again, bit for bit, and what ended that promise."""
    ended: list[Json] = []
    if device != "cpu":
        ended.append(f"trained on {device}")
    if precision != "fp32":
        ended.append(f"trained in {precision}")
    if budget.by_clock:
        ended.append(f"a budget in {budget.unit}: stages stopped by the clock, to within a step or a slow probe")
    for line in timings:
        ungraded = line.get("ungraded")
        if line.get("event") == "measured" and isinstance(ungraded, int) and ungraded:
            ended.append(f"{ungraded} probe answers after stage {line.get('checkpoint')} ungraded, maybe by the clock")
        rooms, checkpoints = line.get("memory_micro_batch_tokens"), line.get("checkpoints")
        if line.get("event") == "trained" and isinstance(rooms, list) and isinstance(checkpoints, list):
            ended += [
                f"memory ran out by stage {checkpoint}: micro-batches of {room} tokens at most"
                for checkpoint, room in zip(checkpoints, rooms, strict=True)
                if room is not None
            ]
    return {"bitwise": not ended, "ended_by": ended}


def model_card(summary: Mapping[str, Json]) -> str:
    """A student's README: what it is, how it was trained, what it scores."""
    dev = summary["dev"]
    assert isinstance(dev, dict)
    interval = dev["ci95"]
    assert isinstance(interval, list)
    policy, spent = summary["policy"], summary["budget"]
    assert isinstance(policy, dict) and isinstance(spent, dict)
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "tags: [distillation, reasoning, trl, sft]",
            "---",
            "",
            f"# {summary['student']} distilled on {summary['corpus']}",
            "",
            f"Policy `{policy['class_path']}` with `{policy['init_args']}`, seed {summary['seed']}.",
            f"Spent {spent['spent']:.4g} of {spent['total']:.4g} {spent['unit']}; in FLOPs: {summary['charges']}.",
            "",
            f"Dev accuracy {dev['accuracy']:.3f}, 95% interval {interval[0]:.3f} to {interval[1]:.3f}, "
            f"{dev['n']} questions graded and {dev['ungraded']} not, "
            f"{dev['mean_output_tokens']:.1f} output tokens a question.",
            "",
        ]
    )
