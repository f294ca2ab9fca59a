"""A headless browser spoken to over pipes, in the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LIMIT_SECONDS = 30.0

Values = dict[str, object]

_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)


class Browser:
    """One tab of a headless browser, and all that it reported: errors, and requests."""

    def __init__(self, profile: Path) -> None:
        """Start it with a profile of its own."""
        assert BINARY is not None
        to_read, self._to_write = os.pipe()
        self._from_read, from_write = os.pipe()
        # Its ends have to be 3 and 4, which may be taken here: a shell puts them there.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, from_write)]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}', BINARY, *_FLAGS, f"--user-data-dir={profile}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_read, from_write, *ends):
            os.close(end)
        self._asked, self._rest = 0, b""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = str(self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to_write)
        os.close(self._from_read)

    def call(self, method: str, **parameters: object) -> Values:
        """Ask the tab for something, and return its answer."""
        return self._call(method, parameters, self._session)

    def open(self, path: Path) -> None:
        """Go to a file and wait until it is loaded."""
        self._events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._take(self._message())

    def show(self, *, width: int, height: int = 900, scheme: str = "light", phone: bool = False) -> None:
        """Set the window's size and the colours that the reader prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script: str) -> object:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result.get("value")

    def point_at(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def tap(self, x: float, y: float) -> None:
        """Touch a place and let go."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        """Press a key and let go."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def _call(self, method: str, parameters: Values, session: str | None = None) -> Values:
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": parameters}
        os.write(self._to_write, json.dumps(asked | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._asked:
                assert "error" not in message, message
                result = message["result"]
                assert isinstance(result, dict)
                return result
            self._take(message)

    def _message(self) -> Values:
        """The next message; they end in a zero byte."""
        ends = time.monotonic() + LIMIT_SECONDS
        while b"\0" not in self._rest:
            assert select.select([self._from_read], [], [], max(0.0, ends - time.monotonic()))[0], (
                "the browser is silent"
            )
            read = os.read(self._from_read, 1 << 16)
            assert read, "the browser has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _take(self, message: Values) -> None:
        """Note what the tab reports."""
        method, said = str(message.get("method")), message.get("params")
        assert isinstance(said, dict)
        self._events.append(method)
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(str(said["request"]["url"]))
            case "Runtime.exceptionThrown" | "Log.entryAdded":
                self.errors.append(json.dumps(said))
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(said))
