"""Corpora of traces: from what people have and from their teachers.

python -m experiments.traces import PATH|HUB_ID --output_dir D      what the field publishes, by layout
python -m experiments.traces teach CORPUS --output_dir D            traces and short answers, written by a teacher
python -m experiments.traces verify CORPUS --output_dir D           answers checked, a verdict for every target
python -m experiments.traces compress CORPUS --output_dir D         shorter traces beside the full ones
python -m experiments.traces describe CORPUS                        counts, lengths, costs, near-copies, leakage

Each has its own --help.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.parts import run_part

COMMANDS = {
    "import": "experiments.corpora.importing",
    "teach": "experiments.corpora.teaching",
    "verify": "experiments.corpora.verifying",
    "compress": "experiments.corpora.compressing",
    "describe": "experiments.corpora.describing",
}
AGAIN = {"teach": "goes on with what is done", "compress": "begins again, with the rewrites that its journal holds"}
"""What an interrupted command does the next time, where it does not begin again."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    assert __doc__ is not None
    run_part("python -m experiments.traces", __doc__, COMMANDS, arguments, stopped=AGAIN)


if __name__ == "__main__":
    main()
