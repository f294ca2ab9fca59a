"""What planning a stage costs at many rows: `next_stage`, and the steps of the stage it planned, without a model.

    python -m experiments.speed.planning --policy Routed --rows 1000000

A rehearsed run (curricula.rehearsal) brings the policy past its warm-up; then the same stage is planned several times,
each time from a state that no cache has seen. Prints a line of JSON a repeat, with the most memory the process held.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import time
from collections.abc import Sequence

import numpy as np

from curricula.digest import plan_digest
from curricula.plans import check_plan
from curricula.policies import Adaptive, Fixed, Mixed, Routed
from curricula.policy import CurriculumPolicy
from curricula.rehearsal import rehearse_stages, synthetic_rehearsal
from curricula.types import RunState, StagePlan
from trainers.batches import BatchSizes, plan_steps
from trainers.order import rows_digest
from trainers.pricing.config_shape import config_shape
from trainers.pricing.flops import ModelShape
from trainers.pricing.step_price import StepPrice

POLICIES: dict[str, CurriculumPolicy] = {
    "Fixed": Fixed(supervision="compressed:steps", probe_examples=64),
    "Mixed": Mixed(shares=(("answer", 0.5), ("compressed:steps", 0.3), ("reasoning", 0.2)), probe_examples=64),
    "Routed": Routed(),
    "Adaptive": Adaptive(),
}
TOTAL_FLOPS = 6 * 10**12  # the command's default: a stage of some hundred steps
STAGES_BEFORE = 6
PROBE_EXAMPLES = 2_000
SIZES = BatchSizes(step_tokens=512, micro_batch_tokens=8192)


def parser() -> argparse.ArgumentParser:
    """What this process is told."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--policy", choices=list(POLICIES), required=True)
    made.add_argument("--rows", type=int, required=True)
    made.add_argument("--repeats", type=int, default=5)
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    told = parser().parse_args(arguments)
    policy, shape = POLICIES[told.policy], small_student()
    state = rehearsed(policy, told.rows)
    before_bytes = _peak_bytes()
    for _ in range(told.repeats):
        # A new object each time: nothing can be kept from the time before.
        fresh = dataclasses.replace(state, history=tuple(dataclasses.replace(result) for result in state.history))
        began = time.monotonic()
        plan = policy.next_stage(fresh)
        next_stage_seconds = time.monotonic() - began
        assert plan is not None, f"{told.policy} ended its run after {STAGES_BEFORE} stages"
        began = time.monotonic()
        check_plan(fresh, plan)
        plan_digest(plan)
        check_seconds = time.monotonic() - began
        began = time.monotonic()
        steps = planned_steps(fresh, plan, shape)
        figures = {
            "plan_rows": len(plan),
            "steps": steps,
            "next_stage_seconds": next_stage_seconds,
            "check_seconds": check_seconds,  # check_plan and plan_digest, which the controller adds
            "batch_planning_seconds": time.monotonic() - began,
            "peak_bytes_before": before_bytes,
            "peak_bytes": _peak_bytes(),
        }
        print(json.dumps(figures), flush=True)


def rehearsed(policy: CurriculumPolicy, rows: int) -> RunState:
    """The state of a run after `STAGES_BEFORE` stages over so many training examples."""
    rehearsal = synthetic_rehearsal(total_flops=TOTAL_FLOPS, examples=rows, probe_examples=PROBE_EXAMPLES)
    state = rehearsal.state
    for _ in range(STAGES_BEFORE):
        after = rehearse_stages(rehearsal, state, policy.next_stages(state))
        assert after is not None, f"{TOTAL_FLOPS} FLOPs buy no stage"
        state = after
    return state


def planned_steps(state: RunState, plan: StagePlan, shape: ModelShape) -> int:
    """Plan the steps of a stage as a trainer does; how many there are."""
    steps, _ = plan_steps(
        prompt_tokens_R=state.train.prompt_tokens_N[plan.example_R],
        target_tokens_R=state.train.target_tokens_NS[plan.example_R, plan.supervision_R],
        share_R=plan.share_R.astype(np.float64),
        price=StepPrice(shape=shape).flops,
        sizes=SIZES,
        ceiling_flops=plan.ceiling_flops,
        seed=0,
        key=rows_digest(plan.example_R, plan.supervision_R, plan.share_R),
        drawn=0,
    )
    return len(steps)


def small_student() -> ModelShape:
    """A Llama of 0.6 million parameters."""
    return config_shape(
        {
            "model_type": "llama",
            "vocab_size": 100,
            "hidden_size": 128,
            "intermediate_size": 352,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
        }
    )


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
