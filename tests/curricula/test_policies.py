"""What each policy promises, against a student simulated by formula."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curricula.contract import check_policies
from curricula.digest import plan_digest
from curricula.policies import Adaptive, Distilled, Fixed, Hierarchical, Mixed, OnPolicy, Routed, Sequential, Staged
from curricula.policy import CurriculumPolicy
from curricula.probes import draw_probe, probe_reserve_flops
from curricula.recipe import Recipe, Rollouts
from curricula.rehearsal import accuracy_F, rehearse_stages
from curricula.types import ProbePlan
from tests.curricula.states import examples_share_of, flops_share_of, rehearsal_of, run_policy


def kind(policy: CurriculumPolicy) -> str:
    return type(policy).__name__


def test_fixed_spends_the_budget_in_equal_slices_on_one_supervision() -> None:
    state, plans = run_policy(Fixed(supervision="short", slices=4), rehearsal_of(20))
    assert flops_share_of(state, "short") == 1.0
    assert state.progress > 0.99
    spent = [result.spent_flops / state.total_flops for result in state.history]
    assert spent == pytest.approx([0.25] * 4, abs=0.01)
    assert len(plans) == 4


def test_staged_gives_each_supervision_its_share_of_flops_in_order() -> None:
    shares = (("answer", 0.2), ("short", 0.3), ("reasoning", 0.5))
    state, _ = run_policy(Staged(stages=shares), rehearsal_of(40))
    for supervision, share in shares:
        assert flops_share_of(state, supervision) == pytest.approx(share, abs=0.01)
    order = [result.mix[0][0] for result in state.history]
    assert order == sorted(order, key=[supervision for supervision, _ in shares].index)


def test_hierarchical_trains_from_the_bottom_up_each_phase_for_its_share() -> None:
    policy = Hierarchical(hidden_share=0.25, logits_share=0.25, slices=4)
    state, plans = run_policy(policy, rehearsal_of(20))
    assert flops_share_of(state, "reasoning") == 1.0
    assert [plan.recipe for plan in plans] == [*policy.phases()[:2], Recipe(), Recipe()]
    assert plans[0].recipe.hidden and set(plans[0].recipe.components) == {"embeddings", "lower", "head"}
    assert plans[1].recipe.logits and plans[1].recipe.components == ("upper",)
    assert [result.spent_flops / state.total_flops for result in state.history] == pytest.approx([0.25] * 4, abs=0.01)


def test_distilled_shows_what_fixed_shows_and_asks_for_logits_beside_it() -> None:
    _, ours = run_policy(Distilled(supervision="short", logits=0.3, temperature=2.0), rehearsal_of(20))
    _, theirs = run_policy(Fixed(supervision="short"), rehearsal_of(20))
    assert {plan.recipe for plan in ours} == {Recipe(text=0.5, logits=0.3, temperature=2.0)}
    assert [plan_digest(replace(plan, recipe=Recipe())) for plan in ours] == [plan_digest(plan) for plan in theirs]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_sequential_draws_the_fraction_of_examples_asked_for(fraction: float) -> None:
    state, _ = run_policy(Sequential(fraction_of_examples=fraction), rehearsal_of(60))
    assert examples_share_of(state, "reasoning") == pytest.approx(fraction, abs=0.01)


def test_sequential_share_follows_its_stated_arithmetic() -> None:
    table = rehearsal_of(1).state.train
    cost_S = table.mean_train_flops_S
    answer, reasoning = cost_S[0], cost_S[-1]
    share = Sequential(fraction_of_examples=0.25).then_flops_share(table)
    assert share == pytest.approx(0.25 * reasoning / (0.25 * reasoning + 0.75 * answer))


def test_mixed_draws_examples_in_the_shares_asked_for_even_with_gaps() -> None:
    rehearsal = rehearsal_of(40)
    table = rehearsal.state.train
    tokens_NS = table.target_tokens_NS.copy()
    tokens_NS[::3, 3] = -1  # a third of the examples have no reasoning
    rehearsal = replace(rehearsal, state=replace(rehearsal.state, train=replace(table, target_tokens_NS=tokens_NS)))
    state, _ = run_policy(Mixed(shares=(("reasoning", 0.2), ("short", 0.8))), rehearsal)
    assert examples_share_of(state, "reasoning") == pytest.approx(0.2, abs=0.01)


def test_on_policy_gives_text_its_share_and_all_that_is_left_to_rollouts() -> None:
    state, plans = run_policy(OnPolicy(supervision="short", warmup=0.25, max_tokens=9), rehearsal_of(40))
    assert [plan.recipe.rollouts is None for plan in plans] == [True, *[False] * (len(plans) - 1)]
    assert state.history[0].spent_flops / state.total_flops == pytest.approx(0.25, abs=0.01)
    assert plans[1].ceiling_flops == state.total_flops - state.history[0].spent_flops
    assert plans[1].recipe.rollouts == Rollouts(max_tokens=9)


def test_static_policies_compare_on_the_same_probe_every_stage() -> None:
    state, plans = run_policy(Fixed(supervision="answer", probe_examples=12), rehearsal_of(40))
    first = plans[0].probe
    assert first is not None
    assert len(first.example_P) == 12
    assert all(plan.probe is not None and np.array_equal(plan.probe.example_P, first.example_P) for plan in plans[:8])
    assert state.spent_flops <= state.total_flops


@pytest.mark.parametrize("policy", [Staged(stages=(("answer", 0.5), ("short", 0.5))), Routed(), Adaptive()], ids=kind)
def test_a_tiny_budget_is_spent_in_fewer_stages(policy: CurriculumPolicy) -> None:
    _, plans = run_policy(policy, rehearsal_of(0.3))
    assert 1 <= len(plans) < 8


@pytest.mark.parametrize("policy", [Fixed(supervision="answer"), Routed(), Adaptive()], ids=kind)
def test_a_budget_below_one_step_is_asked_for_whole_so_that_the_price_can_be_told(policy: CurriculumPolicy) -> None:
    rehearsal = rehearsal_of(0.001)
    plan = policy.next_stage(rehearsal.state)
    assert plan is not None
    assert plan.ceiling_flops + probe_reserve_flops(rehearsal.state.probe, plan.probe) == rehearsal.state.total_flops
    assert rehearse_stages(rehearsal, rehearsal.state, (plan,)) is None


def test_a_missing_supervision_is_refused_by_the_names_of_those_offered() -> None:
    state = rehearsal_of(10, supervisions=("answer", "short")).state
    for policy in (Fixed(supervision="reasoning"), Sequential(), Mixed(shares=(("reasoning", 1.0),))):
        with pytest.raises(ValueError, match="'reasoning'; this corpus offers answer, short"):
            policy.next_stage(state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(supervision="essay"), "'essay' is not kind"),
        (lambda: Fixed(supervision="answer", slices=0), "slices must be at least 1, got 0"),
        (lambda: Fixed(supervision="answer", probe_examples=-1), "must not be negative, got -1"),
        (lambda: Staged(stages=(("answer", 0.5), ("short", 0.6))), "must sum to 1, got 1.1"),
        (lambda: Hierarchical(hidden_share=0.7, logits_share=0.4), "parts of one budget, got 0.7 and 0.4"),
        (lambda: Hierarchical(layers=()), "layers"),
        (lambda: Distilled(supervision="answer", text=0.0, logits=0.0), "needs an objective"),
        (lambda: Staged(stages=()), "must sum to 1, got 0"),
        (lambda: Mixed(shares=(("answer", 1.5), ("short", -0.5))), "must lie in .0, 1., got 1.5"),
        (lambda: Mixed(shares=(("answer", 0.5), ("answer", 0.5))), "may stand once in shares, got answer, answer"),
        (lambda: Sequential(fraction_of_examples=1.0), r"must lie in \(0, 1\), got 1.0"),
        (lambda: OnPolicy(warmup=1.0), r"warmup must lie in \(0, 1\), got 1.0"),
        (lambda: OnPolicy(max_tokens=0), "max_tokens of a rollout must be at least 1, got 0"),
        (lambda: Routed(easy=0.0), r"easy must lie in \(0, 1\], got 0.0"),
        (lambda: Routed(maintenance=float("nan")), "maintenance must lie in .*, got nan"),
        (lambda: Routed(probe_share=0.9), "probe_share must lie in .*, got 0.9"),
    ],
)
def test_senseless_fields_are_refused_with_their_value(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def test_probe_windows_cover_the_table_before_any_row_repeats_and_spread_over_tasks() -> None:
    rehearsal = rehearsal_of(200)
    state, seen = rehearsal.state, []
    for _ in range(6):
        probe = draw_probe(state, examples=20, reserve_flops=10**15)
        assert probe is not None
        tasks = np.bincount(state.probe.task_N[probe.example_P], minlength=4)
        assert tasks.min() >= 2
        seen.append(probe.example_P)
        plan = replace(Fixed(supervision="answer").next_stage(state) or pytest.fail("no plan"), probe=probe)
        state = rehearse_stages(rehearsal, state, (plan,)) or pytest.fail("no step")
    assert len(np.unique(np.concatenate(seen))) == 120


def test_a_probe_is_cut_to_what_it_may_reserve() -> None:
    state = rehearsal_of(20).state
    probe = draw_probe(state, examples=50, reserve_flops=10**10, supervisions=("answer", "reasoning"))
    assert probe is not None
    assert 0 < len(probe.example_P) < 50
    assert probe_reserve_flops(state.probe, probe) <= 10**10
    by_hand = sum(
        state.probe.answer_flops_N[row] + state.probe.train_flops_NS[row, [0, 3]].sum() / 3 for row in probe.example_P
    )
    assert probe_reserve_flops(state.probe, probe) == pytest.approx(by_hand, abs=1.0)
    assert draw_probe(state, examples=50, reserve_flops=1) is None
    assert probe_reserve_flops(state.probe, None) == 0
    twice = ProbePlan(example_P=probe.example_P, modes=("think", "no_think"))
    assert probe_reserve_flops(state.probe, twice) == pytest.approx(
        2 * state.probe.answer_flops_N[probe.example_P].sum(), abs=1.0
    )


@pytest.mark.parametrize("tasks_given", [True, False])
def test_routed_gives_reflexes_answers_and_chains_traces(tasks_given: bool) -> None:
    rehearsal = rehearsal_of(48, tasks_given=tasks_given)
    _, plans = run_policy(Routed(), rehearsal)
    last = plans[-1]
    family_R = rehearsal.family_N[last.example_R]
    answered_R = last.supervision_R == 0
    assert answered_R[family_R == 0].mean() > 0.8  # reverse needs no working
    assert answered_R[family_R == 3].mean() < 0.2  # chains need much
    assert len(np.unique(last.example_R)) == len(rehearsal.state.train)  # none is dropped for good
    assert np.bincount(last.example_R, weights=last.share_R).min() >= Routed().maintenance - 1e-12


def test_routed_buys_long_traces_only_with_a_large_budget() -> None:
    small, _ = run_policy(Routed(), rehearsal_of(8))
    large, _ = run_policy(Routed(), rehearsal_of(300))
    assert flops_share_of(small, "reasoning") == 0.0
    assert flops_share_of(large, "reasoning") > 0.1


@pytest.mark.parametrize("passes", [16, 64, 256])
def test_routed_stays_near_the_best_fixed_supervision_and_never_near_the_worst(passes: int) -> None:
    rehearsal = rehearsal_of(passes)

    def mean_accuracy(policy: Fixed | Routed) -> float:
        return float(accuracy_F(rehearsal, run_policy(policy, rehearsal)[0].history).mean())

    fixed = [mean_accuracy(Fixed(supervision=name)) for name in rehearsal.state.train.supervisions]
    routed = mean_accuracy(Routed())
    assert routed > max(fixed) - 0.06
    assert routed > min(fixed) + 0.2


@pytest.mark.parametrize("policy", [Routed(probe_share=0.01), Adaptive(probe_share=0.01)], ids=kind)
def test_probes_cost_little(policy: CurriculumPolicy) -> None:
    state, plans = run_policy(policy, rehearsal_of(64))
    for plan in plans:
        assert probe_reserve_flops(state.probe, plan.probe) <= 0.01 * state.total_flops
    assert any(plan.probe is not None for plan in plans)


@pytest.mark.parametrize(
    "supervisions", [("answer", "short", "compressed:equations"), ("answer", "reasoning"), ("short",), ("reasoning",)]
)
@pytest.mark.parametrize("policy", [Routed(), Adaptive()], ids=kind)
def test_policies_of_feedback_work_with_whatever_is_offered(
    policy: CurriculumPolicy, supervisions: tuple[str, ...]
) -> None:
    state, plans = run_policy(policy, rehearsal_of(30, supervisions=supervisions))
    assert plans
    assert state.progress > 0.95


@pytest.mark.parametrize("policy", [Routed(), Adaptive()], ids=kind)
def test_a_short_run_replayed_from_its_history_plans_the_same(policy: CurriculumPolicy) -> None:
    rehearsal = rehearsal_of(16)
    state, plans = run_policy(policy, rehearsal)
    for index, plan in enumerate(plans):
        earlier = replace(rehearsal.state, history=state.history[:index])
        again = policy.next_stage(earlier)
        assert again is not None
        assert np.array_equal(again.share_R, plan.share_R)
        assert np.array_equal(again.supervision_R, plan.supervision_R)


def test_the_policies_in_the_documentation_keep_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    monkeypatch.syspath_prepend(tmp_path)  # also in the fresh process that the contract starts
    documented: list[Callable[..., CurriculumPolicy]] = []
    for place, block in enumerate(blocks):
        name = f"documented_policy_{place}"
        (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
        values = vars(importlib.import_module(name)).values()
        documented += [value for value in values if isinstance(value, type) and value.__module__ == name]
    switch, gentle = documented
    check_policies((switch(), gentle(inner=Fixed(supervision="short"))))
