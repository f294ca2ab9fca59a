"""From runs to findings: which can be compared, and what comes of it.

runs --same questions--> QuestionSet --same policy, student, budget--> Setting --pairs--> differences, frontiers
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from controller.config import Json
from evaluators.frontier import Frontier, frontier, retention, token_efficiency
from evaluators.paired import difference, stack
from evaluators.saturating import fit_saturating
from experiments.findings.costing import find_costs, find_decisions, priced_settings
from experiments.findings.findings import (
    Difference,
    Findings,
    FinishedRun,
    Fit,
    LeftOut,
    QuestionSet,
    Reader,
    RunsRead,
    Setting,
)
from experiments.findings.graded import RESAMPLES, SEED, common, restricted
from experiments.findings.settings import Place, build_setting, question_groups
from experiments.summary import amount_text

RAW_SUPERVISION = "reasoning"
"""What the raw policy shows, from first to last: the teacher's full traces."""

REFERENCE = 10.0
"""Hypervolumes are taken up to so many times the FLOPs of the dearest setting."""

BESIDE = frozenset(
    {
        *("policy", "corpus", "student", "seed", "total_flops", "total_tokens", "total_seconds", "total_dollars"),
        *("dollars_per_hour", "final_split", "eval_examples", "strict", "grader"),
        *("threads", "batch_answers", "micro_batch_tokens", "activation_checkpointing"),
    }
)
"""Fields of a run in which seeds of one setting may differ, or that tell settings and sets apart by themselves."""


def find(read: RunsRead, reader: Reader) -> Findings:
    """Everything that the runs say together. Deterministic: the same folders give the same findings.

    Runs stand in one QuestionSet if they answered the same questions of the same corpus and split under the same
    grader, and in one Setting if they differ in their seed alone, or in fields that change no expectation (threads,
    batches of answers, memory). Of two runs of the same setting and seed the second is left out.
    """
    sets: dict[tuple[object, ...], list[FinishedRun]] = {}
    for run in read.runs:
        sets.setdefault(_questions_key(run), []).append(run)
    left_out = [*read.left_out]
    found = [_question_set(runs, reader, left_out) for runs in sets.values()]
    return Findings(
        question_sets=tuple(each for each in found if each is not None),
        left_out=tuple(left_out),
        unfinished=read.unfinished,
    )


def _questions_key(run: FinishedRun) -> tuple[object, ...]:
    split = run.summary.final[0] if run.summary.final else ""
    ids = tuple(answer.id for answer in run.answers_Q)
    return run.record.identity["corpus_fingerprint"], split, ids, _config(run).get("grader")


def _question_set(runs: Sequence[FinishedRun], reader: Reader, left_out: list[LeftOut]) -> QuestionSet | None:
    notes: list[str] = []
    runs = _without_strangers(runs, left_out)
    groups = question_groups(runs)
    settings: list[Setting] = []
    for place, of_place in _places(runs, left_out):
        try:
            settings.append(build_setting(place, of_place, groups))
        except ValueError as error:
            left_out += [LeftOut(folder=run.folder, reason=f"{place.name}: {error}") for run in of_place]
    if not settings:
        return None
    raw = _raw(settings)
    settings = sorted(
        (_against_raw(setting, settings, raw) for setting in settings),
        key=lambda each: (each.student, each.total_flops, each.budget, -each.scores[0].accuracy.value, each.name),
    )
    seeds = tuple(seed for seed in settings[0].graded.seeds_K if all(seed in s.graded.seeds_K for s in settings))
    if any(set(setting.graded.seeds_K) != set(seeds) for setting in settings):
        notes.append(_seeds_note(settings, seeds))
    priced, unpriced = priced_settings(settings, reader)
    first = runs[0]
    return QuestionSet(
        corpus=Path(first.corpus).name,
        corpus_fingerprint=str(first.record.identity["corpus_fingerprint"]),
        split=first.summary.final[0] if first.summary.final else "",
        questions=len(first.answers_Q),
        settings=tuple(settings),
        raw=raw,
        differences=_differences(settings),
        frontier_seeds=seeds,
        training_frontier=_frontier(settings, {s.name: s.training_flops for s in settings}, seeds),
        inference_frontier=_frontier(settings, {s.name: s.answer_flops for s in settings}, seeds),
        fits=_fits(settings),
        costs=find_costs(priced, reader),
        decisions=find_decisions(priced, groups, reader),
        notes=(*notes, *_versions_notes(settings), *unpriced),
    )


