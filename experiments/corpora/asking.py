"""What the teach command's flags say, and the teacher and the plan they make."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from controller.config import Json, user_cache
from controller.traces.pairing import SIDES, PairingPlan, Side
from controller.traces.teachers import vllm_fits
from controller.traces.teaching import TeachingConfig
from curricula.types import SPLITS, Split
from experiments.command_line import TINY_STUDENTS, nearest
from trainers.teachers.sampling import BATCH_ROWS, Engine, LocalModel, Sampling
from trainers.teachers.server_teacher import ServerTeacher

_NOT_WHAT = frozenset(
    {"name", "sampling", "base_url", "api_key_env", "concurrency", "stream", "deadline_seconds", "attempts"}
    | {"backoff_seconds", "longest_wait_seconds", "patience", "cache_dir", "batch_rows", "threads"}
)
"""Settings of a teacher that do not decide what it writes; a journal goes on under others."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the flags say."""

    source: str
    output_dir: str  # journal, summary and, at the end, the corpus; the same folder goes on with what is there
    base_url: str | None = None  # of a server that speaks OpenAI's chat completions, such as http://127.0.0.1:8000/v1
    model: str | None = None  # as that server names it
    local: str | None = None  # in place of a server: a Hugging Face folder or hub id, a .gguf file, or a tiny student
    teacher_name: str | None = None  # as in reasoning#NAME; by the model where not given, no #NAME where ''
    sides: str = "reasoning,short"  # thinking on (gives reasoning and response), thinking off, or both
    samples: int = 1  # completions of each side of each question
    keep: Literal["shortest", "first"] = "shortest"  # which of several right completions
    pairs_only: bool = False  # keep nothing of a question unless every side has a right completion
    splits: str = "train,probe"  # whose questions are asked
    limit: int | None = None  # so many questions at most
    instruction: str = ""  # put below each question, for the teacher alone, such as how to mark the answer
    temperature: float = 0.6  # 0 is greedy
    top_p: float = 0.95  # nucleus of probability that is sampled from
    max_tokens: int = 4096  # of one completion, thinking included
    seed: int = 0  # of the sampling
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key; the key itself is never a flag
    concurrency: int = 16  # requests at a time
    stream: bool = True  # receive completions piece by piece
    thinking_key: str | None = "enable_thinking"  # of chat_template_kwargs, which is not sent where null
    effort_on: str | None = None  # reasoning_effort with thinking on; not sent where null
    effort_off: str | None = None  # and with thinking off
    send_seed: bool = True  # some servers refuse the field
    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # as the server names it
    extra_body: str = "{}"  # more fields for every request, as a JSON object
    active_parameters: float | None = None  # of a server's model, for its FLOPs, which are 0 where not given
    price_in: float = 0.0  # dollars per million tokens read
    price_out: float = 0.0  # dollars per million tokens written
    chars_per_token: float = 4.0  # to estimate what the server does not count
    deadline_seconds: float = 600.0  # of one attempt
    attempts: int = 6  # at one request
    backoff_seconds: float = 1.0  # before the second attempt; doubled before each further one
    longest_wait_seconds: float = 120.0  # between two attempts, also where the server asks for more
    patience: int = 8  # requests that may fail in a row before all is given up
    engine: Literal["auto", "own", "vllm"] = "auto"  # of a local model; auto: vLLM where installed and a GPU is there
    batch_rows: int | None = None  # of a local model: completions asked for at once; 32, or 1,024 of vLLM, where null
    threads: int = 1  # of a local model
    cache_dir: str | None = None  # where converted local models are kept
    dry_run: bool = False  # print what it may take, and stop


def teaching_config(options: Options) -> TeachingConfig:
    """What is asked for.

    Raises:
        ValueError: the flags contradict each other, or name what is not there.
    """
    if (options.local is None) == (options.base_url is None):
        raise ValueError("name one teacher: a server by --base_url and --model, or a model on this machine by --local")
    if options.base_url is not None and options.model is None:
        raise ValueError("--base_url needs --model, as the server names it")
    if options.samples > 1 and options.temperature == 0:
        raise ValueError("--samples above 1 needs a --temperature above 0: greedy completions are all alike")
    plan = PairingPlan(
        name=_name(options),
        sides=tuple(_side(name) for name in _listed(options.sides)),
        samples=options.samples,
        keep=options.keep,
        pairs_only=options.pairs_only,
        splits=tuple(_split(name) for name in _listed(options.splits)),
        limit=options.limit,
        instruction=options.instruction,
    )
    settings = server_teacher(options, plan.name) if options.local is None else local_model(options, plan.name)
    values: dict[str, Json] = dataclasses.asdict(settings)
    teacher = {name: value for name, value in values.items() if name not in _NOT_WHAT}
    return TeachingConfig(plan=plan, teacher={**teacher, **dataclasses.asdict(settings.sampling)})


def _name(options: Options) -> str:
    """The name behind `#`: as given, else the last part of the model's, as far as a name may hold it."""
    if options.teacher_name is not None:
        return options.teacher_name
    path = Path(options.local or options.model or "")
    last = path.stem if path.suffix.lower() == ".gguf" else path.name
    return re.sub(r"[^\w.-]+", "-", last).strip("-") or "teacher"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _side(name: str) -> Side:
    for side in SIDES:
        if name == side:
            return side
    raise ValueError(f"--sides: there is no side {name!r}{nearest(name, SIDES)}; there are {', '.join(SIDES)}")


def _split(name: str) -> Split:
    for split in SPLITS:
        if name == split:
            return split
    raise ValueError(f"--splits: there is no split {name!r}{nearest(name, SPLITS)}; there are {', '.join(SPLITS)}")


def _sampling(options: Options) -> Sampling:
    return Sampling(
        temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens, seed=options.seed
    )


def server_teacher(options: Options, name: str) -> ServerTeacher:
    """The server that the flags name."""
    assert options.base_url is not None and options.model is not None
    return ServerTeacher(
        name=name,
        base_url=options.base_url,
        model=options.model,
        sampling=_sampling(options),
        api_key_env=options.api_key_env,
        concurrency=options.concurrency,
        stream=options.stream,
        thinking_key=options.thinking_key,
        effort_on=options.effort_on,
        effort_off=options.effort_off,
        send_seed=options.send_seed,
        token_limit_field=options.token_limit_field,
        extra_body=options.extra_body,
        active_parameters=options.active_parameters,
        price_in=options.price_in,
        price_out=options.price_out,
        chars_per_token=options.chars_per_token,
        deadline_seconds=options.deadline_seconds,
        attempts=options.attempts,
        backoff_seconds=options.backoff_seconds,
        longest_wait_seconds=options.longest_wait_seconds,
        patience=options.patience,
    )


def local_model(options: Options, name: str) -> LocalModel:
    """The local model that the flags name."""
    assert options.local is not None
    engine = _engine(options.engine, options.local)
    return LocalModel(
        name=name,
        model=options.local,
        cache_dir=Path(options.cache_dir) if options.cache_dir else user_cache(),
        sampling=_sampling(options),
        engine=engine,
        batch_rows=BATCH_ROWS[engine] if options.batch_rows is None else options.batch_rows,
        threads=options.threads,
    )


def _engine(asked: Literal["auto", "own", "vllm"], model: str) -> Engine:
    """Who writes: vLLM where it is installed, a GPU is there, and the model's weights lie in files."""
    if asked != "auto":
        return asked
    return "vllm" if model not in TINY_STUDENTS and vllm_fits() else "own"
