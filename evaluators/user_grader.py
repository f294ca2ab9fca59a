"""A user's own grader, `(prompt: str, answer: str, output: str) -> bool`, by import path, in a process of its own.

def grader(prompt: str, answer: str, output: str) -> bool:
    return answer in output.splitlines()[-1]
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable

from evaluators.guarded import Bounds, Guarded, Reply, serve

GRADER_SECONDS = 10.0
"""Of one answer, by the processor and by the clock."""
_FORM = "a grader is a function (prompt: str, answer: str, output: str) -> bool, named as package.module.function"


class UserGrader:
    """Grades answers with a function that may raise, hang or end its process without harm."""

    def __init__(self, path: str, *, deadline_seconds: float = GRADER_SECONDS) -> None:
        """Name the function; its process is started when the first answer needs it."""
        bounds = Bounds(cpu_seconds=deadline_seconds, wall_seconds=deadline_seconds)
        self._guarded = Guarded("evaluators.user_grader", (path,), bounds=bounds, what=f"grader {path!r}")

    def __call__(self, prompt: str, answer: str, output: str) -> Reply:
        """Its word on one output: "right" or "wrong", or a fault.

        Raises:
            OSError: its process cannot be started.
        """
        return self._guarded.ask(prompt, answer, output)

    def start(self) -> None:
        """Start its process now.

        Raises:
            OSError: it cannot be; the message says why.
        """
        self._guarded.start()

    def close(self) -> None:
        """End its process, if there is one."""
        self._guarded.close()


def check_grader(path: str) -> None:
    """Try whether there is such a grader, in a process as those that will grade.

    Raises:
        ValueError: it cannot be imported, called, or called with three texts.
    """
    grader = UserGrader(path)
    try:
        grader.start()
    except OSError as error:
        raise ValueError(str(error)) from error
    finally:
        grader.close()


def load_grader(path: str) -> Callable[[str, str, str], object]:
    """The function of an import path.

    Raises:
        ValueError: there is none, or it does not take three texts.
        Exception: whatever importing its module raises.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError(f"{path!r} is no import path; {_FORM}")
    inside = vars(importlib.import_module(module))
    if name not in inside:
        near = difflib.get_close_matches(name, inside, n=1)
        raise ValueError(f"module {module!r} has no {name!r}{f' (did you mean {near[0]}?)' if near else ''}; {_FORM}")
    function = inside[name]
    if not callable(function):
        raise ValueError(f"{name!r} of {module!r} is a {type(function).__name__}; {_FORM}")
    try:
        inspect.signature(function).bind("", "", "")
    except TypeError as error:
        raise ValueError(f"{name!r} of {module!r} cannot be called with three texts: {error}; {_FORM}") from error
    return function


def _word(function: Callable[[str, str, str], object]) -> Callable[[str, str, str], str]:
    def say(prompt: str, answer: str, output: str) -> str:
        right = function(prompt, answer, output)
        if not isinstance(right, bool):
            raise TypeError(f"a grader returns True or False, and this one returned {right!r}")
        return "right" if right else "wrong"

    return say


if __name__ == "__main__":
    serve(lambda: _word(load_grader(sys.argv[4])))
