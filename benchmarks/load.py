"""Calls as a node's clients make them, by a client that costs next to nothing.

A connection carries calls of one method and starts the next when one is answered. There is no event
loop: it waits in ``recv``, and what it does between two calls is a few slices of bytes.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import attrs

from benchmarks import frames

_GRANTED = 2**30
_FIRST_IN_TABLE = 62
# Milliseconds that each call gives the server, as the kubelet does; the value is never the same.
_MOST_TIME, _LEAST_TIME = 120_000, 20_000


class CallFailed(Exception):
    """A call was answered with anything but one message at least and a good end."""


@attrs.frozen
class Method:
    """What is called.

    :ivar path: ``/service/method``.
    :ivar request: the message, without a prefix.
    """

    path: str
    request: bytes


@attrs.frozen
class Run:
    """What a run of calls took.

    :ivar took: seconds of each call, from its request to its end.
    :ivar seconds: from the first request to the last end.
    :ivar messages: bytes that were answered, prefixes included.
    """

    took: list[float]
    seconds: float
    messages: int

    @property
    def rate(self) -> float:
        """Calls in a second."""
        return len(self.took) / self.seconds


class Connection:
    """One client's connection to a CRI socket.

    :param path: the socket's.
    :param method: what is called on this connection.
    """

    def __init__(self, path: str, method: Method) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._socket.sendall(
            frames.PREFACE
            + frames.settings((frames.INITIAL_WINDOW_SIZE, frames.LARGEST_WINDOW))
            + frames.window_update(0, frames.LARGEST_WINDOW - 65535)
        )
        self._path = method.path
        self._splitter = frames.Splitter()
        self._received = 0
        self._next = 1
        self._sizes: dict[int, int] = {}
        self._began: dict[int, float] = {}
        self._message = frames.message(method.request)
        # 4 is ":path", 1 ":authority", 31 "content-type", 58 "user-agent" (RFC 7541, appendix A).
        varying = [
            frames.literal(4, method.path.encode(), indexed=True),
            frames.literal(1, b"localhost", indexed=True),
            frames.literal(31, b"application/grpc", indexed=True),
            frames.literal(58, b"grpc-go/1.72.2", indexed=True),
            frames.literal(b"te", b"trailers", indexed=True),
        ]
        # 0x83 is ":method: POST", 0x86 ":scheme: http".
        self._block = b"\x83\x86" + b"".join(varying)
        self._next_block = b"\x83\x86" + bytes(
            0x80 | (_FIRST_IN_TABLE + place) for place in reversed(range(len(varying)))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls that run are lost."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, count: int) -> None:
        """Start so many calls in one write."""
        out = []
        for _ in range(count):
            stream, self._next = self._next, self._next + 2
            left = b"%dm" % (_MOST_TIME - stream % _LEAST_TIME)
            timeout = frames.literal(b"grpc-timeout", left, indexed=False)
            block, self._block = self._block + timeout, self._next_block
            out += (
                frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block),
                frames.frame(frames.DATA, frames.END_STREAM, stream, self._message),
            )
            self._sizes[stream] = 0
        now = time.perf_counter()
        for stream in range(self._next - 2 * count, self._next, 2):
            self._began[stream] = now
        self._socket.sendall(b"".join(out))

    def receive(self) -> Iterator[tuple[float, int]]:
        """Wait for bytes; yield the seconds and the answered bytes of each call that ended.

        :raises CallFailed: a call ended without a message.
        """
        data = self._socket.recv(1 << 18)
        if not data:
            raise CallFailed(f"{self._path}: the server closed the connection")
        now = time.perf_counter()
        for kind, flags, stream, payload in self._splitter.split(data):
            if kind == frames.DATA:
                self._sizes[stream] += len(payload)
                self._received += len(payload)
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                self._socket.sendall(frames.frame(frames.SETTINGS, frames.ACK, 0))
                continue
            elif kind == frames.PING and not flags & frames.ACK:
                self._socket.sendall(frames.frame(frames.PING, frames.ACK, 0, payload))
                continue
            elif kind == frames.GOAWAY or (kind == frames.RST_STREAM and stream in self._sizes):
                # Go's gRPC resets calls also after their answer, not having seen the request's end.
                raise CallFailed(f"{self._path}: the server gave up: {kind} {payload!r}")
            if flags & frames.END_STREAM and kind in (frames.DATA, frames.HEADERS):
                size = self._sizes.pop(stream)
                if not size:
                    raise CallFailed(f"{self._path}: the answer has no message: {payload!r}")
                yield now - self._began.pop(stream), size
        if self._received > _GRANTED:
            self._socket.sendall(frames.window_update(0, self._received))
            self._received = 0


def drive(
    connection: Connection,
    *,
    width: int = 1,
    count: int | None = None,
    seconds: float | None = None,
) -> Run:
    """Make calls, so many at the same time, until enough are made or the time is up.

    :param width: calls at the same time.
    :param count: how many, or None.
    :param seconds: how long, or None; one of the two says when it ends.
    :raises CallFailed: one failed.
    """
    took: list[float] = []
    size = 0
    left = (count if count is not None else sys.maxsize) - width
    begin = time.perf_counter()
    end = begin + (seconds if seconds is not None else 3600)
    connection.send(width)
    running = width
    while running:
        ended = 0
        for each, answered in connection.receive():
            took.append(each)
            size += answered
            ended += 1
        running -= ended
        more = min(ended, left) if time.perf_counter() < end else 0
        if more:
            left -= more
            running += more
            connection.send(more)
    return Run(took, time.perf_counter() - begin, size)


def fan_out(connections: list[Connection]) -> Run:
    """Make one call on each connection at the same time and read all answers to their ends.

    :raises CallFailed: one failed.
    """
    took: list[float] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        for each in connections:
            selector.register(each, selectors.EVENT_READ)
        begin = time.perf_counter()
        for each in connections:
            each.send(1)
        while len(took) < len(connections):
            for key, _ in selector.select(60):
                one = key.fileobj
                if not isinstance(one, Connection):
                    raise TypeError(one)
                for seconds, answered in one.receive():
                    took.append(seconds)
                    size += answered
        return Run(took, time.perf_counter() - begin, size)
