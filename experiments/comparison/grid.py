"""The grid of a comparison: policies with their fields, corpora, students, budgets and seeds, and its cells.

A policy is spelled `Name` or `Name(field=value, field=value)`, with Name as experiments.adaptive takes it and values
as YAML: `Fixed(supervision=compressed:steps@0.3), Staged(stages=[[answer, 0.5], [reasoning, 0.5]])`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import yaml
from jsonargparse import Namespace

from controller.config import DEFAULT_FLOPS, Json, RunConfig, policy_spec
from curricula.policy import CurriculumPolicy
from experiments.command_line import CommandLine, one_line, wrong_policy

Item = TypeVar("Item")
AXES = ("policy", "corpus", "student", "seed", "total_flops")
"""The fields of a run in which cells differ."""
OTHER_BUDGETS = ("total_tokens", "total_seconds", "total_dollars")
"""The fields of a run that no cell has: a comparison's budgets are FLOPs."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The flags that span the grid."""

    policies: str | list[str | dict[str, object]]  # Name or Name(field=value), commas between; or class_path, init_args
    corpora: str | list[str] = "procedural"  # as experiments.adaptive names them, commas between
    students: str | list[str] = "tiny"  # as experiments.adaptive names them, commas between
    budgets: str | list[float] = str(DEFAULT_FLOPS)  # total_flops of a run, commas between
    seeds: str | list[int] = "0,1,2"  # of weights and data order, commas between


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """One run of the grid, by what it is compared by.

    Example:
        Cell(corpus="procedural", student="tiny", total_flops=6_000_000_000_000, policy="Fixed(supervision=answer)",
             seed=0)
    """

    corpus: str
    student: str
    total_flops: int
    policy: str  # as `policy_label` spells it
    seed: int

    @property
    def folder(self) -> str:
        """The name of the run's folder: readable, and told apart by a digest of what it stands for."""
        digest = hashlib.sha256(json.dumps(dataclasses.astuple(self)).encode()).hexdigest()[:8]
        names = (
            self.corpus,
            self.student,
            f"{self.total_flops:g}".replace("+", ""),
            self.policy,
            f"seed{self.seed}",
            digest,
        )
        return "--".join(re.sub(r"[^\w.]+", "-", name).strip("-.")[-40:].strip("-.") for name in names)


def grid_cells(grid: Grid, settings: RunConfig) -> dict[Cell, RunConfig]:
    """The cells in the order in which they begin, the first seed of everything first, each with its run.

    Args:
        settings: the fields that all cells share.

    Raises:
        ValueError: a value is none of its kind, a policy cannot be made, or a run is refused.
    """
    policies = [read_policy(spelled) for spelled in _parts("policies", grid.policies)]
    budgets = _values("budgets", grid.budgets, lambda text: int(float(text)), "numbers")
    cells: dict[Cell, RunConfig] = {}
    for seed in _values("seeds", grid.seeds, int, "whole numbers"):
        for corpus in _values("corpora", grid.corpora, str, "names"):
            for student in _values("students", grid.students, str, "names"):
                for total_flops in budgets:
                    for policy in policies:
                        cell = Cell(
                            corpus=corpus,
                            student=student,
                            total_flops=total_flops,
                            policy=policy_label(policy),
                            seed=seed,
                        )
                        cells[cell] = dataclasses.replace(
                            settings, policy=policy, corpus=corpus, student=student, total_flops=total_flops, seed=seed
                        )
    return cells


def read_policy(spelled: object) -> CurriculumPolicy:
    """A policy from `Name(field=value)`, or from class_path and init_args.

    Raises:
        ValueError: there is no such policy or field, or a value does not fit; the nearest valid names are given.
    """
    spec = _policy_spec(spelled)
    class_path, fields = str(spec["class_path"]), spec["init_args"]
    assert isinstance(fields, dict)
    if wrong := wrong_policy(class_path, list(fields), field_flag="field "):
        raise ValueError(f"--policies: {wrong}")
    parser = CommandLine(exit_on_error=False)
    parser.add_argument("--policy", type=CurriculumPolicy)
    try:
        built = parser.instantiate(parser.parse_object(Namespace(policy=spec)))
    except (ArgumentError, ValueError) as error:
        told = one_line(str(error), (), class_path).removeprefix("--policy.")
        raise ValueError(f"--policies: {class_path}: {told}") from None
    return built["policy"]


