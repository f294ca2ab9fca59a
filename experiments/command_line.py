"""Flags shared by the commands: one line for a person when something is wrong, with the nearest valid names.

An error is looked for in what was given: config file, policy, flags. What is not found is told in the parser's words.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

import curricula.policies
from controller.config import PROCEDURAL, RunConfig
from curricula.policy import CurriculumPolicy
from curricula.types import SUPERVISION_KINDS

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
POLICY = "--policy"
TINY_STUDENTS = ("tiny-0.2m", "tiny", "tiny-3m")  # trainers.student.STUDENTS, which loading torch alone would tell
_NO_FIELDS = ("--help", f"{POLICY}.help", "--print_config", "--print_shtab")


class HelpFormatter(DefaultHelpFormatter):
    """Keeps the lines of a description, and says of a policy how to name one."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(indent + line for line in text.splitlines(keepends=True))

    def _get_help_string(self, action: argparse.Action) -> str:
        text = super()._get_help_string(action)
        if action.dest != "policy" or POLICY not in action.option_strings:
            return text
        names = ", ".join(curricula.policies.__all__)
        return f"{names}, or an import path; {POLICY}.FIELD sets a field, {POLICY}.help NAME lists them"


class CommandLine(ArgumentParser):
    """A parser whose errors are one line."""

    given: Sequence[str] = ()  # what `read` was asked to read

    def read(self, arguments: Sequence[str] | None, *, default_policy: str = "") -> Namespace:
        """Parse arguments, those of the process where None; ends the process with one line where they are wrong.

        `default_policy` is set only where no other is named, which would inherit its fields of the same name.
        """
        self.given = sys.argv[1:] if arguments is None else arguments
        if default_policy and not _given_policy(self.given, "")[0]:
            self.set_defaults({"policy": {"class_path": default_policy}})
        return self.parse_args(list(self.given))

    def describe(self, kind: type, prefix: str = "") -> None:
        """Take the help of a dataclass's fields from the comments beside them."""
        comments = field_comments(kind)
        for action in self._actions:
            if action.dest.startswith(prefix) and (comment := comments.get(action.dest.removeprefix(prefix))):
                action.help = comment.replace("%", "%%")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what was wrong and what would be right, and exit."""
        if not self.exit_on_error:  # the parser of a policy's fields: the one that holds it tells more
            super().error(message, ex)
        flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        default = self.get_default("policy") if POLICY in flags else ""
        policy, _ = _spelled(default.as_dict() if isinstance(default, Namespace) else default or "")
        fail(diagnose(self.given, message, sorted({*flags} - {*_NO_FIELDS}), default_policy=policy))


def fail(message: str) -> NoReturn:
    """End the command with one line on standard error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(EXIT_ERROR)


def field_comments(kind: type) -> dict[str, str]:
    """The comment that stands beside each field of a dataclass, by field."""
    comments: dict[str, str] = {}
    field, starts = "", True
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(kind)).readline):
        if token.type == tokenize.COMMENT and field:
            comments[field] = token.string.lstrip("# ")
        elif token.type == tokenize.NEWLINE:
            field, starts = "", True
        elif starts and token.type == tokenize.NAME:
            field, starts = token.string, False
    names = [item.name for item in dataclasses.fields(kind)]
    return {name: comments[name] for name in names if name in comments}


def check_names(config: RunConfig) -> None:
    """Refuse names that stand for nothing, before anything is loaded for them.

    Raises:
        ValueError: there is no such student, corpus or kind of supervision; the nearest valid names are given.
    """
    student = Path(config.student).expanduser()
    if student.suffix.lower() == ".gguf":
        if not student.is_file():
            raise ValueError(f"--student: there is no file {config.student}")
    elif config.student not in TINY_STUDENTS and "/" not in config.student and not student.is_dir():
        raise ValueError(
            f"--student: there is no student {config.student!r}{nearest(config.student, TINY_STUDENTS)}; a student is "
            f"one of {', '.join(TINY_STUDENTS)}, a folder, a hub id such as organisation/model, or a .gguf file"
        )
    if config.corpus not in PROCEDURAL and not Path(config.corpus).exists():
        raise ValueError(
            f"--corpus: there is no corpus {config.corpus!r}{nearest(config.corpus, list(PROCEDURAL))}; a corpus is "
            f"{', '.join(PROCEDURAL)}, a folder, or a .jsonl or .parquet file"
        )
    for kind in config.learning_rates or {}:
        if kind not in SUPERVISION_KINDS:
            valid = ", ".join(SUPERVISION_KINDS)
            raise ValueError(f"--learning_rates: no kind {kind!r}{nearest(kind, SUPERVISION_KINDS)}; there are {valid}")


