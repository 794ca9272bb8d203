"""Connections of raw streams: grpclib's server and channel, made to pass calls byte for byte.

grpclib's public API decodes metadata, knows only the methods it is told of and hands out parsed
messages. A proxy needs the opposite: the headers as they came, every method, whole frames. So the
classes here and in ``stream`` subclass grpclib's HTTP/2 layer (``grpclib.protocol``), its server
and its channel, and change just that. ``tests/cri/test_transport.py`` fails when a grpclib changes
what is relied on.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import grpclib.client
import grpclib.config
import grpclib.protocol
import grpclib.server
import h2.config
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.utilities import SizeLimitDict
from hyperframe.frame import GoAwayFrame

from image_cri_shim.cri.stream import Headers, RawStream, StreamLost

_log = logging.getLogger(__name__)

# Bytes that may be on their way to us and unread. Each stream has its own limit; the connection
# has none in effect, or a reader that stops would stop every other call of the connection.
_CONFIG = grpclib.config.Configuration(
    http2_connection_window_size=2**31 - 1, http2_stream_window_size=1024 * 1024
)
_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 16
# Descriptors for the runtime, the registries and files, and for connections that are being
# refused, which takes some turns of the loop.
_RESERVED = 64 + 5 * _ACCEPTED_AT_ONCE
# How many ended calls h2 remembers for each connection, to tell late frames from wrong ones. Its
# own limit of 65,536 would be megabytes.
_ENDED_CALLS = 4096


class _Gathering:
    """A transport that sends the writes of one turn of the loop in one system call.

    HTTP/2 frames are small and come in bursts; each would be a ``send`` of its own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._send)
        self._pending.append(data)

    def _send(self) -> None:
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._pending.clear()
            self._transport.write(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Processor(grpclib.protocol.EventsProcessor):
    """grpclib's event processor, making raw streams and ignoring what HTTP/2 says to ignore."""

    def process(self, event: h2.events.Event) -> None:
        # RFC 9113, section 4.1: frames of unknown types are ignored; grpclib would raise.
        processors = getattr(self, "processors", None)
        process = None if processors is None else processors.get(event.__class__)
        if process is not None:
            process(event)

    def process_request_received(self, event: h2.events.RequestReceived) -> None:
        stream = _make_stream(self.connection, event.stream_id)
        release = self.register(stream)
        self.handler.accept(stream, cast("Any", event.headers), release)

    def process_stream_reset(self, event: h2.events.StreamReset) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None and event.remote_reset:
            cast("RawStream", stream).reset_code = int(event.error_code or 0)
        super().process_stream_reset(event)

    def close(self, reason: str = "Connection closed") -> None:
        super().close(reason)
        # Nobody will say "resume writing" or end a stream any more; whoever waits must look again.
        self.connection.write_ready.set()
        self.connection.stream_close_waiter.set()


def _make_stream(
    connection: grpclib.protocol.Connection, stream_id: int | None = None
) -> RawStream:
    return RawStream(
        connection,
        connection._connection,  # noqa: SLF001
        connection._transport,  # noqa: SLF001
        stream_id=stream_id,
    )


class _Protocol(grpclib.protocol.H2Protocol):
    """grpclib's HTTP/2 protocol with raw streams, gathered writes and no unhandled errors."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        gathering = _Gathering(cast("asyncio.Transport", transport), loop)
        super().connection_made(cast("asyncio.Transport", gathering))
        self.processor = _Processor(self.handler, self.connection)
        self.connection._connection._closed_streams = SizeLimitDict(size_limit=_ENDED_CALLS)  # noqa: SLF001

    def drop(self, reason: str) -> None:
        """Close the connection; calls that run on it end."""
        self.processor.close(reason)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception:  # noqa: BLE001 - one peer's bytes must end no more than its connection
            _log.debug("closing a connection after an error in its bytes", exc_info=True)
            self.drop("Protocol error")


def _http2_config(*, client_side: bool) -> h2.config.H2Configuration:
    """Configure h2 to leave headers alone: bytes in, bytes out, validated by gRPC's own rules."""
    return h2.config.H2Configuration(
        client_side=client_side,
        header_encoding=None,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )


Serve = Callable[[RawStream, Headers], Awaitable[None]]


class _Handler(grpclib.server.Handler):
    """Starts one task for each call on a connection, and cancels it with the call."""

    def __init__(self, serve: Serve) -> None:
        super().__init__({}, cast("Any", None), None, cast("Any", None))
        self._serve = serve
        self.draining: Callable[[], None] | None = None

    def accept(self, stream: Any, headers: Any, release_stream: Callable[[], Any]) -> None:
        if self.draining is not None:
            # RFC 9113, section 8.7: the client may try it elsewhere; nothing was done here.
            stream.abandon(ErrorCodes.REFUSED_STREAM)
            release_stream()
            return
        self.__gc_step__()
        task = self.loop.create_task(self._run(stream, headers))
        self._tasks[stream] = task
        # Not by the task itself: one that is cancelled before its first step never runs.
        task.add_done_callback(partial(self._over, stream, release_stream))

    def cancel(self, stream: Any) -> None:
        if stream in self._tasks:
            super().cancel(stream)

    async def _run(self, stream: RawStream, headers: Headers) -> None:
        try:
            await self._serve(stream, headers)
        except StreamLost as lost:
            _log.debug("a client went away: %s", lost)

    def _over(
        self, stream: Any, release_stream: Callable[[], Any], task: asyncio.Task[None]
    ) -> None:
        self._tasks.pop(stream, None)
        self._cancelled.discard(task)
        release_stream()
        if self.draining is not None:
            self.draining()


class _ServerProtocol(_Protocol):
    """A client's connection, which knows how to end.

    :param connections: has it in it as long as it lives.
    """

    def __init__(
        self,
        handler: _Handler,
        config: grpclib.config.Configuration,
        h2_config: h2.config.H2Configuration,
        connections: set[_ServerProtocol],
    ) -> None:
        super().__init__(handler, config, h2_config)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)

    def drain(self) -> None:
        """Let the calls that run finish, take no more, then close (RFC 9113, section 6.8)."""
        if self.connection.is_closing():
            return
        cast("_Handler", self.handler).draining = self._drop_if_idle
        # Made by hand, because h2 sends nothing any more after a GOAWAY of its own.
        last = self.connection._connection.highest_inbound_stream_id  # noqa: SLF001
        goaway = GoAwayFrame(0, last_stream_id=last)
        self.connection._transport.write(goaway.serialize())  # noqa: SLF001
        self._drop_if_idle()

    def _drop_if_idle(self) -> None:
        if not self.processor.streams:
            self.drop("the server is stopping")


