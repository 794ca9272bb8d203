"""Accepts the connections of a listening socket, in the same way on every event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from image_cri_shim.cri.watch import Clock, Timer

_log = logging.getLogger(__name__)

# Connections in one turn of the loop.
AT_ONCE = 16
# Seconds until the next try when the system has no descriptor or no memory for a connection.
_PAUSE = 1.0


class Acceptor:
    """Accepts connections until it is closed.

    In place of the event loop's own server: when there are no descriptors left, uvloop's asks the
    system again and again without a pause, and that of its older versions accepts nothing any more.

    :param listener: a listening socket; ``close`` closes it.
    :param make: returns the protocol of a new connection, or None to close it at once.
    :param clock: the time for the next try.
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol | None],
        clock: Clock,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._make = make
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._making: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._failing = False
        self._closed = False
        self._listen()

    def close(self) -> None:
        """Accept nothing any more and close the listening socket."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    async def made(self) -> None:
        """Wait until all that was accepted has its protocol: a few turns of the loop."""
        if self._making:
            await asyncio.wait(tuple(self._making))

    def _listen(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._failing = False
            # Here and not in the task, so that the next one is compared with what is there now.
            protocol = self._make()
            if protocol is None:
                connection.close()
                continue
            task = self._loop.create_task(self._connect(connection, protocol))
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    def _pause(self, error: OSError) -> None:
        """Try again later: connections wait in the system's queue."""
        if not self._failing:
            _log.error("no connection can be accepted, and it is tried again: %s", error.strerror)
        self._failing = True
        self._loop.remove_reader(self._listener.fileno())
        self._timer = self._clock.call_later(_PAUSE, self._listen)

    async def _connect(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        connection.setblocking(False)
        await self._loop.connect_accepted_socket(lambda: protocol, connection)
