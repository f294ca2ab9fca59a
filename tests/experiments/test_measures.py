"""What summary.json says of a student beside its scores, read as it was written, and where it is not there."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from evaluators.calibration import later_outcomes
from evaluators.latency import latency
from evaluators.likelihood import Chosen, score_choices
from experiments.measures import Measures, read_calibration, read_measures


def test_measures_are_read_as_they_were_written() -> None:
    choices = score_choices([Chosen(nats=(1.0, 2.0), choice="A", correct=True)], unknown=1)
    waiting = latency([0.1, 0.2], threads=2, device="cpu")
    assert choices is not None
    data = {
        "dev": {"choice_likelihood": dataclasses.asdict(choices)},
        "test": {"choice_likelihood": None},
        "latency": dataclasses.asdict(waiting),
        "serving_bytes": 2_600_000,
        "peak_train_bytes": {"answer": 7, "mixed": None},
    }
    assert read_measures(json.loads(json.dumps(data))) == Measures(
        choice_likelihood={"dev": choices},
        latency=waiting,
        serving_bytes=2_600_000,
        peak_train_bytes={"answer": 7, "mixed": None},
    )


def test_an_early_summary_has_none_of_them() -> None:
    assert read_measures({"dev": {"accuracy": 0.5}}) == Measures()
    early = read_calibration({"auc": None, "base_rate": 0.7, "n": 60})
    assert early is not None and (early.brier, early.base_brier, early.bins) == (None, None, ())
    assert read_calibration(None) is None


def test_a_calibration_is_read_as_it_was_written() -> None:
    rng = np.random.default_rng(0)
    p_N = rng.random(50)
    calibration = later_outcomes([(p_N, rng.random(50) < p_N)])
    assert read_calibration(json.loads(json.dumps(dataclasses.asdict(calibration)))) == calibration


def test_a_field_of_another_type_is_named() -> None:
    with pytest.raises(ValueError, match=r"summary\.latency\.median_seconds must be a number, got 'soon'"):
        read_measures({"latency": {"median_seconds": "soon"}})
    with pytest.raises(ValueError, match=r"summary\.peak_train_bytes\.answer must be a number"):
        read_measures({"peak_train_bytes": {"answer": "much"}})
    with pytest.raises(ValueError, match=r"summary\.difficulty\.bins\.ci95 must be a pair"):
        numbers = {"low": 0.0, "high": 0.1, "n": 1, "mean_predicted": 0.05, "solved": 1.0}
        read_calibration({"base_rate": 0.5, "n": 1, "bins": [numbers]})
