"""Configs: plain data and back, differences by name, values that cannot be."""

from __future__ import annotations

import pytest

from controller.config import RunConfig, config_dict, differing_fields, fingerprint
from curricula.policies import Fixed, Staged


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
    [("total_flops", 0), ("seed", -1), ("step_tokens", 0), ("threads", 0), ("eval_examples", 0), ("lora_rank", 0)],
)
def test_amounts_that_cannot_be_are_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        RunConfig(policy=Fixed(supervision="answer"), **{field: value})  # pyright: ignore[reportArgumentType]


def test_a_scale_of_adapters_that_are_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="set lora_rank too"):
        RunConfig(policy=Fixed(supervision="answer"), lora_alpha=16.0)
