"""A real browser without a window, driven over its pipe (Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

_SECONDS = 30.0
# Says in the log whatever it wants from the network by itself; none of it leaves this machine.
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """Return the program; None if there is none here."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """One browser with one page."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._buffer = b""
        self._session = ""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        program = find_chromium()
        assert program is not None
        to_child, self._to = os.pipe()
        self._from, from_child = os.pipe()

        def connect() -> None:
            # It reads from descriptor 3 and writes to 4; these may be any of the four here.
            copies = [fcntl.fcntl(one, fcntl.F_DUPFD, 64) for one in (to_child, from_child)]
            os.dup2(copies[0], 3)
            os.dup2(copies[1], 4)

        with (self._directory / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    *_OPTIONS,
                    f"--user-data-dir={self._directory / 'profile'}",
                    f"--log-net-log={self._directory / 'net.json'}",
                    "about:blank",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(3, 4),
                preexec_fn=connect,  # noqa: PLW1509 - the tests have no threads
                start_new_session=True,
                env={**os.environ, "HOME": str(self._directory)},
            )
        os.close(to_child)
        os.close(from_child)
        try:
            targets = self.call("Target.getTargets")["targetInfos"]
            page = next(one["targetId"] for one in targets if one["type"] == "page")
            attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)
        os.close(self._from)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            # The group is its own: see start_new_session.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def wait_for(self, method: str) -> dict[str, Any]:
        """Return the next event of a kind."""
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._next(deadline)
            if answer.get("method") == method:
                return dict(answer["params"])

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise AssertionError(f"the browser says nothing:\n{self.log()}")
            data = os.read(self._from, 65536)
            if not data:
                raise AssertionError(f"the browser has gone:\n{self.log()}")
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message

    def log(self) -> str:
        """Return what it has written."""
        return (self._directory / "chromium.log").read_text(errors="replace")

    def look_like(self, width: int, height: int, scheme: str = "light") -> None:
        """Be a screen of a size, with light or dark colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go to an address and wait until everything is loaded."""
        self.events.clear()
        said = self.call("Page.navigate", url=url)
        assert "errorText" not in said, said
        self.wait_for("Page.loadEventFired")
        # Whatever a script would do a moment later.
        self.evaluate("new Promise(done => setTimeout(done, 100))")

    def evaluate(self, expression: str) -> Any:
        """Return what a piece of JavaScript is; the page's policy does not hold for this."""
        said = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a picture."""
        said = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(said["data"]))

    @property
    def requests(self) -> list[str]:
        """The addresses that the page has asked for."""
        return [
            str(one["params"]["request"]["url"])
            for one in self.events
            if one["method"] == "Network.requestWillBeSent"
        ]

    @property
    def complaints(self) -> list[str]:
        """What is on the console: errors, warnings, and whatever scripts have written."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(one["params"]) for one in self.events if one["method"] in kinds]
