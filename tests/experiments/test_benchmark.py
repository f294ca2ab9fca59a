"""The benchmark runs through its own command line, and counts the memory of whom it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.benchmark import main
from experiments.speed.memory import WORKER, PeakMemory, memory_now

HELD_BYTES = 60 << 20
_HOLD = f"held = bytearray({HELD_BYTES}); held[::4096] = b'x' * len(held[::4096]); print(flush=True); input()"


@pytest.mark.parametrize("name", [f"{WORKER}(MapBatches)", "ray::Other"])
def test_a_process_below_counts_by_its_name(name: str) -> None:
    with PeakMemory() as peak:
        before = memory_now()
        with subprocess.Popen(
            [name, "-c", _HOLD], executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            during = memory_now()
            process.communicate("\n")
    grown = during.workers_bytes - before.workers_bytes, during.daemons_bytes - before.daemons_bytes
    worker = name.startswith(WORKER)
    assert grown[0 if worker else 1] >= HELD_BYTES
    assert grown[1 if worker else 0] < HELD_BYTES
    assert peak.memory.driver_bytes > 0


def test_traces_are_measured_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--rows", "700", "--small_rows", "400", "--repeats", "2", "--workers", "0"]
    main(["traces", "--output", str(tmp_path / "speed.json"), "--work_dir", str(tmp_path), *sizes])
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert [(one["step"], one["rows"]) for one in figures["large"]] == [
        ("import", 700),
        ("verify", 700),
        ("compress", 700),
    ]
    assert [one["rows"] for one in figures["small"]] == [400] * 6
    assert all(one["rows_per_second"] > 0 and one["peak"]["driver_bytes"] > 0 for one in figures["small"])
    assert set(figures["small_median_rows_per_second"]) == {"import", "verify", "compress"}
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]
    assert "rows/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trace"], "unknown part 'trace' (did you mean traces?)"),
        (["traces"], "output"),
        (["traces", "--output", "f", "--repeats", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err.splitlines()[-1]
