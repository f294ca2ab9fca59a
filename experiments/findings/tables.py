"""Findings as tables of plain cells, one for each CSV file: text, numbers, True and False, and None where unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluators.answering import Figure
from evaluators.decision import Evidence
from evaluators.frontier import Frontier
from evaluators.ownership import CROSSINGS
from evaluators.resampling import Estimate, Interval
from experiments.findings.findings import Findings, QuestionSet

TextOrNumber = str | float | int | bool | None
Row = Mapping[str, TextOrNumber]


def tables(findings: Findings) -> dict[str, list[Row]]:
    """The rows of every file, by its name; rows of one file may have different columns. `set` counts question sets."""
    found: dict[str, list[Row]] = {
        name: []
        for name in (
            *("settings", "runs", "scores", "differences", "frontier"),
            *("costs", "break_even", "sensitivity", "decisions", "left_out"),
        )
    }
    for number, each in enumerate(findings.question_sets, start=1):
        for name, rows in (
            ("settings", _settings(each)),
            ("runs", _runs(each)),
            ("scores", _scores(each)),
            ("differences", _differences(each)),
            (
                "frontier",
                [*_frontier("training", each.training_frontier), *_frontier("inference", each.inference_frontier)],
            ),
            ("costs", _costs(each)),
            ("break_even", _break_evens(each)),
            ("sensitivity", _sensitivities(each)),
            ("decisions", _decisions(each)),
        ):
            found[name] += [{"set": number, "corpus": each.corpus, "split": each.split, **row} for row in rows]
    found["left_out"] = [
        *({"folder": str(each.folder), "reason": each.reason} for each in findings.left_out),
        *({"folder": str(folder), "reason": "not finished"} for folder in findings.unfinished),
    ]
    return found


def _settings(each: QuestionSet) -> list[Row]:
    return [
        {
            "setting": setting.name,
            "policy": setting.policy,
            "student": setting.student,
            "budget": setting.budget,
            "total_flops": setting.total_flops,
            "spent_flops": setting.spent_flops,
            "answer_flops": setting.answer_flops,
            "seeds": _list(setting.graded.seeds_K),
            "questions": len(setting.graded.questions_Q),
            **_estimate("accuracy", setting.scores[0].accuracy),
            **_estimate("retention", setting.retention),
            **_estimate("token_efficiency", setting.token_efficiency),
            "latency_seconds": setting.latency_seconds,
            "serving_bytes": setting.serving_bytes,
        }
        for setting in each.settings
    ]


def _runs(each: QuestionSet) -> list[Row]:
    rows: list[Row] = []
    for setting in each.settings:
        for place, run in enumerate(setting.runs):
            spent = {**run.summary.charges, **run.summary.recorded}
            rows.append(
                {
                    "setting": setting.name,
                    "seed": run.seed,
                    "folder": str(run.folder),
                    "accuracy": float(setting.graded.correct_KQ[place].mean()),
                    "output_tokens": float(setting.graded.output_tokens_KQ[place].mean()),
                    "spent_flops": run.summary.spent_flops,
                    **{f"{purpose}_flops": flops for purpose, flops in spent.items()},
                    **{f"share_of_examples:{name}": share for name, share in run.summary.mix_by_examples.items()},
                    **{f"share_of_flops:{name}": share for name, share in run.summary.mix_by_flops.items()},
                }
            )
    return rows


def _scores(each: QuestionSet) -> list[Row]:
    return [
        {
            "setting": setting.name,
            "group": score.group,
            "name": score.name,
            "questions": score.questions,
            "ungraded": score.ungraded,
            **_estimate("accuracy", score.accuracy),
            "output_tokens": score.output_tokens,
            "p90_output_tokens": score.p90_output_tokens,
            "right_output_tokens": score.right_output_tokens,
            "wrong_output_tokens": score.wrong_output_tokens,
            "truncated": score.truncated,
            "unparsable": score.unparsable,
        }
        for setting in each.settings
        for score in setting.scores
    ]


def _differences(each: QuestionSet) -> list[Row]:
    return [
        {
            "first": pair.first,
            "second": pair.second,
            "seeds": _list(pair.seeds),
            **_estimate("difference", pair.accuracy),
        }
        for pair in each.differences
    ]


def _frontier(axis: str, frontier: Frontier | None) -> list[Row]:
    if frontier is None:
        return []
    return [
        {
            "flops_of": axis,
            "setting": point.name,
            "flops": point.flops,
            **_estimate("accuracy", point.accuracy),
            "on_frontier": point.on_frontier,
            "dominated_by": _list(point.dominated_by),
            "surely_dominated_by": _list(point.surely_dominated_by),
            **_estimate("hypervolume", frontier.hypervolume),
            "reference_flops": frontier.reference_flops,
        }
        for point in frontier.points
    ]


def _costs(each: QuestionSet) -> list[Row]:
    if each.costs is None:
        return []
    return [
        {
            "setting": name,
            "queries": owned.queries,
            **{f"{part}_dollars": dollars for part, dollars in owned.making_dollars.items()},
            **_figure("serving_dollars", owned.serving_dollars),
            **_figure("error_dollars", owned.error_dollars),
            **_figure("total_dollars", owned.total_dollars),
            **_figure("right", owned.right),
            **_figure("passes", owned.passes),
            **_figure("dollars_per_correct", owned.dollars_per_correct),
        }
        for name, of_setting in each.costs.owned.items()
        for owned in of_setting
    ]


def _break_evens(each: QuestionSet) -> list[Row]:
    if each.costs is None:
        return []
    return [
        {
            "challenger": challenger,
            "incumbent": incumbent,
            "cheaper": found.crossing,
            **_figure("queries", Figure(value=found.queries, ci95=found.ci95)),
            **{f"share_{name.replace(' ', '_')}": found.shares.get(name, 0.0) for name in CROSSINGS},
        }
        for (challenger, incumbent), found in each.costs.break_evens.items()
    ]


def _sensitivities(each: QuestionSet) -> list[Row]:
    if each.costs is None:
        return []
    return [
        {
            "setting": name,
            "changed": line.changed,
            **_figure("dollars_per_correct_at_half", line.half),
            **_figure("dollars_per_correct", line.same),
            **_figure("dollars_per_correct_at_twice", line.double),
        }
        for name, lines in each.costs.sensitivity.items()
        for line in lines
    ]


def _decisions(each: QuestionSet) -> list[Row]:
    rows: list[Row] = []
    for cell in each.decisions.cells if each.decisions else ():
        place: Row = {
            "task_group": cell.task_group,
            "student": cell.student,
            "budget_flops": cell.budget_flops,
            "queries": cell.queries,
            "criterion": cell.criterion,
            "verdict": cell.verdict,
            "choice": cell.choice,
        }
        for evidence in cell.evidence:
            standing = "open" if evidence.supervision in cell.open else "behind"
            standing = "chosen" if evidence.supervision == cell.choice else standing
            rows.append({**place, "supervision": evidence.supervision, "standing": standing, **_evidence(evidence)})
        rows += [
            {**place, "supervision": removed.supervision, "standing": "beyond a limit", "reason": removed.reason}
            for removed in cell.removed
        ]
    return rows


def _evidence(evidence: Evidence) -> Row:
    return {
        **_figure("dollars_per_correct", evidence.dollars_per_correct),
        **_figure("right", evidence.right),
        "making_dollars": evidence.making_dollars,
        "serving_dollars_per_query": evidence.serving_dollars_per_query,
        **_figure("output_tokens", evidence.output_tokens),
        "output_tokens_p90": evidence.output_tokens_p90,
        "questions": evidence.questions,
        "runs": evidence.runs,
    }


def _estimate(name: str, estimate: Estimate | None) -> Row:
    """The value, the interval over seeds and what it is, and that over questions for these very runs."""
    seeds = None if estimate is None else estimate.interval
    questions = None if estimate is None else estimate.given_seeds
    return {
        name: None if estimate is None else estimate.value,
        **_interval(name, seeds),
        f"{name}_interval": None if seeds is None else seeds.source,
        **_interval(f"{name}_given_seeds", questions),
    }


def _interval(name: str, interval: Interval | None) -> Row:
    return {
        f"{name}_low": None if interval is None else interval.low,
        f"{name}_high": None if interval is None else interval.high,
    }


def _figure(name: str, figure: Figure) -> Row:
    low, high = figure.ci95 if figure.ci95 is not None else (None, None)
    return {name: figure.value, f"{name}_low": low, f"{name}_high": high}


def _list(items: Sequence[object]) -> str:
    return "; ".join(map(str, items))
