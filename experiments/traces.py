"""Corpora of traces: from what people have and from their teachers.

python -m experiments.traces import PATH|HUB_ID --output_dir D      what the field publishes, by layout
python -m experiments.traces teach CORPUS --output_dir D            traces and short answers, written by a teacher
python -m experiments.traces verify CORPUS --output_dir D           answers checked, a verdict for every target
python -m experiments.traces compress CORPUS --output_dir D         shorter traces beside the full ones
python -m experiments.traces describe CORPUS                        counts, lengths, costs, near-copies, leakage

Each has its own --help.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.command_line import EXIT_INTERRUPTED, CommandLine, HelpFormatter, fail, nearest, one_line
from trainers.jobs import WorkerLostError

COMMANDS = {
    "import": "experiments.corpora.importing",
    "teach": "experiments.corpora.teaching",
    "verify": "experiments.corpora.verifying",
    "compress": "experiments.corpora.compressing",
    "describe": "experiments.corpora.describing",
}
"""Each command's module, loaded when it is asked for: it has `Options`, a dataclass, and `run(options, console)`."""

AGAIN = {"teach": "goes on with what is done", "compress": "begins again, with the rewrites that its journal holds"}
"""What an interrupted command does the next time, where it does not begin again."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        return
    name, *rest = given
    if name not in COMMANDS:
        fail(f"unknown command {name!r}{nearest(name, list(COMMANDS))}; there are {', '.join(COMMANDS)}")
    module = importlib.import_module(COMMANDS[name])
    parser = CommandLine(
        prog=f"python -m experiments.traces {name}",
        description=module.__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of these fields; flags override it")
    if any(field.name == "source" for field in dataclasses.fields(module.Options)):
        parser.add_argument("source", type=str, help=module.SOURCE)
        parser.add_class_arguments(module.Options, None, skip={"source"})
    parser.describe(module.Options)
    try:
        options = parser.instantiate(parser.read(rest))
        fields = {field.name: options[field.name] for field in dataclasses.fields(module.Options)}
        module.run(module.Options(**fields), Console())
    except KeyboardInterrupt:
        print(f"stopped; the same command {AGAIN.get(name, 'begins again: nothing was written')}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (WorkerLostError, ValueError, OSError) as error:  # an OSError: a full disk, most often
        fail(one_line(str(error), ()))


if __name__ == "__main__":
    main()
