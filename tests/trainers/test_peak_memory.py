"""Peaks of memory: since a mark, and in all; nothing is claimed where a mark cannot be set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.memory import PeakMemory

BIG = 300_000_000


def _hold_and_let_go(count: int) -> None:
    bytearray(count)


def test_a_peak_since_the_mark_leaves_out_what_was_freed_before_it_and_the_lifetime_does_not() -> None:
    memory = PeakMemory(torch.device("cpu"))
    memory.begin()
    _hold_and_let_go(BIG)
    before = memory.since_begin()
    if before is None:
        pytest.skip("this system does not let a process reset its peak of resident memory")
    memory.begin()
    after = memory.since_begin()
    assert after is not None and after < before - BIG // 2
    assert memory.resident_bytes() >= before
    _hold_and_let_go(BIG)
    again = memory.since_begin()
    assert again is not None and again > after + BIG // 2


def test_without_a_mark_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.memory._CLEAR_REFS", tmp_path / "nowhere" / "clear_refs")
    memory = PeakMemory(torch.device("cpu"))
    assert memory.since_begin() is None
    memory.begin()
    assert memory.since_begin() is None
    assert memory.resident_bytes() > 0
