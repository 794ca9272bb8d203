"""The admin interface's site in memory: a backend of the tests' own, and connections without sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, Logger, eventAsText

from image_cri_shim.admin.site import AdminSite, make_site
from image_cri_shim.call_identity import CallIdentity, Client
from image_cri_shim.pull_book import PullBook, WatchedPull
from tests.admin.documents import good_status

NOW = 1782907384.5


class FakeBackend:
    """Knows a real book of pulls; everything else is what a test says."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.book = PullBook(clock or Clock(), lambda: NOW)  # type: ignore[arg-type]
        self.document: Callable[[], dict[str, Any]] = good_status
        self.reasons: list[str] = []
        self.reloading: Deferred[dict[str, Any]] | dict[str, Any] = {"ok": True}
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def status(self) -> dict[str, Any]:
        self._raise()
        return self.document()

    def metrics(self, accept: str) -> tuple[bytes, bytes]:
        self._raise()
        self.asked.append(("metrics", accept))
        return b"text/plain; version=0.0.4", b"up 1\n"

    def ready(self) -> list[str]:
        return self.reasons

    def reload(self) -> Deferred[dict[str, Any]] | dict[str, Any]:
        self._raise()
        self.asked.append(("reload",))
        return self.reloading

    def flush(self, image: str | None = None, registry: str | None = None) -> dict[str, Any]:
        self._raise()
        self.asked.append(("flush", image, registry))
        return {"answers": 3, "breakers": 1}

    def set_level(self, component: str, level: str) -> dict[str, Any]:
        self._raise()
        self.asked.append(("level", component, level))
        return {"levels": {component: level}}

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def pull(self, image: str = "nginx:1.25") -> WatchedPull:
        """Let a pull begin."""
        return self.book.began(image, CallIdentity("4f1c-1", Client(812, 0, 0, "kubelet")))


class Transport(StringTransport):
    """Remembers whether it was aborted, as a real one tells the protocol only later."""

    aborted = False
    full = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.producer is not None:
            self.producer.pauseProducing()

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Answered:
    """An answer, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        self.code = int(first.split()[1])
        pairs = [line.split(": ", 1) for line in lines]
        self.headers = {name.lower(): value for name, value in pairs}
        self.body = rest
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = b""
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                self.body += rest[: int(size, 16)]
                rest = rest[int(size, 16) + 2 :]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        said = self.json
        assert list(said) == ["error"]
        return str(said["error"])


class Connection:
    """One client's connection to a site."""

    def __init__(self, site: AdminSite) -> None:
        self.protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
        self.transport = Transport(peerAddress=IPv4Address("TCP", "127.0.0.1", 50000))
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def ask(
        self,
        path: str = "/status",
        method: str = "GET",
        body: bytes = b"",
        headers: tuple[str, ...] = ("Host: localhost",),
    ) -> None:
        """Send a request."""
        lines = [f"{method} {path} HTTP/1.1", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def lose(self) -> None:
        """Let the connection be lost."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.protocol.connectionLost(Failure(ConnectionLost()))

    @property
    def received(self) -> bytes:
        return self.transport.value()

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting or self.transport.aborted

    def answered(self) -> Answered:
        return Answered(self.received)


class Stage:
    """A site with its backend, its clock and its log."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.backend = FakeBackend(self.clock)
        self.events: list[LogEvent] = []
        log = Logger(namespace="admin", observer=self.events.append)
        self.site = make_site(self.backend, self.clock, log, now=lambda: NOW, **options)  # type: ignore[arg-type]

    def connect(self) -> Connection:
        return Connection(self.site)

    def ask(self, path: str = "/status", method: str = "GET", **more: Any) -> Answered:
        """Send a request on a connection of its own and return the answer."""
        connection = self.connect()
        connection.ask(path, method, **more)
        # Pages are made in several turns.
        self.clock.pump([0] * 50)
        return connection.answered()

    @property
    def logged(self) -> list[str]:
        return [eventAsText(event, includeTimestamp=False) for event in self.events]
