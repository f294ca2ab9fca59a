"""The speeds and sizes we claim, measured here.

python -m experiments.benchmark traces --output FILE        rows a second and memory of import, verify and compress
python -m experiments.benchmark trainer --output FILE       our trainer beside plain TRL, and what stands around it
python -m experiments.benchmark generation --output FILE    our generation beside plain `generate`, answer by answer

Each has its own --help. Run it on a machine that does nothing else: the load is written beside the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.parts import run_part

PARTS = {
    "traces": "experiments.speed.traces",
    "trainer": "experiments.speed.trainer",
    "generation": "experiments.speed.generation",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    assert __doc__ is not None
    run_part("python -m experiments.benchmark", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
