"""The shim as a gRPC client: a connection to a server on a unix socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import h2.exceptions

from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.stream import Headers, RawStream, StreamLost
from image_cri_shim.cri.transport import RawProtocol, make_stream

# Bytes that the answers of one channel's calls may take.
ANSWERS_LIMIT = 128 * 1024 * 1024


class _Handler:
    """Tells of the connection's end; grpclib's ``AbstractHandler``.

    :param gone: called when the connection takes no more calls, perhaps more than once.
    """

    # Read by grpclib's name.
    connection_lost = False

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone

    def cancel(self, stream: object) -> None:
        """Do nothing: who makes the call sees its end in the stream."""

    def close(self) -> None:
        """Tell that the connection takes no more calls."""
        self.connection_lost = True
        self._gone()


def _connected(path: str) -> socket.socket:
    """Connect to a unix socket; that is done at once or not at all (unix(7), EAGAIN).

    Not by the event loop: asyncio's takes a full queue for "soon", and uvloop's a path that is too
    long for one that does not exist.

    :raises OSError: nothing listens on it, or too many wait to be accepted.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except BaseException as error:
        sock.close()
        if isinstance(error, BlockingIOError):
            why = "too many connections wait to be accepted"
            raise BlockingIOError(error.errno, why, path) from error
        raise
    return sock


def _unwanted(making: asyncio.Task[tuple[asyncio.Transport, RawProtocol]]) -> None:
    """Close a connection that nobody waits for any more."""
    if not making.cancelled() and making.exception() is None:
        making.result()[1].drop("the attempt was given up")


class RawChannel:
    """One connection to a gRPC server on a unix socket.

    A server that goes away (RFC 9113, section 6.8) finishes the calls that it has begun; the next
    call needs another channel.

    :param gone: called once when it takes no more calls.
    :ivar answers: pays for answers that have arrived and were not read.
    """

    def __init__(self, path: str, gone: Callable[[], None]) -> None:
        self.answers = Budget(ANSWERS_LIMIT)
        self._path = path
        self._gone: Callable[[], None] | None = gone
        self._protocol: RawProtocol | None = None
        self._pong: asyncio.Future[bool] | None = None

    @property
    def usable(self) -> bool:
        """Whether it takes calls."""
        return self._protocol is not None and self._gone is not None

    @property
    def going_away(self) -> bool:
        """Whether the server, or the end of HTTP/2's numbers, asks for another connection."""
        return self._protocol is not None and self._protocol.connection.last_stream is not None

    async def connect(self) -> None:
        """Connect; once.

        :raises OSError: nothing listens on the socket, or too many wait to be accepted.
        :raises StreamLost: the connection was closed at once.
        """
        loop = asyncio.get_running_loop()
        protocol = RawProtocol(_Handler(self._end), client_side=True, arriving=self.answers)
        making = loop.create_task(
            loop.create_unix_connection(lambda: protocol, sock=_connected(self._path))
        )
        try:
            # This waits for nobody. If it is cancelled, uvloop closes the transport without a word.
            await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_unwanted)
            raise
        self._protocol = protocol
        # grpclib's connection is told when a PING is answered, and nobody else.
        protocol.connection.ping_ack_process = self._answered  # type: ignore[method-assign]
        if not self.usable:
            raise StreamLost("the connection was closed", unprocessed=True)

    async def open(self, headers: Headers) -> tuple[RawStream, Callable[[], None]]:
        """Start a call: send the request's headers on a new stream.

        :returns: the stream, and what must be called when the call is over.
        :raises StreamLost: the connection takes no more calls, or went while this one was starting.
        """
        protocol = self._open_protocol()
        stream = make_stream(protocol.connection)
        try:
            return stream, await stream.start(headers, protocol.processor)
        except h2.exceptions.ProtocolError as error:
            # After 2**30 calls it has no numbers left.
            protocol.processor.retire()
            raise StreamLost("the connection takes no more calls", unprocessed=True) from error

    async def ping(self) -> None:
        """Wait for the answer to a PING (RFC 9113, section 6.7).

        :raises StreamLost: the connection went.
        """
        protocol = self._open_protocol()
        pong = self._pong = asyncio.get_running_loop().create_future()
        protocol.http2.ping(bytes(8))
        protocol.connection.flush()
        if not await pong:
            raise StreamLost("the connection was closed", unprocessed=True)

    def close(self) -> None:
        """Close the connection; calls that still run end with StreamLost."""
        if self._protocol is not None:
            self._protocol.drop("the channel is closed")

    def _open_protocol(self) -> RawProtocol:
        protocol = self._protocol
        if protocol is None or protocol.connection.is_closing():
            raise StreamLost("the connection is closed", unprocessed=True)
        return protocol

    def _end(self) -> None:
        self._answered(alive=False)
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()

    def _answered(self, *, alive: bool = True) -> None:
        if self._pong is not None and not self._pong.done():
            self._pong.set_result(alive)
