"""Completions written by vLLM (github.com/vllm-project/vllm) in place of our own loop, where it is installed.

    rows --prompts, one SamplingParams each--> LLM.generate --token ids--> checked and priced, row by row

An engine takes tens of seconds to start and holds the weights it was started with. That pays for a local teacher, which
writes a whole corpus with one set of weights; not for a student, whose weights change before every probe.

A row is priced as if it were written alone (trainers/pricing/flops.py): its prompt read at its own length, each further
token against all that came before it. No padding, and nothing off for prompts that begin alike, which vLLM may read
once. The rows of our own loop attend to as many columns as the longest beside them, so they never cost less, and the
ceiling of a request holds for both.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypedDict

from trainers.decoding.rows import Row
from trainers.jobs import Precision
from trainers.pricing.flops import ModelShape, generate_flops
from trainers.teachers.sampling import Sampling
from trainers.teachers.teacher import TeacherError

INSTEAD = "--engine own writes without it, into another folder"
MISSING = f"vLLM is not installed (docs/traces.md says how to); {INSTEAD}"
DTYPES: Mapping[Precision, str] = {"bf16": "bfloat16", "fp32": "float32"}
FIT_TO_MEMORY = -1
"""As the longest prompt and answer: the model's positions, or as many as the cache of keys and values has room for."""


class TokensPrompt(TypedDict):
    """vLLM's prompt of token ids."""

    prompt_token_ids: list[int]


class CompletionOutput(Protocol):
    """One answer of vLLM's."""

    @property
    def token_ids(self) -> Sequence[int]:
        """What was written, the token that ended it included."""
        ...


class RequestOutput(Protocol):
    """vLLM's answers to one prompt."""

    @property
    def outputs(self) -> Sequence[CompletionOutput]:
        """As many as were asked for: one."""
        ...


class Engine(Protocol):
    """vLLM's `LLM`, as far as it is used here."""

    def generate(
        self, prompts: Sequence[TokensPrompt], sampling_params: Sequence[object], *, use_tqdm: bool
    ) -> Sequence[RequestOutput]:
        """Write an answer to every prompt under its own parameters, in the order of the prompts."""
        ...


class SamplingParams(Protocol):
    """vLLM's class of that name, as far as it is used here."""

    def __call__(
        self,
        *,
        temperature: float,
        top_p: float,
        seed: int,
        max_tokens: int,
        stop_token_ids: list[int],
        ignore_eos: bool,
        detokenize: bool,
    ) -> object:
        """How one answer is written; a temperature of 0 is greedy."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Vllm:
    """An engine that was started.

    Example:
        Vllm(engine=LLM(model="runs/x/student"), sampling_params=SamplingParams, positions=8192)
    """

    engine: Engine
    sampling_params: SamplingParams
    positions: int  # of a prompt with its answer, at most


def require_vllm() -> None:
    """Refuse to begin without it.

    Raises:
        ValueError: it is not installed; the message says what to do.
    """
    if find_spec("vllm") is None:
        raise ValueError(MISSING)


def start_vllm(folder: Path, *, precision: Precision) -> Vllm:
    """Start an engine in this process, on the weights of a Hugging Face folder.

    Its positions are the model's, or fewer where the memory of the device holds no longer row.

    Raises:
        ValueError: it is not installed, or cannot run this model here.
    """
    require_vllm()
    # In this process, not in one of its own, which might outlive a teacher that is killed.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # Here, not above: it may be missing, and reads its settings from the environment when it is loaded.
    from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]

    try:
        engine = LLM(
            model=str(folder),
            dtype=DTYPES[precision],
            skip_tokenizer_init=True,
            generation_config="vllm",  # no settings of the model's own
            max_model_len=FIT_TO_MEMORY,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"vLLM cannot run {folder} here ({_reason(error)}); {INSTEAD}") from error
    return Vllm(engine=engine, sampling_params=SamplingParams, positions=engine.model_config.max_model_len)


def write_with_vllm(
    vllm: Vllm,
    rows: Sequence[Row],
    *,
    sampling: Sampling,
    seed_of: Mapping[int, int],
    shape: ModelShape,
    end_ids: Collection[int],
) -> Iterator[Row]:
    """Write all rows at once, each until one of `end_ids` or the most it may write; hands them out in their order.

    Draws are vLLM's own, from each row's seed by its index: the same distribution as that of our loop, other texts.

    Raises:
        TeacherError: the engine failed.
        ValueError: it did not write what it was asked to.
    """
    if not rows:
        return
    prompts = [TokensPrompt(prompt_token_ids=row.prompt) for row in rows]
    params = [
        vllm.sampling_params(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=seed_of[row.index],
            max_tokens=row.most_tokens,
            stop_token_ids=sorted(end_ids),
            ignore_eos=True,  # beside end_ids, the model's config may name another
            detokenize=False,
        )
        for row in rows
    ]
    try:
        answers = vllm.engine.generate(prompts, params, use_tqdm=False)
    except RuntimeError as error:
        raise TeacherError(f"vLLM failed ({_reason(error)}); {INSTEAD}") from error
    if len(answers) != len(rows):
        raise ValueError(f"vLLM gave {len(answers)} answers to {len(rows)} prompts; {INSTEAD}")
    for row, answer in zip(rows, answers, strict=True):
        row.written = [token for output in answer.outputs for token in output.token_ids]
        if len(row.written) > row.most_tokens or row.goes_on(end_ids) or not set(end_ids).isdisjoint(row.written[:-1]):
            raise ValueError(
                f"vLLM wrote {len(row.written)} tokens to a prompt of {len(row.prompt)} that may get "
                f"{row.most_tokens}, and did not stop at the first that ends an answer; {INSTEAD}"
            )
        row.flops = generate_flops(shape, rows=1, prompt_length=len(row.prompt), new_tokens=len(row.written))
        row.positions = row.length - 1
        yield row


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
