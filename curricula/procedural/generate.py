"""Procedural corpora: examples with all their targets, made from a seed, with no download and no teacher."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from curricula.procedural.chains import CHAINS
from curricula.procedural.long import LONG
from curricula.procedural.problem import LEVELS, Family, Problem
from curricula.procedural.reflex import REFLEX
from curricula.rendering import think
from curricula.types import Domain, Example, Target

FAMILIES: MappingProxyType[str, Family] = MappingProxyType({**REFLEX, **CHAINS, **LONG})
"""Every family by name: those that need no reasoning, a short chain, a long chain."""

FINAL = "####"
PATIENCE = 200
"""Repeated prompts in a row after which a family counts as exhausted."""


def generate(
    *, examples: int, seed: int, families: Sequence[str] | None = None, transfer_share: float = 0.02
) -> list[Example]:
    """Make worked examples of the named families (all where None), taking turns between them.

    Deterministic in the arguments. A family's examples depend on the seed and its name alone, so a smaller corpus is
    the start of a larger one and a family is the same whichever others stand beside it. Prompts are unique; a family
    that runs out of prompts gives fewer examples.

    Args:
        examples: how many to make at most, shared equally (the first families take the remainder).
        transfer_share: share of each family's examples from its transfer domain, in [0, 1].

    Raises:
        ValueError: an unknown or repeated family or none, a negative number of examples or seed, or a share outside
            [0, 1].
    """
    if examples < 0:
        raise ValueError(f"examples must be 0 or more, got {examples}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if not 0.0 <= transfer_share <= 1.0:
        raise ValueError(f"transfer_share must lie in [0, 1], got {transfer_share}")
    names = _check(tuple(FAMILIES) if families is None else tuple(families))
    quotient, remainder = divmod(examples, len(names))
    made = [
        _family_examples(name, quotient + (place < remainder), seed, transfer_share) for place, name in enumerate(names)
    ]
    longest = max(len(column) for column in made)
    return [column[turn] for turn in range(longest) for column in made if turn < len(column)]


def _check(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError(f"families is empty; choose from {', '.join(FAMILIES)}")
    for place, name in enumerate(names):
        if name not in FAMILIES:
            near = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.0)
            raise ValueError(f"no family {name!r}; did you mean {near[0]!r}? There are {', '.join(FAMILIES)}")
        if name in names[:place]:
            raise ValueError(f"family {name!r} is named twice in families")
    return names


def _family_examples(name: str, count: int, seed: int, transfer_share: float) -> list[Example]:
    """Up to `count` examples of one family with distinct prompts."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    seen: set[str] = set()
    found: list[Example] = []
    for turn in range(count):
        # Spread evenly: the transfer examples among the first k are always within one of k * transfer_share.
        transfer = int((turn + 1) * transfer_share + 0.5) > int(turn * transfer_share + 0.5)
        domain: Domain = "transfer" if transfer else "in_domain"
        for _ in range(PATIENCE):
            problem = FAMILIES[name](rng, int(rng.integers(LEVELS)), domain)
            if problem.prompt not in seen:
                seen.add(problem.prompt)
                found.append(_example(name, problem, domain))
                break
    return found


def _example(task: str, problem: Problem, domain: Domain) -> Example:
    answer = problem.answer
    cut = problem.reasoning[: len(problem.compressed)]
    texts = {
        "answer": answer,
        "short": f"{problem.short} {FINAL} {answer}",
        "compressed": think(problem.compressed, answer),
        "truncated": think(cut, answer),
        "reasoning": think(problem.reasoning, answer),
    }
    return Example(
        task=task,
        prompt=problem.prompt,
        answer=answer,
        targets=tuple(Target(supervision=supervision, text=text) for supervision, text in texts.items()),
        kind="choice" if problem.choices else "open",
        domain=domain,
        choices=problem.choices,
    )
