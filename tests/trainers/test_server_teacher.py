"""A chat server that misbehaves: what is tried again, what is refused and why, what is charged, what is never shown."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import socket
import threading
from collections.abc import Generator, Iterator

import pytest

from curricula.types import Cost
from tests.trainers.servers import OUTPUT_TOKENS, PROMPT_TOKENS, Chat, chat_server
from trainers.teachers import attempts
from trainers.teachers.sampling import Sampling
from trainers.teachers.server_teacher import ServerTeacher
from trainers.teachers.teacher import Completion, Refusal, Request, TeacherError

KEY = "sk-Very-Secret-0123456789"
COUNTED = Cost(tokens=PROMPT_TOKENS + OUTPUT_TOKENS)


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with chat_server() as chat:
        yield chat


def _teacher(url: str, **changes: object) -> ServerTeacher:
    teacher = ServerTeacher(
        name="t",
        base_url=url,
        model="m",
        attempts=3,
        backoff_seconds=0.001,
        deadline_seconds=2.0,
        longest_wait_seconds=9,
    )
    return dataclasses.replace(teacher, **changes)


def _ask(teacher: ServerTeacher, *prompts: str) -> list[Completion | Refusal]:
    answers = dict(teacher.complete([Request(prompt=prompt, thinking=True) for prompt in prompts]))
    return [answers[index] for index in range(len(prompts))]


def _waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for between attempts, without waiting."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("trainers.teachers.inquiry.asyncio.sleep", note)
    return waits


@pytest.mark.parametrize("stream", [True, False])
def test_thinking_is_told_from_the_answer_however_it_is_marked(chat: Chat, stream: bool) -> None:
    words = ["ok", "thinking-tag", "magistral", "closing-only", "parsed", "parsed-newer", "bare", "blank-think"]
    outcomes = _ask(_teacher(chat.url, stream=stream), *words)
    for word, outcome in zip(words, outcomes, strict=True):
        assert isinstance(outcome, Completion), word
        thought = None if word in ("bare", "blank-think") else "3+4=7"
        assert (outcome.reasoning, outcome.text, outcome.finished) == (thought, "7", True), word
        assert (outcome.prompt_tokens, outcome.output_tokens, outcome.cost) == (PROMPT_TOKENS, OUTPUT_TOKENS, COUNTED)
        assert not outcome.estimated


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("unclosed", "unclosed think tag"),
        ("twice", "more than one think block"),
        ("empty", "empty completion"),
        ("nothing-said", "empty completion"),
        ("refused", "refused by the model"),
        ("filtered", "withheld by a content filter"),
        ("length", "cut at the limit of tokens"),
        ("nul", "characters that cannot be stored"),
    ],
)
def test_what_cannot_be_used_is_refused_once_and_charged(chat: Chat, word: str, reason: str, stream: bool) -> None:
    (outcome,) = _ask(_teacher(chat.url, stream=stream), word)
    assert outcome == Refusal(reason=reason, cost=COUNTED)
    assert chat.asked == {word: 1}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("word", ["500", "503", "429", "cut", "half", "garbage", "no-choice"])
def test_what_fails_for_a_while_is_tried_again(chat: Chat, word: str, stream: bool) -> None:
    (outcome,) = _ask(_teacher(chat.url, stream=stream), f"{word} {word} ok")
    assert isinstance(outcome, Completion) and outcome.text == "7"
    assert list(chat.asked.values()) == [3]
    charged = word in ("cut", "half", "garbage", "no-choice") and (stream or word not in ("half", "cut"))
    assert (outcome.cost.tokens > COUNTED.tokens) == charged == outcome.estimated


@pytest.mark.parametrize(
    ("word", "reasons"),
    [
        ("500", {"status 500"}),
        ("429", {"rate limited (429)"}),
        ("cut", {"cut stream"}),
        ("half", {"cut stream"}),
        ("garbage", {"garbage instead of JSON"}),
        ("no-choice", {"JSON without a completion", "error in the stream"}),
    ],
)
def test_what_fails_too_often_is_refused_among_others_that_do_not(chat: Chat, word: str, reasons: set[str]) -> None:
    failed, fine = _ask(_teacher(chat.url), word, "ok")
    assert isinstance(failed, Refusal) and failed.reason in reasons
    assert isinstance(fine, Completion)
    assert chat.asked == {word: 3, "ok": 1}


def test_a_request_refused_for_good_is_not_tried_again(chat: Chat) -> None:
    outcomes = _ask(_teacher(chat.url), "400", "422", "400-long", "ok")
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, Refusal)] == [
        "status 400",
        "status 422",
        "prompt too long for the model",
    ]
    assert set(chat.asked.values()) == {1}


def test_prompts_that_are_too_long_never_end_a_run(chat: Chat) -> None:
    outcomes = _ask(_teacher(chat.url, patience=2, concurrency=1), *[f"400-long:{place}" for place in range(5)])
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Refusal)} == {"prompt too long for the model"}


def test_a_slow_server_meets_the_deadline_and_the_prompt_is_charged(chat: Chat) -> None:
    teacher = _teacher(chat.url, deadline_seconds=0.5, attempts=2)
    (outcome,) = _ask(teacher, "slow")
    assert isinstance(outcome, Refusal) and outcome.estimated and outcome.reason == "past the deadline"
    assert outcome.cost.tokens == 2 * teacher.estimated_tokens(len("slow"))
    assert chat.asked == {"slow": 2}


def test_waits_double_and_heed_what_the_server_asks_for(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = _waits(monkeypatch)
    (outcome,) = _ask(_teacher(chat.url, attempts=6, backoff_seconds=1.0), "500 500 429-7 429-3600 500 ok")
    assert isinstance(outcome, Completion)
    assert 0.5 <= waits[0] <= 1.5 and 1 <= waits[1] <= 3
    assert waits[2] == 7 and waits[3] == 9  # longest_wait_seconds
    assert waits[4] == 9


def test_a_date_is_a_retry_after_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.teachers.attempts.time.time", lambda: 1_700_000_000.0)
    assert attempts._retry_after_seconds({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}) == 30.0
    assert attempts._retry_after_seconds({"retry-after": "soon"}) == 0.0
    assert attempts._retry_after_seconds({"retry-after": "nan"}) == attempts._retry_after_seconds({}) == 0.0


def test_a_server_that_is_down_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        TeacherError, match=r"^http://127.0.0.1:\d+/v1 cannot be reached \(.*\), 3 tries; start"
    ) as told:
        _ask(_teacher(f"http://127.0.0.1:{port}/v1"), "ok", "bare")
    assert "\n" not in str(told.value)


def test_a_server_that_answers_nothing_is_given_up_and_what_it_had_answered_stands(chat: Chat) -> None:
    teacher = _teacher(chat.url, patience=3, concurrency=1)
    prompts = ["ok", "500:a", "bare", "500:b", "503:c", "400:d", "ok:e"]
    got: dict[int, Completion | Refusal] = {}
    with pytest.raises(TeacherError, match=r"answered none of the last 3 requests; the last: status 400 \(.*no 400"):
        got.update(teacher.complete([Request(prompt=prompt, thinking=True) for prompt in prompts]))
    assert {index: type(outcome) for index, outcome in got.items()} == {0: Completion, 1: Refusal, 2: Completion}
    assert "ok:e" not in chat.asked


def test_an_unknown_model_or_address_ends_it_at_once(chat: Chat) -> None:
    with pytest.raises(TeacherError, match=r"knows no model 'm', or is no chat server \(status 404"):
        _ask(_teacher(chat.url), "404")
    assert chat.asked == {"404": 1}


def test_the_key_never_shows(chat: Chat, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = _teacher(chat.url)
    with caplog.at_level(logging.DEBUG):
        outcomes = _ask(teacher, "ok", "garbage ok", "400")
        with pytest.raises(TeacherError, match=r"refuses the key in OPENAI_API_KEY \(status 401: .*wrong key") as told:
            _ask(teacher, "401")
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in chat.headers)
    shown = [repr(teacher), repr(outcomes), str(told.value), caplog.text, repr(chat.seen), repr(pickle.dumps(teacher))]
    assert not [text for text in shown if KEY in text]
    assert told.value.__cause__ is None
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
    with pytest.raises(TeacherError, match="holds characters that no key has") as told:
        _ask(teacher, "ok")
    assert KEY not in str(told.value)


def test_a_missing_key_is_said_unless_the_server_is_here(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TeacherError, match="environment variable TEACHER_KEY is not set"):
        _ask(_teacher("https://api.example.org/v1", api_key_env="TEACHER_KEY"), "ok")
    monkeypatch.delenv("OPENAI_API_KEY")
    (outcome,) = _ask(_teacher(chat.url), "ok")
    assert isinstance(outcome, Completion)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "127.0.0.1:8000"}, "must be http://host"),
        ({"base_url": "ftp://user:pass@x/v1"}, "must be http://host"),
        ({"base_url": "http://user:pass@x/v1"}, "must hold no password"),
        ({"extra_body": "[1]"}, "must be a JSON object"),
        ({"price_in": -1.0}, "price_in must be at least 0"),
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"deadline_seconds": 0.0}, "must be positive"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        _teacher("http://127.0.0.1/v1", **changes)
    assert "pass@" not in str(told.value)


def test_what_is_asked_for(chat: Chat) -> None:
    teacher = _teacher(
        chat.url,
        sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=64, seed=3),
        effort_on="high",
        extra_body='{"top_k": 20}',
    )
    requests = [
        Request(prompt="ok", thinking=thinking, sample=sample) for thinking in (True, False) for sample in (0, 1)
    ]
    dict(teacher.complete(requests))
    seeds = {body.pop("seed") for body in chat.seen}
    assert len(seeds) == 4
    by_thinking = {repr(body["chat_template_kwargs"]): body for body in chat.seen}
    assert by_thinking["{'enable_thinking': True}"] == {
        "model": "m",
        "messages": [{"role": "user", "content": "ok"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 64,
        "stream": True,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": True},
        "reasoning_effort": "high",
        "top_k": 20,
    }
    assert "reasoning_effort" not in by_thinking["{'enable_thinking': False}"]
    chat.seen.clear()
    plain = dataclasses.replace(
        teacher, thinking_key=None, effort_on=None, extra_body="{}", stream=False, send_seed=False
    )
    dict(plain.complete(requests[:1]))
    assert sorted(chat.seen[0]) == ["max_tokens", "messages", "model", "temperature", "top_p"]


def test_costs_follow_declared_parameters_and_prices(chat: Chat) -> None:
    teacher = _teacher(chat.url, active_parameters=3e9, price_in=2.0, price_out=10.0)
    (outcome,) = _ask(teacher, "ok")
    assert outcome.cost.flops == 2 * 3 * 10**9 * (PROMPT_TOKENS + OUTPUT_TOKENS)
    assert outcome.cost.dollars == pytest.approx((PROMPT_TOKENS * 2 + OUTPUT_TOKENS * 10) / 1e6)


def test_tokens_that_the_server_does_not_count_are_estimated_and_marked(chat: Chat) -> None:
    (outcome,) = _ask(_teacher(chat.url, chars_per_token=2.0), "uncounted")
    assert isinstance(outcome, Completion) and outcome.estimated
    assert (outcome.prompt_tokens, outcome.output_tokens, outcome.cost.tokens) == (5, 1, 6)


def test_no_more_than_concurrency_at_a_time_and_as_many_as_that(chat: Chat) -> None:
    chat.meet = threading.Barrier(4)  # breaks, and fails the test, unless four come together
    outcomes = _ask(_teacher(chat.url, concurrency=4, attempts=1), *[f"ok:{place}" for place in range(12)])
    assert all(isinstance(outcome, Completion) for outcome in outcomes)
    assert chat.most_at_once == 4


def test_one_may_stop_listening(chat: Chat) -> None:
    answers = _teacher(chat.url, concurrency=1).complete(
        [Request(prompt=f"ok:{place}", thinking=True) for place in range(200)]
    )
    next(answers)
    assert isinstance(answers, Generator)
    answers.close()
    assert len(chat.asked) < 200


def test_nothing_asked_is_nothing_answered(chat: Chat) -> None:
    assert _ask(_teacher(chat.url)) == []
