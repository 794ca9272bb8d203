"""Call the shim from many connections at once, again and again, and count what came back.

It is HTTP/2 by the letter: what a server said that it has not begun (a stream behind GOAWAY's last
one, REFUSED_STREAM: RFC 9113, 6.8 and 8.7) is asked again on a new connection, as every gRPC client
does by itself. Anything else that is no answer is a call lost.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from tests.support.processes import wait_until

# The runtime takes a moment for this one, so that many calls run when something happens.
IMAGE = b"fault.test/slow-300:1"
REQUEST = bytes([10, len(IMAGE) + 2, 10, len(IMAGE)]) + IMAGE
MESSAGE = b"\0" + len(REQUEST).to_bytes(4, "big") + REQUEST
HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/runtime.v1.ImageService/PullImage"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
GOAWAY = 7
SECONDS = 60.0


class NotBegunError(Exception):
    """Say that the server has not begun with a call, by its own word."""


class Connection:
    """One connection; raises OSError when nobody accepts it."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(path)
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._buffer = b""
        self.last: int | None = None  # the last stream that the server takes, once it said so

    def call(self) -> str:
        """Make a call; return gRPC's status, or what happened in its place.

        Raises NotBegunError if it may be made again.
        """
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, HEADERS)
        self._h2.send_data(stream, MESSAGE, end_stream=True)
        status = "no status"
        while True:
            try:
                self._socket.sendall(self._h2.data_to_send())
                received = self._socket.recv(65536)
            except OSError as error:
                received, status = b"", f"lost: {error}"
            for event in self._events(received):
                if isinstance(event, events.ResponseReceived | events.TrailersReceived):
                    status = dict(event.headers).get("grpc-status", status)
                elif isinstance(event, events.StreamReset):
                    if event.error_code == ErrorCodes.REFUSED_STREAM:
                        raise NotBegunError
                    return f"reset: {event.error_code}"
                elif isinstance(event, events.StreamEnded):
                    return status
            if self.last is not None and stream > self.last:
                raise NotBegunError
            if not received:
                return f"closed: {status}"

    def close(self) -> None:
        self._socket.close()

    def _events(self, received: bytes) -> list[events.Event]:
        """Take what came; h2 would refuse to go on after GOAWAY, so that is not for it."""
        self._buffer += received
        found: list[events.Event] = []
        while len(self._buffer) >= 9:
            size = 9 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < size:
                break
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if frame[3] == GOAWAY:
                self.last = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
            else:
                found += self._h2.receive_data(frame)
        return found


class Callers:
    """Make calls until the end of the block, each caller one after the other.

    Every second caller makes a new connection for each call, as a program does that is run anew;
    the others keep theirs while they may. `outcomes` counts gRPC's statuses (`0` is success) and
    calls that were lost, `repeated` those that were made again.
    """

    def __init__(self, path: str, number: int) -> None:
        self._path = path
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(index % 2 == 1,), daemon=True)
            for index in range(number)
        ]
        self.outcomes: Counter[str] = Counter()
        self.repeated = 0

    def wait_for(self, more: int) -> None:
        """Return when so many more calls have ended."""
        wanted = self._ended() + more
        assert wait_until(lambda: self._ended() >= wanted, SECONDS), self.outcomes

    def _ended(self) -> int:
        with self._lock:
            return sum(self.outcomes.values())

    def _run(self, is_new: bool) -> None:
        connection = None
        while not self._over.is_set():
            try:
                connection = connection or Connection(self._path)
                outcome = connection.call()
            except NotBegunError:
                outcome = None
            except OSError as error:
                outcome = f"not connected: {error}"
            with self._lock:
                if outcome is None:
                    self.repeated += 1
                else:
                    self.outcomes[outcome] += 1
            if connection and (is_new or outcome != "0" or connection.last is not None):
                connection.close()
                connection = None
        if connection:
            connection.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        # A call that is lost may last its time-out, and the next one has been begun meanwhile.
        end = time.monotonic() + 2 * SECONDS + 5
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        hanging = sum(thread.is_alive() for thread in self._threads)
        assert hanging == 0, f"{hanging} callers still wait; {self.outcomes}"
