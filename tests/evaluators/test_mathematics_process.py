"""The process that compares mathematics: hostile input, bounds of time and memory, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evaluators.mathematics.checker import MAX_CHARS, Mathematics
from tests.experiments.runs import wait_until

ROOT = Path(__file__).parent.parent.parent

HOSTILE = [
    "9**9**9**9",
    "9^{9^{9^{9}}}",
    "(10^9)!",
    "((((((((((5!)!)!)!)!)!)!)!)!)!",
    "{" * 400 + "1" + "}" * 400,
    r"\sqrt{" * 200 + "2" + "}" * 200,
    r"\frac{1}{" * 100 + "2" + "}" * 100,
    "(" * 500,
    "x^" * 300 + "2",
    "1" + "+1" * 450,
    "\\" * 500,
    "$" * 999,
    "\x00\x07^2",
    "\ud800^2",
    "\n^2\n",
    "1" * 900 + "^2",
    "[" + "1," * 400 + "2]",
]


def test_hostile_answers_end_within_their_bounds_and_the_next_is_judged() -> None:
    with Mathematics(deadline_seconds=0.3) as mathematics:
        for text in HOSTILE:
            assert mathematics.compare("x^2+1", text) != "same"
        assert mathematics.compare("x^2+1", "1+x^2") == "same"
        stopped = mathematics.started
        for text in HOSTILE:  # what was stopped once is remembered
            assert mathematics.compare("x^2+1", text) != "same"
        assert mathematics.started == stopped > 1


def test_long_answers_are_not_looked_at() -> None:
    with Mathematics() as mathematics:
        assert mathematics.compare("1" * (MAX_CHARS + 1), "1+1") == "undecided"
        assert mathematics.compare("1+1", "+" * 5_000_000) == "undecided"
        assert mathematics.started == 0


def test_memory_is_bounded() -> None:
    with Mathematics(deadline_seconds=20.0, memory_bytes=2**28) as mathematics:
        assert mathematics.compare("2^{2^{33}}+1", "3+2^{2^{33}}") == "stopped"
        assert mathematics.compare("2+x", "x+2") == "same"


def test_it_works_off_the_main_thread() -> None:
    judged: list[str] = []
    with Mathematics() as mathematics:
        thread = threading.Thread(target=lambda: judged.append(mathematics.compare("2^3", "8")))
        thread.start()
        thread.join()
    assert judged == ["same"]


def test_a_process_killed_from_outside_is_replaced() -> None:
    before = _children(os.getpid())
    with Mathematics() as mathematics:
        assert mathematics.compare("2^3", "8") == "same"
        (child,) = _children(os.getpid()) - before
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: _state(child) in ("Z", ""), what="the process to die")
        assert mathematics.compare("2^4", "16") == "same"
        assert mathematics.started == 2


def test_no_process_is_left_after_closing_or_forgetting() -> None:
    before = _children(os.getpid())
    mathematics = Mathematics()
    assert mathematics.compare("2^3", "8") == "same"
    mathematics.close()
    assert _children(os.getpid()) == before
    assert mathematics.compare("2^4", "16") == "same"
    del mathematics
    assert _children(os.getpid()) == before


@pytest.mark.parametrize("busy", [False, True])
def test_no_process_outlives_a_parent_that_is_killed(busy: bool) -> None:
    question = 'shared.compare("9^{9^{9^{9}}}", "x^2")' if busy else 'print("idle", flush=True)'
    program = f"""
from evaluators.mathematics.checker import Mathematics
shared = Mathematics(deadline_seconds=1.0)
print(shared.compare("2^3", "8"), flush=True)
{question}
input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"same\n"
        (child,) = _children(parent.pid)
        if busy:
            before = _cpu_ticks(child)
            wait_until(lambda: _cpu_ticks(child) > before + 10, what="the process to compute")
        parent.kill()
        parent.wait()
    wait_until(lambda: _state(child) in ("Z", ""), what="the process to end with its parent")


def test_importing_verdicts_loads_no_sympy() -> None:
    program = (
        "import sys, evaluators.verdicts; print(sorted({'sympy', 'math_verify', 'torch', 'ray'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_a_deadline_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Mathematics(deadline_seconds=bound)


def test_less_memory_than_the_process_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes of memory"):
        Mathematics(memory_bytes=2**20)


def test_a_process_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sympy.py").write_text("raise ImportError('no sympy here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Mathematics() as mathematics, pytest.raises(OSError, match=r"did not start.*no sympy here"):
        mathematics.compare("2^3", "8")


def _stat(pid: int) -> list[str]:
    """The fields of a process from its state on; none where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    return "".join(_stat(pid)[:1])


def _cpu_ticks(pid: int) -> int:
    return sum(map(int, _stat(pid)[11:13]))


def _children(pid: int) -> set[int]:
    found = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}
    return {child for child in found if _stat(child)[1:2] == [str(pid)]}
