"""The contract of a policy, as a test that anyone can run on their own: `check_policy(MyPolicy())`.

A policy passes if, on synthetic corpora and against a student simulated by formula (`curricula.rehearsal`), it

    ends, and spends something first; plans only what is offered, within the budget; pickles; plans the same twice, in
    a fresh process under another hash seed, and from read-only arrays; keeps no state; reads no clock, file or global
    random numbers; and plans 20,000 examples within a second.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import FrozenInstanceError, dataclass, replace

import numpy as np

from curricula.digest import plan_digest
from curricula.plans import PlanError, check_plan
from curricula.policy import CurriculumPolicy
from curricula.probes import probe_reserve_flops
from curricula.rehearsal import ALL_SUPERVISIONS, STEP_ROWS, Rehearsal, rehearse_stages, synthetic_rehearsal
from curricula.types import RunState, StagePlan
from curricula.watch import fastest_seconds, watch_calls

MAX_ROUNDS = 128
"""A policy that plans more rounds than this on a budget of at most 20 passes does not end."""
MAX_PLAN_SECONDS = 1.0
TIMED_EXAMPLES = 20_000
CHILD_SECONDS = 120.0
BUDGETS_PASSES: tuple[float, ...] = (0.02, 0.3, 20.0)
"""In passes over all examples at their mean cost; the smallest buys about eight rows."""


class PolicyContractError(ValueError):
    """A policy breaks its contract; the message says how, and on which corpus."""


class _RefusedError(Exception):
    """The policy said that the corpus lacks what it needs."""


@dataclass(frozen=True, kw_only=True)
class RehearsalCorpus:
    """A synthetic corpus to rehearse on.

    Example:
        RehearsalCorpus(title="a corpus whose tasks are withheld", supervisions=("answer",), tasks_given=False)
    """

    title: str
    supervisions: tuple[str, ...]
    families: int = 4
    tasks_given: bool = True
    offered_share: float = 1.0
    examples: int = 400


def check_policy(policy: CurriculumPolicy, *, supervisions: tuple[str, ...] = ALL_SUPERVISIONS) -> None:
    """Try a policy on several corpora and budgets; returns if it keeps the contract. Takes some seconds.

    `supervisions` are what the full corpora offer: name those your policy needs, bare answers first. It may refuse a
    corpus that lacks one, by a ValueError that names what is offered, but not every corpus.

    Raises:
        PolicyContractError: it breaks the contract; the message says how.
    """
    check_policies((policy,), supervisions=supervisions)


def check_policies(policies: Sequence[CurriculumPolicy], *, supervisions: tuple[str, ...] = ALL_SUPERVISIONS) -> None:
    """As `check_policy`, for several policies with one fresh process between them.

    Raises:
        PolicyContractError: the first of them that breaks the contract, and how.
    """
    tasks: list[tuple[bytes, RehearsalCorpus]] = []
    for policy in policies:
        packed = _packed(policy)
        corpus = _first_accepted(policy, supervisions)
        if _packed(policy) != packed:
            raise PolicyContractError(f"{type(policy).__name__} keeps state: its fields changed while it planned")
        _check_speed(policy, replace(corpus, examples=TIMED_EXAMPLES))
        tasks.append((packed, corpus))
    _check_fresh_process(policies, tasks)


def _first_accepted(policy: CurriculumPolicy, supervisions: tuple[str, ...]) -> RehearsalCorpus:
    corpora = (
        RehearsalCorpus(title="a corpus of all kinds", supervisions=supervisions),
        RehearsalCorpus(title="a corpus of answers and reasoning", supervisions=("answer", "reasoning")),
        RehearsalCorpus(title="a corpus whose tasks are withheld", supervisions=supervisions, tasks_given=False),
        RehearsalCorpus(title="a corpus of one task", supervisions=supervisions, families=1),
        RehearsalCorpus(title="a corpus with gaps", supervisions=supervisions, offered_share=0.6),
    )
    accepted = [corpus for corpus in corpora if _accepts(policy, corpus)]
    if not accepted:
        raise PolicyContractError(
            f"{type(policy).__name__} refuses every corpus, even one that offers {', '.join(supervisions)}; "
            "name what it needs with check_policy(policy, supervisions=...)"
        )
    return accepted[0]


def _accepts(policy: CurriculumPolicy, corpus: RehearsalCorpus) -> bool:
    """Whether the policy accepted the corpus; raises where it breaks the contract on it."""
    for passes in BUDGETS_PASSES:
        try:
            for _ in _rehearse(policy, corpus, passes, watched=True):
                pass
        except _RefusedError:
            return False
    return True


def _rehearse(
    policy: CurriculumPolicy, corpus: RehearsalCorpus, passes: float, *, watched: bool
) -> Iterator[tuple[RunState, tuple[StagePlan, ...]]]:
    rehearsal = _rehearsal(corpus, passes)
    state: RunState | None = rehearsal.state
    where = f"{type(policy).__name__}, on {corpus.title} with a budget of {passes:g} passes"
    while state is not None:
        plans = _plan(policy, state, where, watched=watched)
        if not plans:
            if not state.history and passes >= 1:
                raise PolicyContractError(f"{where}: ends before it has spent anything")
            return
        if state.rounds >= MAX_ROUNDS:
            raise PolicyContractError(f"{where}: does not end; {MAX_ROUNDS} rounds spent {state.progress:.1%}")
        yield state, plans
        state = _next_state(rehearsal, state, plans, where)


def _next_state(rehearsal: Rehearsal, state: RunState, plans: tuple[StagePlan, ...], where: str) -> RunState | None:
    wanted_flops = 0
    for plan in plans:
        try:
            check_plan(state, plan)
        except PlanError as error:
            raise PolicyContractError(f"{where}: {error}") from error
        wanted_flops += plan.ceiling_flops + probe_reserve_flops(state.probe, plan.probe)
    if wanted_flops > state.remaining_flops:
        raise PolicyContractError(
            f"{where}: plans {wanted_flops} FLOPs, probes at their worst included, of {state.remaining_flops} left"
        )
    after = rehearse_stages(rehearsal, state, plans)
    dearest_flops = STEP_ROWS * float(np.nanmax(state.train.train_flops_NS))
    if after is None and state.remaining_flops >= 4 * dearest_flops:
        raise PolicyContractError(f"{where}: stage {plans[0].name!r} buys no step, though the budget would buy several")
    return after


def _rehearsal(corpus: RehearsalCorpus, passes: float) -> Rehearsal:
    rehearsal = synthetic_rehearsal(
        total_flops=1,
        supervisions=corpus.supervisions,
        examples=corpus.examples,
        families=corpus.families,
        tasks_given=corpus.tasks_given,
        offered_share=corpus.offered_share,
    )
    pass_flops = corpus.examples * float(np.nanmean(rehearsal.state.train.mean_train_flops_S))
    return replace(rehearsal, state=replace(rehearsal.state, total_flops=int(passes * pass_flops)))


def _plan(policy: CurriculumPolicy, state: RunState, where: str, *, watched: bool) -> tuple[StagePlan, ...]:
    """The policy's plans; `watched`, planned twice, with global random numbers, calls and the state looked after."""
    if not watched:
        return _ask(policy, state, where)
    python_random, numpy_random = random.getstate(), np.random.get_state(legacy=False)
    given = (state.train, state.probe, state.history[-1:])
    before = pickle.dumps(given)
    digests: list[list[str]] = []
    plans: tuple[StagePlan, ...] = ()
    try:
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            seeded = pickle.dumps((random.getstate(), np.random.get_state(legacy=False)))
            with watch_calls() as seen:
                plans = _ask(policy, state, where)
            if seen:
                raise PolicyContractError(f"{where}: {seen[0]}")
            if pickle.dumps((random.getstate(), np.random.get_state(legacy=False))) != seeded:
                raise PolicyContractError(
                    f"{where}: draws global random numbers; use np.random.default_rng([state.seed, state.rounds])"
                )
            digests.append([plan_digest(plan) for plan in plans])
    finally:
        random.setstate(python_random)
        np.random.set_state(numpy_random)
    if digests[0] != digests[1]:
        raise PolicyContractError(f"{where}: asked twice about the same state, it plans differently")
    if pickle.dumps(given) != before:
        raise PolicyContractError(f"{where}: changes the state that it is given")
    return plans


