"""Flags shared by the commands: one line for a person when something is wrong, with the nearest valid names."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from jsonargparse import ArgumentParser

import curricula.policies

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


class CommandLine(ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what was wrong and what would be right, and exit."""
        flags = sorted(flag for action in self._actions for flag in action.option_strings if flag.startswith("--"))
        fail(one_line(message, flags))


def fail(message: str) -> NoReturn:
    """End the command with one line on standard error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(EXIT_ERROR)


def one_line(message: str, flags: Sequence[str]) -> str:
    """The part of a parser's message that a person needs, with what would be valid instead."""
    flat = " ".join(message.split())
    if unknown := re.search(r"[Uu]nrecognized arguments?: (--[\w.-]+)", flat):
        return f"unknown flag {unknown[1]}{nearest(unknown[1], flags)}; --help lists all"
    if unknown := re.search(r'key "policy": .*?(?:Expected a dot import path string: |type: )(\S+)$', flat):
        names = curricula.policies.__all__
        return (
            f"unknown policy {unknown[1]!r}{nearest(unknown[1], names)}; there are {', '.join(names)}, "
            "or give an import path such as mypackage.mymodule.MyPolicy"
        )
    if unknown := re.search(r"class_path '([\w.]+)': (?:.*?)Option '([\w.]+)' is not accepted", flat):
        fields = policy_fields(unknown[1])
        name = unknown[1].rpartition(".")[2]
        return f"policy {name} has no field {unknown[2]!r}{nearest(unknown[2], fields)}; it has {', '.join(fields)}"
    if unknown := re.search(r"(?:Key|Option) '([\w.]+)' (?:is required|does not exist|is not expected)", flat):
        return flat + nearest(unknown[1], [flag.removeprefix("--") for flag in flags])
    return re.sub(r'^Parser key "([\w.]+)": ', r"--\1: ", flat)


def policy_fields(class_path: str) -> list[str]:
    """The fields of a policy, by import path."""
    module, _, name = class_path.rpartition(".")
    kind = vars(importlib.import_module(module))[name]
    return [field.name for field in dataclasses.fields(kind)]


def nearest(name: str, valid: Sequence[str]) -> str:
    """`; did you mean X?` for the closest valid names, or nothing."""
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
