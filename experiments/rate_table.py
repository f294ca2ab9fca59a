"""What the cells of the rate grid come to: accuracies by rate, the best rate of each grid, base rates by size class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.config import Json
from controller.resolve import size_class
from curricula.types import SUPERVISION_KINDS, Supervision
from evaluators.accuracy import wilson
from experiments.rate_cells import Line


def mean_accuracies(lines: Sequence[Line]) -> dict[float, float]:
    """Share of dev questions answered rightly, over seeds, by rate, the rates ascending; 0 where a seed diverged."""
    found: dict[float, float] = {}
    for rate in sorted({line.cell.rate for line in lines}):
        at = [line for line in lines if line.cell.rate == rate]
        correct, questions = sum(line.correct for line in at), sum(line.questions for line in at)
        found[rate] = 0.0 if any(line.loss is None for line in at) else correct / max(questions, 1)
    return found


def mean_losses(lines: Sequence[Line]) -> dict[float, float]:
    """Mean loss in domain over seeds by rate, the rates ascending; infinite where a seed diverged."""
    losses: dict[float, list[float]] = {}
    for line in sorted(lines, key=lambda line: (line.cell.rate, line.cell.seed)):
        losses.setdefault(line.cell.rate, []).append(math.inf if line.in_domain_loss is None else line.in_domain_loss)
    return {rate: sum(found) / len(found) for rate, found in losses.items()}


def best_rate(accuracies: dict[float, float]) -> tuple[float, bool]:
    """The rate of the highest accuracy, the lowest of equals; and whether it is at an edge of its grid."""
    best = max(accuracies, key=lambda rate: (accuracies[rate], -rate))
    return best, best in (min(accuracies), max(accuracies))


def grid_table(lines: Sequence[Line]) -> dict[str, Json]:
    """What FILE.json holds: each (student, supervision) with its losses by rate, and the base rates of the classes."""
    grids: list[Json] = []
    for student, supervision in sorted({(line.cell.student, line.cell.supervision) for line in lines}):
        grid = [line for line in lines if (line.cell.student, line.cell.supervision) == (student, supervision)]
        losses = mean_losses(grid)
        best, edge = best_rate(mean_accuracies(grid))
        grids.append(
            {
                "student": student,
                "parameters": grid[0].parameters,
                "total_flops": grid[0].total_flops,
                "step_tokens": grid[0].step_tokens,
                "supervision": supervision,
                "best_rate": best,
                "edge": edge,
                "rate_of_least_loss": min(losses, key=lambda rate: losses[rate]),
                "rates": [_rate_row([line for line in grid if line.cell.rate == rate]) for rate in losses],
            }
        )
    return {"corpus_fingerprint": lines[0].corpus_fingerprint, "base_rates": class_rates(lines), "grids": grids}


def _rate_row(lines: Sequence[Line]) -> dict[str, Json]:
    """One rate of a grid, its seeds in order."""
    ordered = sorted(lines, key=lambda line: line.cell.seed)
    loss = mean_losses(lines)[ordered[0].cell.rate]
    correct, questions = sum(line.correct for line in lines), sum(line.questions for line in lines)
    return {
        "rate": ordered[0].cell.rate,
        "loss": loss if math.isfinite(loss) else None,
        "seeds": [line.cell.seed for line in ordered],
        "losses": [line.in_domain_loss for line in ordered],
        "losses_with_transfer": [line.loss for line in ordered],
        "accuracy": correct / questions,
        "ci95": list(wilson(correct, questions)),
    }


def class_rates(lines: Sequence[Line]) -> dict[str, Json]:
    """The base rate of each size class and kind: of the highest mean accuracy over its grids, which weigh alike.

    Only rates that every one of these grids has can be compared.

    Raises:
        ValueError: they have no rate in common.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str], list[Line]]] = {}
    for line in lines:
        group = size_class(line.parameters).name, Supervision.parse(line.cell.supervision).kind
        groups.setdefault(group, {}).setdefault((line.cell.student, line.cell.supervision), []).append(line)
    found: dict[str, dict[str, Json]] = {}
    for (name, kind), grids in sorted(
        groups.items(), key=lambda item: (item[0][0], SUPERVISION_KINDS.index(item[0][1]))
    ):
        means = [mean_accuracies(grid) for grid in grids.values()]
        common = set.intersection(*(set(mean) for mean in means))
        if not common:
            raise ValueError(f"the grids of students {name} have no rate for {kind} in common; run more rates")
        best, _ = best_rate({rate: sum(mean[rate] for mean in means) for rate in sorted(common)})
        found.setdefault(name, {})[kind] = best
    return dict(found.items())
