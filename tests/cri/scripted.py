"""An upstream that plays any headers, frames and trailers: h2 and asyncio, no grpclib.

A script is a coroutine function that gets an `UpstreamCall`. `upstream.scripts` has one for each
path; what has none is answered UNIMPLEMENTED, as a runtime does. Every call is recorded.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import socket
from collections.abc import Awaitable, Callable, Sequence

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from tests.cri.background import PATIENCE, Background

Headers = list[tuple[bytes, bytes]]
FIRST: Headers = [(b":status", b"200"), (b"content-type", b"application/grpc")]
DONE: Headers = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
LARGE_WINDOW = 2**31 - 1


def frame(message: bytes, compressed: int = 0) -> bytes:
    """Return a message with gRPC's prefix."""
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


class UpstreamCall:
    """One call as the upstream sees it.

    `reset` is a future of the error code of the client's RST_STREAM; a lost connection is -1.
    """

    def __init__(self, connection: _Connection, stream_id: int, headers: Headers) -> None:
        self.connection = connection
        self.id = stream_id
        self.headers = [(bytes(name), bytes(value)) for name, value in headers]
        self.reset: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._body = bytearray()
        self.sent = 0
        self.ended = asyncio.Event()
        self.arrived = asyncio.Event()
        self.window = asyncio.Event()

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def path(self) -> bytes:
        return self.header(b":path") or b""

    @property
    def method(self) -> str:
        return self.path.rpartition(b"/")[2].decode()

    @property
    def body(self) -> bytes:
        """What has arrived and was not taken."""
        return bytes(self._body)

    @property
    def message(self) -> bytes:
        """The request's message without its prefix."""
        return self.body[5:]

    def add(self, data: bytes) -> None:
        """Take note of bytes of the request."""
        self._body += data
        self.arrived.set()

    async def request(self) -> bytes:
        """Return everything that the client sent, once it has ended its side."""
        await self.ended.wait()
        return self.body

    async def next_frame(self) -> bytes | None:
        """Take one frame off the request, or None at its end."""
        while True:
            if len(self._body) >= 5:
                size = 5 + int.from_bytes(self._body[1:5], "big")
                if len(self._body) >= size:
                    taken = bytes(self._body[:size])
                    del self._body[:size]
                    return taken
            if self.ended.is_set():
                return None
            self.arrived.clear()
            await self.arrived.wait()

    def headers_out(self, headers: Headers, *, end: bool = False) -> None:
        self.connection.h2.send_headers(self.id, headers, end_stream=end)
        self.connection.flush()

    async def data(self, data: bytes, *, end: bool = False) -> None:
        """Send bytes as the windows allow."""
        while True:
            if self.reset.done():
                raise ConnectionResetError
            window = self.connection.h2.local_flow_control_window(self.id)
            if data and window <= 0:
                self.window.clear()
                await self.window.wait()
                continue
            size = min(window, self.connection.h2.max_outbound_frame_size, len(data))
            self.connection.h2.send_data(self.id, data[:size], end_stream=end and size == len(data))
            self.connection.flush()
            self.sent += size
            data = data[size:]
            if not data:
                return

    def abort(self, code: int) -> None:
        """Reset the stream."""
        self.connection.h2.reset_stream(self.id, code)
        self.connection.flush()


Script = Callable[[UpstreamCall], Awaitable[None]]


def reply(
    *messages: bytes,
    first: Sequence[tuple[bytes, bytes]] = (),
    trailers: Sequence[tuple[bytes, bytes]] = tuple(DONE),
    compressed: int = 0,
) -> Script:
    """Answer with these messages, headers and trailers, once the request is here."""

    async def script(call: UpstreamCall) -> None:
        await call.request()
        call.headers_out([*FIRST, *first])
        for message in messages:
            await call.data(frame(message, compressed))
        call.headers_out(list(trailers), end=True)

    return script


def refuse(code: int, message: bytes = b"", *more: tuple[bytes, bytes]) -> Script:
    """Answer with trailers only."""

    async def script(call: UpstreamCall) -> None:
        await call.request()
        status = [(b"grpc-status", b"%d" % code), (b"grpc-message", message)]
        call.headers_out([*FIRST, *status, *more], end=True)

    return script