class _Refusal(asyncio.Protocol):
    """Closes a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


def connection_limit() -> int:
    """Return how many clients may be connected so that descriptors are left for everything else."""
    return max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVED, 1)


class RawServer(grpclib.server.Server):
    """A gRPC server that gives every call, of any method, to one function.

    :param serve: called in a task of its own for each call with the stream and the request's
        headers; it is cancelled when the client resets the stream or goes away.
    """

    def __init__(self, serve: Serve) -> None:
        super().__init__([], config=_CONFIG)
        self._serve = serve
        self._h2_config = _http2_config(client_side=False)
        self._protocols: set[_ServerProtocol] = set()
        self._most = connection_limit()
        self._refused = False

    def _protocol_factory(self) -> asyncio.Protocol:  # type: ignore[override] # or one that refuses
        self.__gc_step__()
        if len(self._protocols) >= self._most:
            if not self._refused:
                _log.warning(
                    "%d clients are connected; further ones are refused until some leave",
                    self._most,
                )
            self._refused = True
            return _Refusal()
        self._refused = False
        handler = _Handler(self._serve)
        self._handlers.add(handler)
        return _ServerProtocol(handler, self._config, self._h2_config, self._protocols)

    async def serve_on(self, listener: socket.socket) -> None:
        """Serve on a socket that listens already."""
        # asyncio takes the backlog for how many to accept in a turn, too, and tries as often when
        # there are no descriptors left.
        await self.start(sock=listener, backlog=_ACCEPTED_AT_ONCE)
        listener.listen(_BACKLOG)

    def drain(self) -> None:
        """Stop listening and close connections as soon as no call runs on them."""
        if self._server is not None:
            self._server.close()
        for protocol in tuple(self._protocols):
            protocol.drain()

    async def drop(self) -> None:
        """Close every connection, whatever runs on it, and wait until all calls are over."""
        if self._server is None:
            return
        self.close()
        # A connection that was accepted just now gets its protocol in the loop's next turn.
        await asyncio.sleep(0)
        for protocol in tuple(self._protocols):
            protocol.drop("the server is stopping")
        await self.wait_closed()


class RawChannel(grpclib.client.Channel):
    """A connection to a gRPC server on a unix socket, made when it is needed."""

    def __init__(self, path: str) -> None:
        super().__init__(path=path, config=_CONFIG)
        self._h2_config = _http2_config(client_side=True)

    def _protocol_factory(self) -> grpclib.protocol.H2Protocol:
        return _Protocol(grpclib.client.Handler(), self._config, self._h2_config)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return bool(self._connected)

    async def connect(self) -> object:
        """Connect if need be; return what stays the same object while the connection lives.

        :raises OSError: nothing listens on the socket.
        """
        return await self.__connect__()

    async def open(self, headers: Headers) -> tuple[RawStream, Callable[[], None]]:
        """Start a call: send the request's headers on a new stream.

        :returns: the stream, and what must be called when the call is over.
        :raises OSError: nothing listens on the socket.
        :raises StreamLost: the connection went while the call was starting.
        """
        protocol = await self.__connect__()
        connection = protocol.processor.connection
        if connection.is_closing():
            raise StreamLost("the connection is closed")
        stream = _make_stream(connection)
        try:
            return stream, await stream.start(headers, protocol.processor)
        except h2.exceptions.ProtocolError as error:
            # It takes no more calls (after 2**30 of them it has no numbers left); the next one
            # needs another connection.
            protocol.processor.close("the connection takes no more calls")
            raise StreamLost("the connection takes no more calls") from error