def policy_label(policy: CurriculumPolicy) -> str:
    """A policy as `--policies` spells it: its name, and the fields that are not as they are by default.

    Example:
        >>> policy_label(Fixed(supervision="answer"))
        'Fixed(supervision=answer)'
    """
    kind = type(policy)
    spec = policy_spec(policy)["init_args"]
    assert isinstance(spec, dict)
    usual = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(kind)
    }
    own = vars(policy)
    changed = {name: value for name, value in spec.items() if own[name] != usual[name]}
    name = kind.__qualname__ if kind.__module__.startswith("curricula.policies") else _path(kind)
    inside = ", ".join(f"{field}={_flow(value)}" for field, value in changed.items())
    return f"{name}({inside})" if inside else name


def split_outside(text: str, separator: str = ",") -> list[str]:
    """The parts of a text between separators that stand outside brackets and quotes, without space around them.

    Example:
        >>> split_outside("Adaptive, Staged(stages=[[answer, 1.0]], slices=2)")
        ['Adaptive', 'Staged(stages=[[answer, 1.0]], slices=2)']

    Raises:
        ValueError: a bracket or quote is not closed, or closes what was not opened.
    """
    parts, open_brackets, quote = [""], list[str](), ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            open_brackets.append(")]}"["([{".index(sign)])
        elif sign in ")]}" and (not open_brackets or open_brackets.pop() != sign):
            raise ValueError(f"{sign!r} closes nothing in {text!r}")
        elif sign == separator and not open_brackets:
            parts.append("")
            continue
        parts[-1] += sign
    if quote or open_brackets:
        raise ValueError(f"{quote or open_brackets[-1]!r} is missing in {text!r}")
    return [part.strip() for part in parts]


def _policy_spec(spelled: object) -> dict[str, object]:
    if isinstance(spelled, dict):
        if "class_path" not in spelled or set(spelled) - {"class_path", "init_args"}:
            raise ValueError(f"--policies: a mapping has class_path and init_args, got {spelled}")
        return {"class_path": spelled["class_path"], "init_args": dict(spelled.get("init_args") or {})}
    matched = re.fullmatch(r"([\w.]+)\s*(?:\((.*)\))?", str(spelled), re.DOTALL)
    if matched is None:
        raise ValueError(f"--policies: expected Name or Name(field=value, ...), got {str(spelled)!r}")
    fields: dict[str, object] = {}
    for part in split_outside(matched[2]) if (matched[2] or "").strip() else ():
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"--policies: expected field=value in {matched[1]}(...), got {part!r}")
        try:
            fields[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--policies: {matched[1]}: the value of {name.strip()} is not YAML: {value!r}") from None
    return {"class_path": matched[1], "init_args": fields}


def _parts(name: str, given: str | Sequence[object]) -> list[object]:
    """What an axis was given, as a list."""
    try:
        parts: list[object] = [*(split_outside(given) if isinstance(given, str) else given)]
    except ValueError as error:
        raise ValueError(f"--{name}: {error}") from None
    if not parts or "" in parts:
        raise ValueError(f"--{name}: expected values with commas between, got {given!r}")
    return parts


def _values(name: str, given: str | Sequence[object], read: Callable[[str], Item], what: str) -> list[Item]:
    """The values of an axis, each once."""
    parts = _parts(name, given)
    try:
        return list(dict.fromkeys(read(str(part)) for part in parts))
    except (ValueError, OverflowError):
        raise ValueError(f"--{name}: expected {what} with commas between, got {given!r}") from None


def _flow(value: Json) -> str:
    """A value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).replace("\n...", "").strip()


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
