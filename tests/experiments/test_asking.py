"""Who writes a local teacher's completions: vLLM where it is installed, has a GPU and finds weights in files."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

import pytest

from controller.traces import teachers
from experiments.corpora import asking
from experiments.corpora.asking import Options, local_model, teaching_config

Asked = Literal["auto", "own", "vllm"]


@pytest.mark.parametrize(
    ("asked", "model", "fits", "engine", "rows"),
    [
        ("auto", "organisation/model", True, "vllm", 1024),
        ("auto", "a/folder", False, "own", 32),
        ("auto", "tiny", True, "own", 32),  # made from a seed: nothing to load
        ("own", "a/folder", True, "own", 32),
        ("vllm", "a/folder", False, "vllm", 1024),
    ],
)
def test_the_engine_is_chosen_by_a_plain_rule_and_stands_in_the_journals_identity(
    asked: Asked, model: str, fits: bool, engine: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "vllm_fits", lambda: fits)
    options = Options(source="s", output_dir="d", local=model, engine=asked)
    settings = local_model(options, "t")
    assert (settings.engine, settings.batch_rows) == (engine, rows)
    assert teaching_config(options).teacher["engine"] == engine
    few = Options(source="s", output_dir="d", local=model, engine=asked, batch_rows=7)
    assert local_model(few, "t").batch_rows == 7


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_no_process_is_asked_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers.vllm_fits.cache_clear()
    monkeypatch.setattr(teachers, "ProcessPoolExecutor", None)
    assert not teachers.vllm_fits()


def test_what_is_told_of_the_device_decides_where_vllm_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers.vllm_fits.cache_clear()
    monkeypatch.setattr(teachers, "find_spec", lambda name: name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not teachers.vllm_fits()  # told by a real process
    teachers.vllm_fits.cache_clear()
