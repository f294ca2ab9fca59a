"""A teacher behind any server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp, `transformers serve`, ...

    requests --`concurrency` at a time--> attempt --again after a wait--> reply --take_apart--> Completion | Refusal

An attempt fails for a while (429, 5xx, past its deadline, a cut stream, garbage: tried again) or for good (other 4xx).
What fails for good, or too often, is refused and counted; several such in a row, or a server that cannot be reached,
end the whole with a TeacherError. The key is read from the environment when it is needed and stands nowhere else.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
import queue
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from curricula.types import Cost
from trainers.teachers.inquiry import Answered, Inquiry
from trainers.teachers.sampling import Sampling
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError

MILLION = 1e6
NO_KEY = "none"
"""Sent to a server on this machine where no key is set: the client insists on one."""


@dataclass(frozen=True, kw_only=True)
class ServerTeacher:
    """Asks a chat server, `concurrency` requests at a time; which are done first is not told in advance.

    A pair is toggled by the field `chat_template_kwargs: {thinking_key: true | false}` and, where set, by
    `reasoning_effort`. Costs: tokens as the server counts them, or estimated by `chars_per_token` where it does not,
    which `estimated` says; FLOPs as 2 * active_parameters * tokens, read and written, 0 where the
    parameters are not declared; dollars by the prices. What failed attempts are known to have read and written is
    charged to the outcome they led to.

    Example:
        ServerTeacher(name="qwen3", base_url="http://127.0.0.1:8000/v1", model="Qwen/Qwen3-8B", active_parameters=8.2e9)
    """

    name: str
    base_url: str
    model: str
    sampling: Sampling = field(default_factory=Sampling)
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key
    concurrency: int = 16
    stream: bool = True  # receive completions piece by piece, so that a cut one shows and no idle connection is closed
    thinking_key: str | None = "enable_thinking"  # of chat_template_kwargs; the field is not sent where None
    effort_on: str | None = None  # reasoning_effort where thinking is asked for; not sent where None
    effort_off: str | None = None  # and where it is not
    send_seed: bool = True
    token_limit_field: str = "max_tokens"  # some services want max_completion_tokens
    extra_body: str = "{}"  # more fields for every request, as a JSON object
    active_parameters: float | None = None  # parameters used per token; FLOPs are 0 where None
    price_in: float = 0.0  # dollars per million tokens read
    price_out: float = 0.0  # and written
    chars_per_token: float = 4.0  # to estimate tokens that the server does not count
    deadline_seconds: float = 600.0  # of one attempt
    attempts: int = 6  # of one request
    backoff_seconds: float = 1.0  # before the second attempt; doubled before each further one, give or take a half
    longest_wait_seconds: float = 120.0  # also where the server asks for more by Retry-After
    patience: int = 8  # requests that may fail in a row, none answered between them, before all is given up

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url must be http://host:port/v1 or https://..., got {_bare_url(self.base_url)!r}")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError(
                "base_url must hold no password, query or fragment; a key stands in api_key_env's variable"
            )
        least = {
            "concurrency": (self.concurrency, 1),
            "attempts": (self.attempts, 1),
            "patience": (self.patience, 1),
            "active_parameters": (self.active_parameters or 0, 0),
            "price_in": (self.price_in, 0),
            "price_out": (self.price_out, 0),
            "backoff_seconds": (self.backoff_seconds, 0),
            "longest_wait_seconds": (self.longest_wait_seconds, 0),
        }
        for name, (value, bound) in least.items():
            if not value >= bound or not math.isfinite(value):
                raise ValueError(f"{name} must be at least {bound}, got {value}")
        if not (self.deadline_seconds > 0 and self.chars_per_token > 0):
            raise ValueError("deadline_seconds and chars_per_token must be positive")
        self.more_fields()

    def more_fields(self) -> Mapping[str, object]:
        """`extra_body` as data.

        Raises:
            ValueError: it is no JSON object.
        """
        try:
            fields: object = json.loads(self.extra_body)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise ValueError(f'extra_body must be a JSON object such as {{"top_k": 20}}, got {self.extra_body!r}')
        return fields

    @property
    def on_this_machine(self) -> bool:
        """Whether the server's address is a loopback one."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def cost(self, *, prompt_tokens: int, output_tokens: int) -> Cost:
        """What so many tokens take."""
        tokens = prompt_tokens + output_tokens
        return Cost(
            flops=round(2 * (self.active_parameters or 0) * tokens),
            tokens=tokens,
            dollars=(prompt_tokens * self.price_in + output_tokens * self.price_out) / MILLION,
        )

    def estimated_tokens(self, chars: int) -> int:
        """Tokens of a text of so many characters, by `chars_per_token`."""
        return math.ceil(chars / self.chars_per_token)

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
        """Answer every request once, each with its index, as they are done.

        Raises:
            TeacherError: there is no key, the server cannot be reached, or it refuses everything.
        """
        key = self._key()
        answered: queue.SimpleQueue[Answered | None] = queue.SimpleQueue()
        inquiry = Inquiry(self, requests, key=key, answered=answered.put)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="teacher") as thread:
            # A thread of its own: the event loop goes on while a caller writes down what it has been given, and a
            # caller may have a loop that is running already.
            running = thread.submit(inquiry.run, at_end=lambda: answered.put(None))
            try:
                while (item := answered.get()) is not None:
                    yield item
                running.result()
            finally:
                inquiry.stop()
                wait([running])

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "")
        if not key and self.on_this_machine:
            return NO_KEY
        if not key:
            raise TeacherError(
                f"no API key: the environment variable {self.api_key_env} is not set, and {self.base_url} is not on "
                "this machine; set it, or name another by api_key_env"
            )
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise TeacherError(f"the API key in {self.api_key_env} holds characters that no key has; set it anew")
        return key


def _bare_url(url: str) -> str:
    """A URL for a message, without what may be a password."""
    return url.rpartition("@")[2]
