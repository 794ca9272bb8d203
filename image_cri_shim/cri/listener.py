"""The shim as a gRPC server: clients' connections, and a task for each of their calls."""

from __future__ import annotations

import asyncio
import itertools
import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from image_cri_shim.cri.acceptor import AT_ONCE, Acceptor
from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.greeting import Greeting
from image_cri_shim.cri.stream import Headers, RawStream, StreamLost
from image_cri_shim.cri.transport import RawProtocol
from image_cri_shim.cri.watch import Clock, Stalling, Watch

_log = logging.getLogger(__name__)

_BACKLOG = 1024
# Descriptors for the runtime, the registries and files, and for connections that are being closed
# in favour of others, which takes some turns of the loop.
_RESERVED = 64 + 5 * AT_ONCE
# Clients at most, whatever the number of descriptors: a node has a handful.
_CLIENTS = 2048
# Calls at a time of all clients, and how many each may have all the same.
_CALLS = 4096
_CALLS_EACH = 4
# Bytes that messages may take: requests that were not read, answers that are not taken.
REQUESTS_LIMIT = 128 * 1024 * 1024
ANSWERS_LIMIT = 128 * 1024 * 1024
# Seconds until a client must have greeted, and until what it has begun must have gone on.
GREETING_PATIENCE = 10.0
PATIENCE = 30.0
# Seconds that a client gets to go when it has been told to: what it sent before it heard of that is
# read and refused, so that it knows that it may send it elsewhere.
LEAVING_PATIENCE = 1.0
# HTTP/2's highest number of a stream that a client begins.
_HIGHEST = 2**31 - 1
# Bytes that are looked at in one turn of the loop; fewer of a client that begins more calls with
# them than this.
_TURN = 16 * 1024
_TURN_OF_MANY = 1024
_MANY = 16

# What ends one after the other, numbered, because an event loop's clock may tick in milliseconds.
_turns = itertools.count()

Serve = Callable[[RawStream, Headers], Awaitable[None]]