def _ask(policy: CurriculumPolicy, state: RunState, where: str) -> tuple[StagePlan, ...]:
    try:
        plans = tuple(policy.next_stages(state))
    except (ValueError, FrozenInstanceError) as error:
        if not state.history and any(name in str(error) for name in state.train.supervisions):
            raise _RefusedError(str(error)) from error
        raise PolicyContractError(f"{where}: fails, or changes read-only arrays: {error}") from error
    for plan in plans:
        if not isinstance(plan, StagePlan):
            raise PolicyContractError(f"{where}: plans a {type(plan).__name__} instead of a StagePlan")
    return plans


def _packed(policy: CurriculumPolicy) -> bytes:
    try:
        return pickle.dumps(policy)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise PolicyContractError(f"{type(policy).__name__} does not pickle: {error}") from error


def _check_speed(policy: CurriculumPolicy, corpus: RehearsalCorpus) -> None:
    rehearsal = _rehearsal(corpus, BUDGETS_PASSES[-1])
    state: RunState | None = rehearsal.state
    for _ in range(3):
        if state is None:
            return
        now = state
        seconds = fastest_seconds(lambda now=now: policy.next_stages(now), limit_seconds=MAX_PLAN_SECONDS, attempts=3)
        if seconds > MAX_PLAN_SECONDS:
            raise PolicyContractError(
                f"{type(policy).__name__} takes {seconds:.2f} s to plan {len(now.train)} examples in round "
                f"{now.rounds}; at most {MAX_PLAN_SECONDS:g} s are allowed"
            )
        plans = policy.next_stages(now)
        state = rehearse_stages(rehearsal, now, plans) if plans else None


