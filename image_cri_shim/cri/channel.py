"""The shim as a gRPC client: a connection to a server on a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import h2.exceptions

from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.stream import Headers, RawStream, StreamLost
from image_cri_shim.cri.transport import RawProtocol, make_stream

# Bytes that the answers of one channel's calls may take.
ANSWERS_LIMIT = 128 * 1024 * 1024


class _Handler:
    """Takes note of the connection's end; grpclib's ``AbstractHandler``."""

    def __init__(self) -> None:
        self.connection_lost = False

    def cancel(self, stream: object) -> None:
        """Do nothing: who makes the call sees its end in the stream."""

    def close(self) -> None:
        """Take note that the connection takes no more calls."""
        self.connection_lost = True


class _Protocol(RawProtocol):
    """The client's side of a connection.

    :param connections: has it in it as long as it lives.
    """

    def __init__(self, answers: Budget, connections: set[_Protocol]) -> None:
        super().__init__(_Handler(), client_side=True, arriving=answers)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)


class RawChannel:
    """A connection to a gRPC server on a unix socket, made when it is needed.

    A server that goes away (RFC 9113, section 6.8) finishes the calls that it has begun; the next
    call makes another connection meanwhile.

    :ivar answers: pays for answers that have arrived and were not read.
    """

    def __init__(self, path: str) -> None:
        self.answers = Budget(ANSWERS_LIMIT)
        self._path = path
        self._connecting = asyncio.Lock()
        self._protocol: _Protocol | None = None
        self._protocols: set[_Protocol] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now that takes calls."""
        return (
            self._protocol is not None
            and not cast("_Handler", self._protocol.handler).connection_lost
        )

    async def connect(self) -> RawProtocol:
        """Connect if need be; return what stays the same object while the connection lives.

        :raises OSError: nothing listens on the socket.
        """
        if self._protocol is not None and self.connected:
            return self._protocol
        async with self._connecting:
            if self._protocol is None or not self.connected:
                loop = asyncio.get_running_loop()
                _, self._protocol = await loop.create_unix_connection(
                    lambda: _Protocol(self.answers, self._protocols), self._path
                )
            return self._protocol

    async def open(self, headers: Headers) -> tuple[RawStream, Callable[[], None]]:
        """Start a call: send the request's headers on a new stream.

        :returns: the stream, and what must be called when the call is over.
        :raises OSError: nothing listens on the socket.
        :raises StreamLost: the connection went while the call was starting.
        """
        protocol = await self.connect()
        connection = protocol.connection
        if connection.is_closing():
            raise StreamLost("the connection is closed", unprocessed=True)
        stream = make_stream(connection)
        try:
            return stream, await stream.start(headers, protocol.processor)
        except h2.exceptions.ProtocolError as error:
            # It takes no more calls (after 2**30 of them it has no numbers left); the next one
            # needs another connection.
            protocol.processor.retire()
            raise StreamLost("the connection takes no more calls", unprocessed=True) from error

    def close(self) -> None:
        """Close all connections; calls that still run end with StreamLost."""
        for protocol in tuple(self._protocols):
            protocol.drop("the channel is closed")
        self._protocol = None
