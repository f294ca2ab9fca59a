"""The house plan holds: imports go to the right only, outside libraries have doors, README shows what is there."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("experiments", "controller", "evaluators", "trainers", "curricula")
"""From left to right: each imports only itself and what stands to its right."""

DOORS = {
    "torch": {"trainers", "evaluators"},
    "transformers": {"trainers", "evaluators"},
    "tokenizers": {"trainers", "evaluators"},
    "trl": {"trainers", "evaluators"},
    "peft": {"trainers", "evaluators"},
    "accelerate": {"trainers", "evaluators"},
    "safetensors": {"trainers", "evaluators"},
    "huggingface_hub": {"trainers", "evaluators"},
    "lm_eval": {"evaluators"},
    "vllm": {"trainers"},
    "ray": {"controller"},
}
"""The rooms that may import an outside library; a library not named here may stand anywhere but in curricula."""

CURRICULA_MAY_IMPORT = {
    "numpy",
    "pyarrow",
    "datasets",
    "sklearn",
    "threadpoolctl",
    "curricula",
    *sys.stdlib_module_names,
}
BESIDE_THE_PINS = {"vllm"}
"""Imported where somebody installed it, and no extra: it asks for a transformers older than ours."""
DISTRIBUTIONS = {"lm_eval": "lm-eval", "math_verify": "math-verify", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""The package to install, where it is not called as the module is."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """One Python file of a room."""

    path: Path
    room: str
    tree: ast.Module

    def at(self, node: ast.AST) -> str:
        """Where a node stands, as an editor opens it."""
        line = node.lineno if isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler) else 1
        return f"{self.path.relative_to(ROOT)}:{line}"


MODULES = tuple(
    Module(path=path, room=room, tree=ast.parse(path.read_text(encoding="utf-8")))
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
)


def _imports(module: Module) -> Iterator[tuple[str, str]]:
    """The first name of everything a module imports, wherever in it, and where."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], module.at(node)
        elif isinstance(node, ast.ImportFrom):
            # A relative import stays in its room, unless it climbs out of it: then it names nothing that we allow.
            yield (node.module or "").partition(".")[0] if node.level == 0 else module.room, module.at(node)


def _annotations(tree: ast.Module) -> Iterator[ast.expr]:
    """The annotations that a reader of the module's public names meets."""
    public = [node for node in tree.body if not (isinstance(node, _NAMED) and node.name.startswith("_"))]
    while public:
        node = public.pop()
        if isinstance(node, ast.ClassDef):
            inside = [part for part in node.body if not (isinstance(part, _NAMED) and _is_private(part.name))]
            public.extend(inside)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            yield from (part.annotation for part in every if part is not None and part.annotation is not None)
            if node.returns is not None:
                yield node.returns
        elif isinstance(node, ast.AnnAssign):
            yield node.annotation


_NAMED = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _names(expression: ast.expr) -> set[str]:
    """Every name an annotation mentions, also in its quoted parts."""
    found: set[str] = set()
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(re.findall(r"\w+", node.value))
    return found


def test_every_room_is_read() -> None:
    assert {module.room for module in MODULES} == set(ROOMS)


def test_rooms_import_only_to_the_right() -> None:
    wrong = [
        f"{where}: {module.room} imports {name}"
        for module in MODULES
        for name, where in _imports(module)
        if name in ROOMS and ROOMS.index(name) < ROOMS.index(module.room)
    ]
    assert not wrong


def test_no_room_imports_the_tests() -> None:
    assert not [where for module in MODULES for name, where in _imports(module) if name == "tests"]


def test_outside_libraries_come_in_by_their_doors() -> None:
    wrong = [
        f"{where}: {module.room} imports {name}"
        for module in MODULES
        for name, where in _imports(module)
        if module.room not in DOORS.get(name, ROOMS)
        or (module.room == "curricula" and name not in CURRICULA_MAY_IMPORT)
    ]
    assert not wrong


def test_what_is_imported_is_declared_and_what_is_declared_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = {_distribution(text) for text in project["dependencies"]}
    extras = {name: {_distribution(text) for text in texts} for name, texts in project["optional-dependencies"].items()}
    importable = runtime | set[str]().union(*(packages for name, packages in extras.items() if name != "dev"))
    outside = {
        DISTRIBUTIONS.get(name, name): where
        for module in MODULES
        for name, where in _imports(module)
        if name not in ROOMS and name not in sys.stdlib_module_names
    }
    assert {name: where for name, where in outside.items() if name not in importable | BESIDE_THE_PINS} == {}
    pinned = re.findall(r"^([\w-]+)==\S+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(pinned) == importable | extras["dev"]


def test_every_package_is_installed_with_the_project() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    there = {".".join(module.path.parent.relative_to(ROOT).parts) for module in MODULES}
    assert sorted(settings["packages"]) == sorted(there)


def test_no_attribute_is_felt_for() -> None:
    wrong = [
        module.at(node)
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr"
    ]
    assert not wrong


def test_no_public_signature_says_any() -> None:
    wrong = [
        module.at(annotation)
        for module in MODULES
        for annotation in _annotations(module.tree)
        if "Any" in _names(annotation)
    ]
    assert not wrong


def test_no_handler_catches_everything() -> None:
    wrong = [
        module.at(node)
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or _names(node.type) & {"Exception", "BaseException"})
    ]
    assert not wrong


def test_readme_shows_the_files_that_are_there() -> None:
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("there is no README.md yet")
    shown = _shown_tree(readme.read_text(encoding="utf-8"))
    assert [path for path in sorted(shown) if not _is_there(path)] == []
    assert {f"{room}/" for room in ROOMS} <= shown
    opened = {path.rpartition("/")[0] + "/" for path in (name.rstrip("/") for name in shown) if "/" in path}
    missing = [path for folder in sorted(opened) for path in _listing(folder) if path not in shown]
    assert missing == []


def test_a_tree_is_read_by_its_indentation() -> None:
    tree = "curricula/  CHOOSE\n  types.py  nouns\n  policies/\n    staged.py\ndocs/  more\n"
    text = f"```text\nno tree\n```\n\n```text\n{tree}```\n"
    assert _shown_tree(text) == {
        "curricula/",
        "curricula/types.py",
        "curricula/policies/",
        "curricula/policies/staged.py",
        "docs/",
    }


def _distribution(requirement: str) -> str:
    match = re.match(r"[\w-]+", requirement)
    assert match is not None, requirement
    return match[0]


def _shown_tree(readme: str) -> set[str]:
    """The paths of README's tree: the first `text` block with a line for curricula/; folders end in a slash.

    A line is `name  description`, indented by two spaces for every folder it stands in.
    """
    blocks = [
        block for block in re.findall(r"^```text\n(.*?)^```", readme, re.M | re.S) if "\ncurricula/" in f"\n{block}"
    ]
    assert blocks, "README.md has no ```text block with the file tree"
    shown: set[str] = set()
    folders: list[str] = []
    for line in filter(str.strip, blocks[0].splitlines()):
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        assert depth <= len(folders), f"README.md's tree: {line!r} is indented deeper than the folder above it"
        folders = folders[:depth]
        shown.add("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return shown


def _is_there(path: str) -> bool:
    return (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def _listing(folder: str) -> list[str]:
    """What a folder of the tree has to show once any of its contents is shown."""
    inside = sorted(path for path in (ROOT / folder).iterdir() if not path.name.startswith((".", "__")))
    return [f"{folder}{path.name}{'/' if path.is_dir() else ''}" for path in inside if path.suffix != ".pyc"]