def diagnose(given: Sequence[str], message: str, flags: Sequence[str], *, default_policy: str = "") -> str:
    """One line that says what was wrong with the arguments, of which the parser said `message`.

    `flags` are those of fields, with their two dashes; `default_policy` stands where no policy is named.
    """
    fields = [flag.removeprefix("--") for flag in flags]
    for path in _values(given, "--config"):
        if wrong := _wrong_file(Path(path), fields):
            return wrong
    class_path, policy_fields = _given_policy(given, default_policy)
    wrong = wrong_policy(class_path, policy_fields) if POLICY in flags else None
    return wrong or one_line(message, flags, class_path)


def one_line(message: str, flags: Sequence[str], class_path: str = "") -> str:
    """The part of a parser's message that a person needs, with what would be valid instead."""
    flat = " ".join(message.split())
    if unknown := re.search(r"unrecognized arguments?: (\S+)", flat):
        name = unknown[1].partition("=")[0]
        if name.startswith("--"):
            return f"unknown flag {name}{nearest(name, flags, prefix='--')}; --help lists all"
        return f"unexpected argument {name!r}: fields are given as --field value; --help lists all"
    if unbuilt := re.search(r"Errors: - (\w+): (.*?) - Expected an? <class 'NoneType'>", flat):
        return f"--{unbuilt[1]}: {unbuilt[2]}"  # fields that their dataclass refused
    inside = re.sub(r'^Parser key "policy": Problem with given class_path \S+ (?=Parser key)', "", flat)
    if wrong := re.fullmatch(r'Parser key "([\w.]+)": (.*)', inside):
        name = f"--{wrong[1]}"
        if name not in flags and wrong[1] in field_names(class_path):
            name = f"{POLICY}.{wrong[1]}"
        return f"{name}: {_expectation(wrong[2])}"
    return re.sub(r"^argument (--[\w.]+): ", r"\1: ", flat)


def _expectation(text: str) -> str:
    """What a value was expected to be, without Python's spelling of types."""
    text = re.sub(r"<class '(?:[\w]+\.)*(\w+)'>", r"\1", text).replace("NoneType", "null")
    text = text.replace("Expected a tuple.", "Expected a list in brackets, such as '[A, B]'.")
    if union := re.search(r"Subtypes: \[(.*)\] Errors: .* Given value: (.*)$", text):
        return f"expected {union[1].replace(', null', ' or null')}, got {union[2]!r}"
    if literal := re.fullmatch(r"Expected an? (?:typing\.)?Literal\[(.*)\]\. Got value: (.*)", text):
        valid = [name.strip("' ") for name in literal[1].split(",")]
        return f"expected {' or '.join(valid)}, got {literal[2]!r}{nearest(literal[2], valid)}"
    if plain := re.fullmatch(r"Expected an? (.*)\. Got value: (.*)", text):
        return f"expected {plain[1]}, got {plain[2]!r}"
    if unread := re.match(r"Unable to load config '(.*?)'", text):
        return f"expected fields or a YAML file with them, got {unread[1]!r}"
    return text


def _wrong_file(path: Path, fields: Sequence[str]) -> str | None:
    """What is wrong with a config file as a whole, or with the names in it."""
    if not path.is_file():
        return f"--config: {path} is {'a folder' if path.is_dir() else 'not there'}; it names a YAML file"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = 0 if error.problem_mark is None else error.problem_mark.line + 1
        return f"--config: {path}, line {line}: not YAML: {error.problem}"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return f"--config: {path}: not YAML: {error}"
    if not isinstance(values, Mapping):
        return f"--config: {path}: must be fields with values, such as 'total_flops: 1e12', got {values!r}"
    for name in _names(values, fields):
        if name not in fields and not name.startswith("policy."):
            return f"--config: {path}: unknown field {name!r}{nearest(name, fields)}; there are {', '.join(fields)}"
    return None


