"""Run folders made by hand, as a run would leave them, with the answers that a test asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from evaluators.accuracy import Outputs, score

QUESTIONS = 40
Row = dict[str, object]


def rows(right: Sequence[bool | None], *, tokens: int = 5, thinks: bool = False, prefix: str = "q") -> list[Row]:
    """A row for each question, right, wrong or (None) ungraded; the first half open, every fourth of the transfer
    domain."""
    return [
        {
            "id": f"{prefix}{place:03d}",
            "task": "add" if place % 2 else "chain",
            "kind": "open" if place < len(right) / 2 else "choice",
            "domain": "in_domain" if place % 4 else "transfer",
            "prompt": f"{place}+{place}=?",
            "prompt_tokens": 8,
            "answer": str(2 * place),
            "output": f"<think>so</think>{2 * place}" if thinks else str(2 * place),
            "correct": correct,
            **({"ungraded": "the grader raised"} if correct is None else {}),
            "output_tokens": tokens + place % 3,
            "truncated": False,
        }
        for place, correct in enumerate(right)
    ]


def write_run(
    folder: Path,
    answers: Sequence[Row],
    *,
    supervision: str = "answer",
    seed: int = 0,
    total_flops: int = 10**9,
    split: str = "test",
    corpus_fingerprint: str = "c0ffee",
    config: Mapping[str, object] | None = None,
    summary: Mapping[str, object] | None = None,
) -> Path:
    """A finished run under one fixed supervision; `config` and `summary` add to what is written there."""
    folder.mkdir(parents=True)
    policy = {
        "class_path": "curricula.policies.fixed.Fixed",
        "init_args": {"supervision": supervision, "slices": 8, "probe_examples": 0},
    }
    named = {"policy": policy, "student": "tiny", "corpus": "corpora/sums", "seed": seed}
    whole = {**named, "total_flops": float(total_flops), **(config or {})}
    identity = {
        "config": whole,
        "corpus_fingerprint": corpus_fingerprint,
        "student_digest": f"weights of seed {seed}",
        "tasks": ["add", "chain"],
        "supervisions": ["answer", "reasoning"],
    }
    (folder / "identity.json").write_text(json.dumps(identity))
    (folder / "config.yaml").write_text(yaml.safe_dump(whole))
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    spent = {"flops": total_flops, "tokens": 1000, "seconds": 2.0, "dollars": 0.001}
    told = {
        **named,
        "budget": {"unit": "flops", "total": total_flops, "spent": total_flops, "dollars_per_hour": 1.8},
        "total_flops": total_flops,
        "spent_flops": total_flops,
        "charges": {"train": total_flops, "probe": 0, "features": 0, "teach": 0, "compress": 0},
        "spent": {"train": spent, "evaluate": {**spent, "flops": total_flops // 10}},
        "corpus_costs": {"teach": {"flops": 0, "tokens": 90, "dollars": 0.5}},
        "recorded": {"evaluate": total_flops // 10},
        "mix_by_examples": {supervision: 1.0},
        "mix_by_flops": {supervision: 1.0},
        split: _scores(answers),
        **(summary or {}),
    }
    (folder / "summary.json").write_text(json.dumps(told))
    (folder / "student").mkdir()
    (folder / "student" / "config.json").write_text(json.dumps(STUDENT))
    return folder


def _scores(answers: Sequence[Row]) -> Mapping[str, object]:
    return score(
        Outputs(
            correct_N=np.array([row["correct"] is True for row in answers]),
            graded_N=np.array([row["correct"] is not None for row in answers]),
            output_tokens_N=np.array([row["output_tokens"] for row in answers], dtype=np.int32),
            truncated_N=np.array([row["truncated"] is True for row in answers]),
            task_N=tuple(str(row["task"]) for row in answers),
            kind_N=tuple(str(row.get("kind")) for row in answers),
            domain_N=tuple(str(row.get("domain")) for row in answers),
        )
    ).to_json()


STUDENT = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 50,
    "tie_word_embeddings": True,
}
