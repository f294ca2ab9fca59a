"""A chat server for tests that behaves as each prompt tells it: `429 500 ok` fails twice, then answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROMPT_TOKENS, OUTPUT_TOKENS = 5, 7
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
SLOW_SECONDS = 5.0
LONG_SECONDS = 60.0

CONTENTS = {
    "ok": "<think>3+4=7</think>7",
    "bare": "7",
    "thinking-tag": "<THINKING>3+4=7</THINKING>\n\n7",
    "magistral": "[THINK]3+4=7[/THINK]7",
    "closing-only": "3+4=7\n</think>\n7",
    "blank-think": "<think>\n\n</think>\n\n7",
    "unclosed": "<think>3+4",
    "twice": "<think>3</think><think>4</think>7",
    "empty": "",
    "nothing-said": "<think>3+4=7</think>  ",
    "nul": "7\x00",
}
"""What is said under each word; every other word is a way to misbehave."""


@dataclass
class Chat:
    """A running server and what it was asked."""

    url: str = ""
    seen: list[dict[str, object]] = field(default_factory=list)  # bodies
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)  # prompt -> attempts
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    meet: threading.Barrier | None = None  # requests that wait for each other
    hold_after: int | None = None  # later requests wait ...
    released: threading.Event = field(default_factory=threading.Event)  # ... for this

    def begin(self, prompt: str) -> int:
        """Count an attempt."""
        with self.lock:
            self.asked[prompt] = self.asked.get(prompt, 0) + 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            return self.asked[prompt]

    def end(self) -> None:
        """The attempt was answered."""
        with self.lock:
            self.at_once -= 1


def completion(word: str, *, thinking: bool) -> dict[str, object]:
    """The JSON body for a word; `pair` is rightly answered both ways."""
    if word == "pair":
        word = "ok" if thinking else "bare"
    message: dict[str, object] = {"role": "assistant", "content": CONTENTS.get(word, "7")}
    finish, usage = "stop", USAGE
    if word == "parsed":
        message = {"role": "assistant", "content": "7", "reasoning_content": "3+4=7"}
    elif word == "parsed-newer":
        message = {"role": "assistant", "content": "7", "reasoning": "3+4=7"}
    elif word == "refused":
        message = {"role": "assistant", "content": None, "refusal": "I will not."}
    elif word == "length":
        message["content"], finish = "<think>3+4", "length"
    elif word == "filtered":
        finish = "content_filter"
    body: dict[str, object] = {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}
    if word == "uncounted":
        del body["usage"]
    return body


def events(body: Mapping[str, object], *, cut: bool) -> bytes:
    """The same as server-sent events, character by character; without its end where `cut`."""
    match body["choices"]:
        case [{"message": {**message}, "finish_reason": finish}]:
            pieces: list[dict[str, object]] = [
                {"choices": [{"delta": {name: letter}}]}
                for name in ("reasoning_content", "reasoning", "content", "refusal")
                for letter in str(message.get(name) or "")
            ]
            if cut:
                pieces = pieces[:3]
            else:
                pieces.append({"choices": [{"delta": {}, "finish_reason": finish}]})
                if "usage" in body:
                    pieces.append({"choices": [], "usage": body["usage"]})
            return b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces)
    raise AssertionError(body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    chat: Chat

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Do what the prompt says for this attempt."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        number = self.chat.begin(prompt)
        self.chat.seen.append(body)
        self.chat.headers.append({name.lower(): value for name, value in self.headers.items()})
        try:
            if self.chat.meet is not None:
                self.chat.meet.wait(SLOW_SECONDS)
            if self.chat.hold_after is not None and len(self.chat.seen) > self.chat.hold_after:
                self.chat.released.wait(LONG_SECONDS)
            words = prompt.split(":")[0].split()
            thinking = body.get("chat_template_kwargs", {}).get("enable_thinking", True)
            self._answer(words[min(number, len(words)) - 1], stream=bool(body.get("stream")), thinking=thinking)
        finally:
            self.chat.end()

    def _answer(self, word: str, *, stream: bool, thinking: bool) -> None:
        status = word.partition("-")[0]
        if status.isdigit():
            message = {
                "401": f"wrong key: {self.headers['Authorization']}",
                "400-long": "This model's maximum context length is 99 tokens",
            }.get(word, f"no {word} today")
            headers = {"Retry-After": word.partition("-")[2]} if status == "429" and "-" in word else {}
            self._send(json.dumps({"error": {"message": message}}).encode(), status=int(status), headers=headers)
        elif word == "garbage":
            self._send(b"<html>" if not stream else b"data: {\n\n")
        elif word == "no-choice":
            self._send(b'{"object": "list"}' if not stream else b'data: {"error": {"message": "broken"}}\n\n')
        elif word == "slow":
            time.sleep(SLOW_SECONDS)
        elif word == "cut":
            self._send(events(completion("ok", thinking=True), cut=True) if stream else b'{"choi', promised=1000)
        elif word == "half":
            self._send(events(completion("ok", thinking=True), cut=True) if stream else b"")
        else:
            body = completion(word, thinking=thinking)
            self._send(events(body, cut=False) if stream else json.dumps(body).encode())

    def _send(
        self, data: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None, promised: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if promised is None else promised))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = promised is not None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is none."""


@contextmanager
def chat_server() -> Iterator[Chat]:
    """A server on a free port of this machine, gone when the block ends."""
    chat = Chat()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"chat": chat}))
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