def _without_strangers(runs: Sequence[FinishedRun], left_out: list[LeftOut]) -> list[FinishedRun]:
    """Runs whose student of that name and seed began from the same weights as that of the first such run."""
    digests: dict[tuple[str, int], Json] = {}
    kept = []
    for run in runs:
        digest = run.record.identity.get("student_digest")
        if digests.setdefault((run.student, run.seed), digest) == digest:
            kept.append(run)
        else:
            reason = f"its student {run.student} began from other weights than that of other runs of seed {run.seed}"
            left_out.append(LeftOut(folder=run.folder, reason=reason))
    return kept


def _places(runs: Sequence[FinishedRun], left_out: list[LeftOut]) -> Iterable[tuple[Place, list[FinishedRun]]]:
    """Runs by setting, in the order in which they come, by seed; the second of one seed is left out."""
    students = _short({run.student for run in runs})
    variants = _variants(runs)
    by_key: dict[tuple[str, str, str], dict[int, FinishedRun]] = {}
    for run in runs:
        budget = amount_text(run.summary.total, run.summary.unit)
        of_key = by_key.setdefault((f"{run.policy}{variants[run]}", students[run.student], budget), {})
        if (other := of_key.setdefault(run.seed, run)) is not run:
            left_out.append(LeftOut(folder=run.folder, reason=f"the same setting and seed as {other.folder}"))
    totals: dict[tuple[str, str], list[float]] = {}
    for (_, student, budget), of_key in by_key.items():
        totals.setdefault((student, budget), []).extend(run.summary.total_flops for run in of_key.values())
    several_students = len({student for _, student, _ in by_key}) > 1
    several_budgets = len({budget for _, _, budget in by_key}) > 1
    for (policy, student, budget), of_key in by_key.items():
        parts = [policy, *([student] if several_students else []), *([budget] if several_budgets else [])]
        of_totals = totals[student, budget]
        yield (
            Place(
                name=", ".join(parts),
                policy=policy,
                student=student,
                budget=budget,
                total_flops=round(sum(of_totals) / len(of_totals)),
                in_flops=next(iter(of_key.values())).summary.unit == "flops",
            ),
            [of_key[seed] for seed in sorted(of_key)],
        )


def _variants(runs: Sequence[FinishedRun]) -> dict[FinishedRun, str]:
    """For each run the fields, beside policy and budget, in which runs of its student differ, as ", lora_rank=8"."""
    found: dict[FinishedRun, str] = {}
    for student in {run.student for run in runs}:
        configs = {run: _config(run) for run in runs if run.student == student}
        names = sorted({name for config in configs.values() for name in config} - BESIDE)
        differing = [name for name in names if len({_text(config.get(name)) for config in configs.values()}) > 1]
        for run, config in configs.items():
            told = [f", {name}={_text(config[name])}" for name in differing if config.get(name) is not None]
            found[run] = "".join(told)
    return found


def _config(run: FinishedRun) -> Mapping[str, Json]:
    config = run.record.identity["config"]
    assert isinstance(config, dict)  # checked where it was read
    return config


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


def _short(names: Iterable[str]) -> dict[str, str]:
    """Names without the folders before them, where that tells them apart."""
    last = {name: Path(name).name or name for name in names}
    return last if len(set(last.values())) == len(last) else {name: name for name in last}


def _raw(settings: Sequence[Setting]) -> str | None:
    """The policy that shows full traces and nothing else: the first by name, where there are several."""
    found = []
    for setting in settings:
        spec = setting.runs[0].record.summary
        policy = spec.get("policy") if spec is not None else None
        if isinstance(policy, dict) and str(policy.get("class_path")).rpartition(".")[2] == "Fixed":
            fields = policy.get("init_args")
            shown = str(fields.get("supervision")) if isinstance(fields, dict) else ""
            if shown.partition("#")[0] == RAW_SUPERVISION:
                found.append(setting.policy)
    return min(found, default=None)


