"""Commands of several parts, `python -m experiments.NAME PART ...`: a module for each, loaded when it is asked for.

A part's module has a docstring for its --help, `Options`, a dataclass whose fields are its flags, and
`run(options, console)`. Where `Options` has a field `source`, it is given without a flag, and the module's `SOURCE`
says what it is.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console

from experiments.command_line import EXIT_INTERRUPTED, CommandLine, HelpFormatter, fail, nearest, one_line
from trainers.jobs import WorkerLostError


def run_part(
    program: str,
    about: str,
    parts: Mapping[str, str],
    arguments: Sequence[str] | None,
    *,
    stopped: Mapping[str, str] | None = None,
) -> None:
    """Run the part that the arguments name; ends the process with one line where something is wrong.

    Args:
        program: the command, such as "python -m experiments.traces".
        about: printed where no part is named.
        parts: the module of each part.
        arguments: those of the process where None.
        stopped: what an interrupted part does the next time, where it does not begin again.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(about)
        return
    name, *rest = given
    if name not in parts:
        fail(f"unknown command {name!r}{nearest(name, list(parts))}; there are {', '.join(parts)}")
    module = importlib.import_module(parts[name])
    fields = [field.name for field in dataclasses.fields(module.Options)]
    parser = CommandLine(
        prog=f"{program} {name}",
        description=module.__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of these fields; flags override it")
    if "source" in fields:
        parser.add_argument("source", type=str, help=module.SOURCE)
    parser.add_class_arguments(module.Options, None, skip={"source"})
    parser.describe(module.Options)
    try:
        options = parser.instantiate(parser.read(rest))
        module.run(module.Options(**{field: options[field] for field in fields}), Console())
    except KeyboardInterrupt:
        again = (stopped or {}).get(name, "begins again: nothing was written")
        print(f"stopped; the same command {again}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (WorkerLostError, ValueError, OSError) as error:  # an OSError: a full disk, most often
        fail(one_line(str(error), ()))
