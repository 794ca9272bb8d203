"""The shim as a gRPC server: accepts clients, and makes room when there are too many."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket

from image_cri_shim.cri.acceptor import AT_ONCE, Acceptor
from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.client_connection import ClientConnection, Handler, Serve
from image_cri_shim.cri.greeting import Greeting
from image_cri_shim.cri.watch import Clock, Stalling, Watch

_log = logging.getLogger(__name__)

_BACKLOG = 1024
# Descriptors for the runtime, the registries and files, and for connections that are being closed
# in favour of others, which takes some turns of the loop.
_RESERVED = 64 + 5 * AT_ONCE
# Clients at most, whatever the number of descriptors: a node has a handful.
_CLIENTS = 2048
# Bytes that messages may take: requests that were not read, answers that are not taken.
REQUESTS_LIMIT = 128 * 1024 * 1024
ANSWERS_LIMIT = 128 * 1024 * 1024
# Seconds until a client must have greeted, and until what it has begun must have gone on.
GREETING_PATIENCE = 10.0
PATIENCE = 30.0
# Seconds that a client gets to go when it has been told to: what it sent before it heard of that is
# read and refused, so that it knows that it may send it elsewhere.
LEAVING_PATIENCE = 1.0


def connection_limit() -> int:
    """Return how many clients may be connected so that descriptors are left for everything else."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(max(descriptors - _RESERVED, 1), _CLIENTS)


class RawServer:
    """A gRPC server that gives every call, of any method, to one function.

    :param serve: called in a task of its own for each call with the stream and the request's
        headers; it is cancelled when the client resets the stream or goes away.
    :param clock: the time for what does not go on; the event loop if None.
    :ivar requests: pays for requests that have arrived and were not read.
    :ivar answers: pays for answers that their clients have no room for.
    """

    def __init__(self, serve: Serve, clock: Clock | None = None) -> None:
        clock = self._clock = clock or asyncio.get_running_loop()
        self.requests = Budget(REQUESTS_LIMIT)
        self.answers = Budget(ANSWERS_LIMIT)
        self._serve = serve
        self._most = connection_limit()
        self._refused = False
        self._acceptors: dict[socket.socket, Acceptor] = {}
        self._warning = self._draining = False
        self._silent = Watch(GREETING_PATIENCE, clock)
        self._stalls = Watch(PATIENCE, clock)
        self._leaving = Watch(LEAVING_PATIENCE, clock)
        self._left = asyncio.Event()
        self._protocols: set[ClientConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def _accept(self) -> asyncio.Protocol | None:
        while self._taken >= self._most:
            useless = self._useless()
            if useless is None:
                self._refuse()
                return None
            useless.stalled()
        self._refused = False
        return Greeting(self._welcome, self._silent)

    def _useless(self) -> Stalling | None:
        """Return the client that can make room for another.

        It has said nothing, or half of something, or it has had no call for longer than all others;
        it can come back when it needs to.
        """
        # Looked for only as far as need be: in a flood it is asked for each that comes.
        clients = (one for one in self._stalls if isinstance(one, ClientConnection))
        stuck = (one for one in clients if not one.processor.streams)
        idle = (one for one in self._protocols if not one.processor.streams)
        return (
            self._silent.oldest()
            or next(stuck, None)
            or min(idle, key=lambda one: one.idle_since, default=None)
        )

    def _refuse(self) -> None:
        if not self._refused:
            _log.warning(
                "%d clients are connected; further ones are refused until some leave", self._most
            )
        self._refused = True

    def _welcome(self, transport: asyncio.Transport, received: bytes) -> None:
        handler = Handler(self._serve, self._tasks)
        client = ClientConnection(
            handler,
            self.requests,
            self.answers,
            watch=self._stalls,
            connections=self._protocols,
            gone=self._left.set,
        )
        transport.set_protocol(client)
        client.connection_made(transport)
        if self._warning:
            client.warn()
        if self._draining:
            client.drain(self._leaving)
        client.data_received(received)
        self._left.set()

    @property
    def full(self) -> bool:
        """Whether a client that comes is refused."""
        return self._taken >= self._most and self._useless() is None

    @property
    def clients(self) -> int:
        """How many clients have greeted and are connected."""
        return len(self._protocols)

    @property
    def calls(self) -> int:
        """How many calls run."""
        return len(self._tasks)

    @property
    def _taken(self) -> int:
        return len(self._protocols) + len(self._silent)

    def serve_on(self, listener: socket.socket) -> None:
        """Serve on a socket too that listens already; needs a running loop."""
        self._acceptors[listener] = Acceptor(listener, self._accept, self._clock)
        listener.listen(_BACKLOG)

    def leave(self, listener: socket.socket) -> None:
        """Accept nothing any more on a socket, and close it; the clients that came by it stay."""
        acceptor = self._acceptors.pop(listener, None)
        if acceptor is not None:
            acceptor.close()

    def warn(self) -> bool:
        """Stop listening and tell every client to go; what they begin meanwhile is taken.

        :returns: whether there is any.
        """
        self._warning = True
        for acceptor in self._acceptors.values():
            acceptor.close()
        for protocol in tuple(self._protocols):
            protocol.warn()
        return bool(self._taken)

    def drain(self) -> None:
        """Stop listening and send every client away as soon as no call of its own runs.

        Those that are just coming are greeted first: they know then that they may go elsewhere.
        """
        self._draining = True
        for acceptor in self._acceptors.values():
            acceptor.close()
        for protocol in tuple(self._protocols):
            protocol.drain(self._leaving)

    async def left(self) -> None:
        """Wait until all clients have gone on which no call runs."""
        while self._silent or any(not one.processor.streams for one in self._protocols):
            self._left.clear()
            await self._left.wait()

    async def drop(self) -> None:
        """Close every connection, whatever runs on it, and wait until all calls are over."""
        for acceptor in self._acceptors.values():
            acceptor.close()
            await acceptor.made()
        for silent in tuple(self._silent):
            silent.stalled()
        for protocol in tuple(self._protocols):
            protocol.drop("the server is stopping")
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self._silent.stop()
        self._stalls.stop()
        self._leaving.stop()
