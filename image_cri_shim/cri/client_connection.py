"""A client's connection as the server has it: a task for each call, and an end in good order."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.stream import Headers, RawStream, StreamLost
from image_cri_shim.cri.transport import RawProtocol
from image_cri_shim.cri.watch import Watch

_log = logging.getLogger(__name__)

# Calls at a time of all clients, and how many each may have all the same.
_CALLS = 4096
_CALLS_EACH = 4
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


class Handler:
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
        """Begin a call, or refuse it so that the client may try it elsewhere."""
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


class ClientConnection(RawProtocol):
    """A client's connection, which knows how to end.

    :param connections: has it in it as long as it lives.
    :param watch: ends it when what it has begun to send does not go on.
    :param gone: is told when it has ended.
    """

    def __init__(
        self,
        handler: Handler,
        requests: Budget,
        answers: Budget,
        *,
        watch: Watch,
        connections: set[ClientConnection],
        gone: Callable[[], None],
    ) -> None:
        super().__init__(
            handler, client_side=False, arriving=requests, leaving=answers, watch=watch
        )
        self._stalls = watch
        self._connections = connections
        self._gone = gone
        self._departing: Watch | None = None
        self._rest = b""
        self._turn = _TURN

    @property
    def _raw(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.connection.raw)

    @property
    def idle_since(self) -> int:
        """When its last call ended, or when it came: less than for what was idle later."""
        return cast("Handler", self.handler).last_ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note that the client is there."""
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that the client has gone."""
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
        """Close the connection; calls that run on it end."""
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
        handler = cast("Handler", self.handler)
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
