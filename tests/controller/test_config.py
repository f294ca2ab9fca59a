"""Configs: plain data and back, differences by name, values that cannot be."""

from __future__ import annotations

import pytest

from controller.budgets import dollars_per_second, resolve_budget, run_budget
from controller.config import DOLLARS_PER_HOUR, RunConfig, config_dict, differing_fields, fingerprint
from controller.ledger import UNITS, Ledger
from curricula.policies import Distilled, Fixed, Hierarchical, OnPolicy, Staged
from curricula.policy import CurriculumPolicy
from tests.controller.worlds import table


def test_a_config_is_plain_data_with_its_policy_by_path() -> None:
    data = config_dict(RunConfig(policy=Staged(stages=(("answer", 0.25), ("reasoning", 0.75)))))
    assert data["policy"] == {
        "class_path": "curricula.policies.staged.Staged",
        "init_args": {"stages": [["answer", 0.25], ["reasoning", 0.75]], "slices": 8, "probe_examples": 0},
    }
    assert data["schedule"] == {"kind": "wsd", "warmup": 0.02, "decay": 0.4, "floor": 0.02}


def test_fingerprint_ignores_the_order_of_fields_and_nothing_else() -> None:
    data = config_dict(RunConfig(policy=Fixed(supervision="answer")))
    assert fingerprint(data) == fingerprint(dict(reversed(list(data.items()))))
    assert fingerprint(data) != fingerprint({**data, "seed": 1})


def test_differences_are_named_with_both_values() -> None:
    ours = {"a": 1, "deep": {"b": 2, "c": 3}}
    theirs = {"a": 1, "deep": {"b": 5, "c": 3}}
    assert differing_fields(ours, theirs) == ["deep.b: 5 there, 2 now"]
    assert differing_fields(ours, ours) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((f"total_{unit}", bad) for unit in UNITS for bad in (0, -1, float("nan"), float("inf"))),
        ("dollars_per_hour", {"cpu": -0.1}),
        ("dollars_per_hour", {"tpu": 1.0}),
        ("seed", -1),
        ("step_tokens", 0),
        ("threads", 0),
        ("eval_examples", 0),
        ("lora_rank", 0),
    ],
)
def test_amounts_that_cannot_be_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        RunConfig(policy=Fixed(supervision="answer"), **{field: value})  # pyright: ignore[reportArgumentType]


def test_a_run_has_one_budget() -> None:
    assert RunConfig(policy=Fixed(supervision="answer")).budget == ("flops", 6 * 10**12)
    assert RunConfig(policy=Fixed(supervision="answer"), total_tokens=5e6).budget == ("tokens", 5_000_000)
    with pytest.raises(ValueError, match="one budget, and total_tokens and total_dollars are given"):
        RunConfig(policy=Fixed(supervision="answer"), total_tokens=5e6, total_dollars=1.0)


def test_what_a_budget_leaves_open_is_filled_once() -> None:
    fixed = Fixed(supervision="answer")
    assert resolve_budget(RunConfig(policy=fixed)).total_flops == 6e12
    filled = resolve_budget(RunConfig(policy=fixed, total_seconds=60.0, dollars_per_hour={"cuda": 2.0}))
    assert (filled.total_flops, filled.total_seconds) == (None, 60.0)
    assert filled.dollars_per_hour == {**DOLLARS_PER_HOUR, "cuda": 2.0}
    assert resolve_budget(filled) == filled


def test_a_price_is_that_of_the_cores_or_of_the_gpu_that_work() -> None:
    config = RunConfig(policy=Fixed(supervision="answer"), threads=4, dollars_per_hour={"cpu": 0.09, "cuda": 3.6})
    assert dollars_per_second(config, "cpu") == pytest.approx(1e-4)
    assert dollars_per_second(config, "cuda") == pytest.approx(1e-3)


def test_a_budget_buys_at_first_what_the_tables_or_the_measured_speed_say() -> None:
    fixed = Fixed(supervision="answer")
    budgets = {
        unit: run_budget(config, table(), device="cpu", flops_per_second=8e6)
        for unit, config in {
            "tokens": RunConfig(policy=fixed, total_tokens=1000),
            "seconds": RunConfig(policy=fixed, total_seconds=60),
            "dollars": RunConfig(policy=fixed, total_dollars=2, threads=1, dollars_per_hour={"cpu": 3600.0}),
        }.items()
    }
    assert Ledger(budget=budgets["tokens"]).total_flops == 1000 * 1000
    assert Ledger(budget=budgets["seconds"]).total_flops == 60 * 8 * 10**6
    assert Ledger(budget=budgets["dollars"]).total_flops == 2 * 8 * 10**6
    with pytest.raises(ValueError, match=r"needs a price, and dollars_per_hour\.cuda is 0"):
        free = RunConfig(policy=fixed, total_dollars=2, dollars_per_hour={"cuda": 0})
        run_budget(free, table(), device="cuda", flops_per_second=8e6)


def test_a_scale_of_adapters_that_are_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="set lora_rank too"):
        RunConfig(policy=Fixed(supervision="answer"), lora_alpha=16.0)


@pytest.mark.parametrize("policy", [Distilled(supervision="answer"), Hierarchical(), OnPolicy()])
def test_a_policy_that_learns_from_a_teacher_is_refused_without_one(policy: CurriculumPolicy) -> None:
    with pytest.raises(ValueError, match="learns from a white-box teacher; name one with --white_box_teacher"):
        RunConfig(policy=policy)
    assert RunConfig(policy=policy, white_box_teacher="tiny-3m").white_box_teacher == "tiny-3m"