def _check_fresh_process(policies: Sequence[CurriculumPolicy], tasks: Sequence[tuple[bytes, RehearsalCorpus]]) -> None:
    """Plan the same runs in a new interpreter under another hash seed, and compare every plan."""
    names = ", ".join(type(policy).__name__ for policy in policies)
    other_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    child = subprocess.run(
        [sys.executable, "-c", "from curricula.contract import rehearse_in_child; rehearse_in_child()"],
        input=pickle.dumps(tasks),
        env={**os.environ, "PYTHONHASHSEED": other_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    if child.returncode != 0:
        lines = child.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        local = any(type(policy).__module__ == "__main__" for policy in policies)
        hint = "; move the class into a file that can be imported" if local else ""
        raise PolicyContractError(f"{names} cannot plan in a fresh process: {lines[-1]}{hint}")
    digests = child.stdout.decode().split()[-len(tasks) :]
    for policy, (_, corpus), digest in zip(policies, tasks, digests, strict=True):
        if digest != _run_digest(policy, corpus):
            raise PolicyContractError(
                f"{type(policy).__name__} plans differently in a fresh process under another PYTHONHASHSEED: does a "
                "plan depend on hash(), the order of a set, or a global?"
            )


def rehearse_in_child() -> None:
    """Entry of the fresh process: reads pickled policies and corpora, and prints the digest of each one's plans."""
    for packed, corpus in pickle.load(sys.stdin.buffer):
        print(_run_digest(pickle.loads(packed), corpus))


def _run_digest(policy: CurriculumPolicy, corpus: RehearsalCorpus) -> str:
    run = hashlib.sha256()
    for _, plans in _rehearse(policy, corpus, BUDGETS_PASSES[-1], watched=False):
        for plan in plans:
            run.update(plan_digest(plan).encode())
        run.update(b"round")
    return run.hexdigest()