def _names(values: Mapping[object, object], fields: Sequence[str], prefix: str = "") -> Iterator[str]:
    """The fields that a config file names, those of a group as `group.field`."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and any(field.startswith(f"{name}.") for field in fields):
            yield from _names(value, fields, f"{name}.")
        else:
            yield name


def _given_policy(given: Sequence[str], default: str) -> tuple[str, list[str]]:
    """The policy that the arguments name, and the fields they set."""
    class_path, fields = default, list[str]()
    for path in _values(given, "--config"):
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            continue  # `_wrong_file` has told it
        if isinstance(values, Mapping) and "policy" in values:
            class_path, fields = _spelled(values["policy"])
    for flag in (POLICY, f"{POLICY}.class_path"):
        for value in _values(given, flag):
            named, inside = _spelled(_written(value))
            fields = inside if named != class_path else [*fields, *inside]
            class_path = named
    for argument in given:
        if argument.startswith(f"{POLICY}."):
            name = argument.partition("=")[0].removeprefix(f"{POLICY}.").removeprefix("init_args.")
            if name not in ("class_path", "help"):
                fields.append(name.partition(".")[0])
    return class_path, fields


def _written(value: str) -> object:
    """A flag's value as data; text that is no YAML as it is."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _spelled(policy: object) -> tuple[str, list[str]]:
    """The class path and the fields of a policy as a config file or a flag spells it."""
    if not isinstance(policy, Mapping):
        return str(policy), []
    inside = policy.get("init_args")
    return str(policy.get("class_path", "")), [str(name) for name in inside] if isinstance(inside, Mapping) else []


def wrong_policy(class_path: str, fields: Sequence[str], *, field_flag: str = f"{POLICY}.") -> str | None:
    """What is wrong with a policy's name, or with the names of its fields, given as `field_flag` and a name."""
    if not class_path:
        return None
    kind = policy_class(class_path)
    if isinstance(kind, str):
        return kind
    valid = [item.name for item in dataclasses.fields(kind) if item.init]
    for name in fields:
        if name not in valid:
            return f"policy {kind.__name__} has no field {name!r}{nearest(name, valid)}; it has {', '.join(valid)}"
    for item in dataclasses.fields(kind):
        open_ended = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if item.init and open_ended and item.name not in fields:
            comment = field_comments(kind).get(item.name, "")
            hint = f" ({comment})" if comment else ""
            return f"policy {kind.__name__} needs {field_flag}{item.name}{hint}; its fields are {', '.join(valid)}"
    return None


def policy_class(class_path: str) -> type[CurriculumPolicy] | str:
    """The policy of that class name or import path, or one line that says why there is none."""
    names = curricula.policies.__all__
    known = f"there are {', '.join(names)}, or give an import path such as mypackage.mymodule.MyPolicy"
    module, _, name = class_path.rpartition(".")
    if not module and name in names:
        module = "curricula.policies"
    if not module:
        return f"unknown policy {class_path!r}{nearest(class_path, names)}; {known}"
    try:
        inside = vars(importlib.import_module(module))
    except ImportError as error:
        return f"unknown policy {class_path!r}: {error}; {known}"
    if name not in inside:
        return f"unknown policy {class_path!r}: module {module!r} has no {name!r}{nearest(name, list(inside))}"
    kind = inside[name]
    if not (isinstance(kind, type) and issubclass(kind, CurriculumPolicy)):
        return f"{class_path} is no policy: it must be a dataclass that extends curricula.policy.CurriculumPolicy"
    return kind


def field_names(class_path: str) -> list[str]:
    """The fields of a policy by class name or import path; none where there is no such policy."""
    kind = policy_class(class_path)
    return [] if isinstance(kind, str) else [item.name for item in dataclasses.fields(kind)]


def nearest(name: str, valid: Sequence[str], *, prefix: str = "") -> str:
    """` (did you mean X or Y?)` for the closest valid names, or nothing; a prefix in common makes them no closer."""
    bare = [one.removeprefix(prefix) for one in valid]
    near = difflib.get_close_matches(name.removeprefix(prefix), bare, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(f'{prefix}{one}' for one in near)}?)" if near else ""


def _values(given: Sequence[str], flag: str) -> list[str]:
    """What was given for a flag, in order, as `--flag value` or `--flag=value`."""
    found = [argument.partition("=")[2] for argument in given if argument.startswith(f"{flag}=")]
    return found + [given[place + 1] for place in range(len(given) - 1) if given[place] == flag]
