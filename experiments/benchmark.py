"""The speeds and sizes we claim, measured here.

python -m experiments.benchmark traces --output FILE        rows a second and memory of import, verify and compress
python -m experiments.benchmark trainer --output FILE       our trainer beside plain TRL, and what stands around it

Each has its own --help. Run it on a machine that does nothing else: the load is written beside the figures.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.command_line import EXIT_INTERRUPTED, CommandLine, HelpFormatter, fail, nearest
from trainers.jobs import WorkerLostError

PARTS = {"traces": "experiments.speed.traces", "trainer": "experiments.speed.trainer"}
"""Each part's module, loaded when it is asked for: it has `Options`, a dataclass, and `run(options, console)`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        return
    name, *rest = given
    if name not in PARTS:
        fail(f"unknown part {name!r}{nearest(name, list(PARTS))}; there are {', '.join(PARTS)}")
    module = importlib.import_module(PARTS[name])
    parser = CommandLine(
        prog=f"python -m experiments.benchmark {name}",
        description=module.__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_class_arguments(module.Options, None)
    parser.describe(module.Options)
    try:
        options = parser.instantiate(parser.read(rest))
        module.run(
            module.Options(**{item.name: options[item.name] for item in dataclasses.fields(module.Options)}), Console()
        )
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (ValueError, OSError, WorkerLostError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