async def hang(call: UpstreamCall) -> None:
    """Never answer; end when the client has given up."""
    await asyncio.wrap_future(call.reset)


class ScriptedUpstream:
    """The upstream, on a unix socket, in the loop of `background`."""

    def __init__(self, background: Background, path: str) -> None:
        self.path = path
        self.scripts: dict[str, Script] = {}
        self.calls: list[UpstreamCall] = []
        self.connections: list[_Connection] = []
        # What the client may send before it is read; small makes flow control visible.
        self.window = LARGE_WINDOW
        self._background = background
        self._arrivals: queue.Queue[UpstreamCall] = queue.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.stopped = False

    def start(self) -> ScriptedUpstream:
        self.stopped = False

        async def begin() -> asyncio.Server:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(self.path)
            # Not create_unix_server: that removes the file at the end since Python 3.13.
            return await asyncio.get_running_loop().create_server(
                lambda: _Connection(self), sock=listener, backlog=1024
            )

        self._server = self._background.run(begin())
        return self

    def stop(self, *, keep_file: bool = False) -> None:
        """Drop every connection and stop listening; `keep_file` leaves a stale socket."""

        async def turns() -> None:
            for _ in range(5):
                await asyncio.sleep(0)

        async def end() -> None:
            self.stopped = True
            if self._server is not None:
                # What has been accepted already becomes a connection in the loop's next turns, and
                # asyncio cannot make one of it after the server's end.
                for listener in self._server.sockets:
                    asyncio.get_running_loop().remove_reader(listener.fileno())
                await turns()
                self._server.close()
            await turns()
            for task in self._tasks:
                task.cancel()
            self.drop()

        self._background.run(end())
        self._server = None
        if not keep_file and os.path.exists(self.path):
            os.unlink(self.path)
        elif keep_file and not os.path.exists(self.path):
            raise AssertionError("the socket's file went with its server")

    def drop(self) -> None:
        """Drop every connection; call it in the loop."""
        for connection in self.connections:
            connection.transport.abort()

    def next_call(self, method: str = "") -> UpstreamCall:
        """Wait for the next call that nobody has taken yet, of `method` if it is given."""
        while True:
            call = self._arrivals.get(timeout=PATIENCE)
            if method in ("", call.method):
                return call

    def of(self, method: str) -> list[UpstreamCall]:
        """Return the calls of a method so far."""
        return [call for call in self.calls if call.method == method]

    def take(self, call: UpstreamCall) -> None:
        """Play the script for a new call."""
        self.calls.append(call)
        self._arrivals.put(call)
        path = call.path.decode("ascii", "replace")
        script = self.scripts.get(path) or self.scripts.get(call.method)
        if script is None:
            script = refuse(12, b"unknown service or method " + call.path)
        task = asyncio.get_running_loop().create_task(self._play(script, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, script: Script, call: UpstreamCall) -> None:
        with contextlib.suppress(ConnectionResetError, h2.exceptions.ProtocolError):
            await script(call)


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._calls: dict[int, UpstreamCall] = {}
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._upstream.connections.append(self)
        if self._upstream.stopped:
            # It had been accepted just before.
            self.transport.abort()
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self._upstream.window})
        self.h2.increment_flow_control_window(LARGE_WINDOW - 65535)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            call = self._calls.get(getattr(event, "stream_id", 0))
            if isinstance(event, h2.events.RequestReceived):
                call = UpstreamCall(self, event.stream_id, event.headers)
                self._calls[event.stream_id] = call
                self._upstream.take(call)
            elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
                for other in self._calls.values():
                    other.window.set()
            elif isinstance(event, h2.events.DataReceived) and call:
                call.add(event.data)
                if self._upstream.window == LARGE_WINDOW:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded) and call:
                call.ended.set()
                call.arrived.set()
            elif isinstance(event, h2.events.StreamReset) and call:
                self._over(call, int(event.error_code))
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        for call in self._calls.values():
            self._over(call, -1)

    @staticmethod
    def _over(call: UpstreamCall, code: int) -> None:
        if not call.reset.done():
            call.reset.set_result(code)
        call.window.set()
