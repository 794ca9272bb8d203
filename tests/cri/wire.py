"""A client that says anything: HTTP/2 by h2 on a blocking socket, or plain bytes."""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events

from tests.cri.background import PATIENCE
from tests.cri.scripted import Headers

REQUEST: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]


@dataclass
class WireAnswer:
    """What came back on one stream."""

    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> tuple[int, str]:
        """The gRPC status and its message."""
        found = dict(self.trailers or self.headers)
        message = urllib.parse.unquote(found.get(b"grpc-message", b"").decode())
        return int(found[b"grpc-status"]), message


class Wire:
    """One connection."""

    def __init__(self, path: str, *, speak: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.closed = False
        self.going_away: h2.events.ConnectionTerminated | None = None
        self.pongs = 0
        self._answers: dict[int, WireAnswer] = {}
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        if speak:
            self.h2.initiate_connection()
            self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they mean."""
        self.socket.sendall(data)

    def start(
        self,
        path: bytes,
        more: Sequence[tuple[bytes, bytes]] = (),
        *,
        request: Sequence[tuple[bytes, bytes]] = tuple(REQUEST),
        end: bool = False,
    ) -> int:
        """Start a call; return its stream's number."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, [*request, (b":path", path), *more], end_stream=end)
        self._answers[number] = WireAnswer()
        self.flush()
        return number

    def body(self, number: int, data: bytes, *, end: bool = True) -> None:
        """Send a body, as the windows allow."""
        while data:
            size = min(
                self.h2.local_flow_control_window(number),
                self.h2.max_outbound_frame_size,
                len(data),
            )
            if size <= 0:
                if self._answers[number].ended or self._answers[number].reset is not None:
                    return
                self.read()
                continue
            self.h2.send_data(number, data[:size])
            data = data[size:]
            self.flush()
        if end:
            self.h2.end_stream(number)
            self.flush()

    def call(
        self, path: bytes, body: bytes = b"\0\0\0\0\0", more: Sequence[tuple[bytes, bytes]] = ()
    ) -> WireAnswer:
        """Make a unary call with a ready-made body."""
        number = self.start(path, more)
        self.body(number, body)
        return self.answer(number)

    def answer(self, number: int) -> WireAnswer:
        """Wait for the end of a stream."""
        answer = self._answers[number]
        while not answer.ended and answer.reset is None:
            assert not self.closed, "the connection was closed"
            self.read()
        return answer

    def read(self) -> None:
        """Read once, and take note."""
        data = self.socket.recv(65536)
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            answer = self._answers.get(getattr(event, "stream_id", 0) or 0)
            if isinstance(event, h2.events.ConnectionTerminated):
                self.going_away = event
            elif isinstance(event, h2.events.PingAckReceived):
                self.pongs += 1
            if answer is None:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                answer.headers = list(event.headers)
            elif isinstance(event, h2.events.TrailersReceived):
                answer.trailers = list(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                answer.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                answer.ended = True
            elif isinstance(event, h2.events.StreamReset):
                answer.reset = int(event.error_code)
        # The other side may have closed the connection behind what it sent.
        with contextlib.suppress(BrokenPipeError):
            self.flush()

    def ping(self) -> None:
        """Return when a PING is answered: what was sent before it has been seen."""
        before = self.pongs
        self.h2.ping(b"12345678")
        self.flush()
        while self.pongs == before:
            assert not self.closed, "the connection was closed"
            self.read()

    def wait_closed(self) -> None:
        """Read until the other side closes the connection."""
        while not self.closed:
            try:
                if not self.socket.recv(65536):
                    self.closed = True
            except ConnectionResetError:
                self.closed = True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
