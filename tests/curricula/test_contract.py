"""The contract accepts the policies that ship, and names what is wrong with each deliberately broken one."""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import numpy as np
import pytest

from curricula.contract import PolicyContractError, check_policies, check_policy
from curricula.digest import plan_digest
from curricula.policies import Distilled, Fixed, Hierarchical, Mixed, OnPolicy, Routed, Sequential, Staged
from curricula.policy import CurriculumPolicy
from curricula.recipe import Recipe
from curricula.types import ProbePlan, StagePlan
from tests.curricula.broken import BREACHES, Quarters


def test_policies_that_ship_keep_the_contract() -> None:
    check_policies(
        (
            Fixed(supervision="answer"),
            Fixed(supervision="reasoning", probe_examples=16),
            Distilled(supervision="answer"),
            Hierarchical(probe_examples=8),
            Staged(stages=(("answer", 0.25), ("reasoning", 0.75))),
            Sequential(),
            Mixed(shares=(("answer", 0.25), ("compressed:steps", 0.75))),
            OnPolicy(supervision="compressed:steps", warmup=0.3),
            Routed(),
            Quarters(),
        )
    )


def test_a_policy_may_ask_for_a_supervision_of_its_own() -> None:
    check_policy(Fixed(supervision="compressed:mine@0.3"), supervisions=("answer", "compressed:mine@0.3"))


@pytest.mark.parametrize(("policy", "message"), BREACHES, ids=[type(policy).__name__ for policy, _ in BREACHES])
def test_a_broken_policy_is_told_what_it_breaks(policy: CurriculumPolicy, message: str) -> None:
    with pytest.raises(PolicyContractError, match=message):
        check_policy(policy)


def test_checking_leaves_the_callers_random_numbers_and_profile_hook_alone() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = (random.random(), np.random.rand())
    random.seed(5)
    np.random.seed(5)
    hook = sys.getprofile()
    with pytest.raises(PolicyContractError):
        check_policy(BREACHES[0][0])
    assert (random.random(), np.random.rand()) == expected
    assert sys.getprofile() is hook


def _plan() -> StagePlan:
    return StagePlan(
        name="one",
        example_R=np.arange(3, dtype=np.int32),
        supervision_R=np.zeros(3, dtype=np.int32),
        share_R=np.ones(3),
        ceiling_flops=1000,
    )


def test_digest_depends_on_values_and_not_on_their_storage() -> None:
    other = replace(
        _plan(),
        example_R=np.arange(6, dtype=np.int64)[::2] // 2,
        supervision_R=np.zeros(3, dtype=">i4"),
        share_R=np.ones(3, dtype=np.float32),
    )
    assert plan_digest(other) == plan_digest(_plan())


def test_digest_changes_with_every_field() -> None:
    probe = ProbePlan(example_P=np.array([1], dtype=np.int32))
    index_M = np.array([1], dtype=np.int32)
    variants = [
        _plan(),
        replace(_plan(), name="two"),
        replace(_plan(), example_R=np.array([0, 1, 3], dtype=np.int32)),
        replace(_plan(), supervision_R=np.ones(3, dtype=np.int32)),
        replace(_plan(), share_R=np.array([1.0, 1.0, 2.0])),
        replace(_plan(), ceiling_flops=1001),
        replace(_plan(), loss_weight_R=np.ones(3)),
        replace(_plan(), start="0000"),
        replace(_plan(), probe=probe),
        replace(_plan(), probe=replace(probe, example_P=np.array([2], dtype=np.int32))),
        replace(_plan(), probe=replace(probe, modes=("think",))),
        replace(_plan(), probe=replace(probe, supervisions=("answer",))),
        replace(_plan(), score_example_M=index_M),
        replace(_plan(), score_supervision_M=index_M),
        replace(_plan(), recipe=Recipe(rate_multiplier=0.5)),
    ]
    assert len({plan_digest(variant) for variant in variants}) == len(variants)