def connection_limit() -> int:
    """Return how many clients may be connected so that descriptors are left for everything else."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(max(descriptors - _RESERVED, 1), _CLIENTS)


class _Handler:
    """Starts one task for each call on a connection, and cancels it with the call.

    grpclib's ``AbstractHandler``.

    :param tasks: has the tasks of all connections.
    """

    def __init__(self, serve: Serve, tasks: set[asyncio.Task[None]]) -> None:
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._all = tasks
        self._tasks: dict[RawStream, asyncio.Task[None]] = {}
        self.draining: Callable[[], None] | None = None
        self.last_ended = next(_turns)

    def accept(self, stream: RawStream, headers: Headers, release: Callable[[], None]) -> None:
        full = len(self._all) >= _CALLS and len(self._tasks) >= _CALLS_EACH
        if full or self.draining is not None:
            # RFC 9113, section 8.7: the client may try it elsewhere; nothing was done here.
            stream.abandon(ErrorCodes.REFUSED_STREAM)
            release()
            return
        task = self._loop.create_task(self._run(stream, headers))
        self._tasks[stream] = task
        self._all.add(task)
        # Not by the task itself: one that is cancelled before its first step never runs.
        task.add_done_callback(partial(self._over, stream, release))

    def cancel(self, stream: RawStream) -> None:
        """End a call that its client has reset."""
        task = self._tasks.get(stream)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """End all calls."""
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, stream: RawStream, headers: Headers) -> None:
        try:
            await self._serve(stream, headers)
        except StreamLost as lost:
            _log.debug("a client went away: %s", lost)

    def _over(
        self, stream: RawStream, release: Callable[[], None], task: asyncio.Task[None]
    ) -> None:
        del self._tasks[stream]
        self._all.discard(task)
        self.last_ended = next(_turns)
        release()
        if self.draining is not None:
            self.draining()


class _Client(RawProtocol):
    """A client's connection, which knows how to end.

    :param connections: has it in it as long as it lives.
    :param watch: ends it when what it has begun to send does not go on.
    :param gone: is told when it has ended.
    """

    def __init__(
        self,
        handler: _Handler,
        requests: Budget,
        answers: Budget,
        *,
        watch: Watch,
        connections: set[_Client],
        gone: Callable[[], None],
    ) -> None:
        super().__init__(
            handler, client_side=False, arriving=requests, leaving=answers, watch=watch
        )
        self._stalls = watch
        self._connections = connections
        self._gone = gone
        self._raw: asyncio.Transport
        self._departing: Watch | None = None
        self._rest = b""
        self._turn = _TURN

    @property
    def idle_since(self) -> int:
        """When its last call ended, or when it came: less than for what was idle later."""
        return cast("_Handler", self.handler).last_ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stalls.end(self)
        if self._departing is not None:
            self._departing.end(self)
        self._connections.discard(self)
        super().connection_lost(exc)
        self._gone()

    def data_received(self, data: bytes) -> None:
        """Take bytes, a limited number in one turn of the loop, so that others have theirs."""
        if len(data) <= self._turn and not self._rest:
            self._take(data)
            return
        self._rest += data
        self._raw.pause_reading()
        self._go_on()

    def _go_on(self) -> None:
        if self._raw.is_closing():
            self._rest = b""
            return
        data, self._rest = self._rest[: self._turn], self._rest[self._turn :]
        self._take(data)
        if self._rest:
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._raw.resume_reading()

    def _take(self, data: bytes) -> None:
        before = self.http2.highest_inbound_stream_id
        super().data_received(data)
        begun = (self.http2.highest_inbound_stream_id - before) // 2
        self._turn = _TURN_OF_MANY if begun > _MANY else _TURN
        if self.connection.is_closing():
            return
        if self.http2.unfinished:
            self._stalls.begin(self)
        else:
            self._stalls.end(self)

    def drop(self, reason: str) -> None:
        super().drop(reason)
        if self._raw.get_write_buffer_size():
            # It is closed when the rest is sent, which a client that does not read can prevent.
            self._stalls.begin(self)

    def stalled(self) -> None:
        """Disconnect a client that stopped within a frame or is idle, or takes nothing more."""
        self._stalls.end(self)
        if self._departing is not None and not self.processor.streams:
            self.drop("the server is stopping")
            return
        _log.debug("disconnected a client that did not go on, or made room for another")
        self._connections.discard(self)
        if self.http2.unfinished or self.connection.is_closing():
            self._raw.abort()
        else:
            # What it may be sending just now it can send again elsewhere.
            self.drain()

    def warn(self) -> None:
        """Tell the client to begin nothing more here; what it begins all the same is still taken.

        RFC 9113, section 6.8, recommends this before ``drain``: what is on its way is not refused.
        """
        if not self.connection.is_closing():
            self._send_away(_HIGHEST)

    def drain(self, leaving: Watch | None = None) -> None:
        """Let the calls that run finish, take no more, then close (RFC 9113, section 6.8).

        :param leaving: closes the connection if the client has not done so some time after its last
            call; without it, it is closed after that at once.
        """
        if self.connection.is_closing():
            return
        handler = cast("_Handler", self.handler)
        if handler.draining is None:
            self._send_away(self.http2.highest_inbound_stream_id)
        handler.draining = self._go_if_idle
        self._departing = leaving
        self._go_if_idle()

    def _send_away(self, last: int) -> None:
        # Made by hand, because h2 sends nothing any more after a GOAWAY of its own.
        self.connection._transport.write(GoAwayFrame(0, last_stream_id=last).serialize())  # noqa: SLF001

    def _go_if_idle(self) -> None:
        if self.processor.streams:
            return
        if self._departing is not None:
            self._departing.begin(self)
        else:
            self.drop("the server is stopping")


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
        self._protocols: set[_Client] = set()
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
        clients = (one for one in self._stalls if isinstance(one, _Client))
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
        handler = _Handler(self._serve, self._tasks)
        client = _Client(
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