def _against_raw(setting: Setting, settings: Sequence[Setting], raw: str | None) -> Setting:
    place = (raw, setting.student, setting.budget)
    found = [other for other in settings if (other.policy, other.student, other.budget) == place]
    pair = common(setting.graded, found[0].graded) if found else None
    if pair is None:
        return setting
    return dataclasses.replace(
        setting,
        retention=retention(*pair, seed=SEED, resamples=RESAMPLES),
        token_efficiency=token_efficiency(*pair, seed=SEED, resamples=RESAMPLES),
    )


def _differences(settings: Sequence[Setting]) -> tuple[Difference, ...]:
    """Of every pair with seeds in common, the one that stands first less the other."""
    found = []
    for place, one in enumerate(settings):
        for other in settings[place + 1 :]:
            if (pair := common(one.graded, other.graded)) is not None:
                estimate = difference(*pair, seed=SEED, resamples=RESAMPLES)
                found.append(Difference(first=one.name, second=other.name, seeds=pair[0].seeds_K, accuracy=estimate))
    return tuple(found)


def _frontier(settings: Sequence[Setting], flops: Mapping[str, float | None], seeds: Sequence[int]) -> Frontier | None:
    known = {name: amount for name, amount in flops.items() if amount is not None}
    questions = set[str].intersection(*(set(setting.graded.questions_Q) for setting in settings))
    if len(known) < len(settings) or not seeds or not questions:
        return None
    return frontier(
        {each.name: restricted(each.graded, seeds=seeds, questions=questions) for each in settings},
        known,
        reference_flops=REFERENCE * max(known.values()),
        seed=SEED,
        resamples=RESAMPLES,
    )


def _fits(settings: Sequence[Setting]) -> tuple[Fit, ...]:
    """Of every policy and student, over its budgets."""
    by_curve: dict[tuple[str, str], list[Setting]] = {}
    for setting in settings:
        by_curve.setdefault((setting.policy, setting.student), []).append(setting)
    fits = []
    for (policy, student), of_curve in by_curve.items():
        by_flops: dict[float, list[Setting]] = {}
        for setting in of_curve:
            by_flops.setdefault(setting.training_flops, []).append(setting)
        questions = set[str].intersection(*(set(setting.graded.questions_Q) for setting in of_curve))
        if not questions:
            continue
        runs_M = [stack([restricted(each.graded, questions=questions) for each in same]) for same in by_flops.values()]
        fits.append(
            Fit(
                policy=policy,
                student=student,
                flops_M=tuple(by_flops),
                accuracy_M=tuple(float(runs.correct_KQ.mean()) for runs in runs_M),
                fit=fit_saturating([*by_flops], runs_M, ceiling=1.0, seed=SEED),
            )
        )
    return tuple(fits)


def _seeds_note(settings: Sequence[Setting], seeds: Sequence[int]) -> str:
    """That settings have other seeds than each other, and what that means."""
    have = "; ".join(f"{setting.name}: {_list(setting.graded.seeds_K)}" for setting in settings)
    shared = f"frontiers use seeds {_list(seeds)}" if seeds else "there are no frontiers, for no seed is shared by all"
    return (
        f"Settings were not run under the same seeds ({have}). Pairs are compared under those that both have; {shared}."
    )


def _versions_notes(settings: Sequence[Setting]) -> list[str]:
    """That runs were made with other versions of a library than each other: part of a difference may be theirs."""
    found: dict[str, dict[str, None]] = {}
    for run in (run for setting in settings for run in setting.runs):
        versions = run.record.identity.get("versions")
        for library, version in (versions if isinstance(versions, dict) else {}).items():
            found.setdefault(library, {})[str(version)] = None
    differing = [f"{library} {' and '.join(versions)}" for library, versions in found.items() if len(versions) > 1]
    told = f"Runs were made with different versions ({'; '.join(differing)}): differences may be due to these."
    return [told] if differing else []


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
