"""Keeps one connection to the container runtime: made at once, made again whenever it is lost.

The runtime may be absent, restart or change its place. There is never more than one attempt to
connect at a time, shared by all calls that wait for it. After an attempt that failed there is a
pause, in which calls fail at once with the reason; it ends early when the socket looks different
from what was tried, as it does when a runtime has started.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path

import attrs

from image_cri_shim.back_off import doubled
from image_cri_shim.cri.connection import Connection, RuntimeSilent, RuntimeUnavailable, reach
from image_cri_shim.cri.watch import Clock

_log = logging.getLogger(__name__)

# Seconds between two looks at the socket while there is no connection; with one there are none.
_LOOK = 0.1
# Seconds that a runtime gets to accept a connection and to say what it speaks.
_PATIENCE = 5.0


@attrs.frozen
class BackOff:
    """How long to pause after attempts that failed, in seconds.

    :ivar first: after the first one; doubled after each further one.
    :ivar longest: never longer than this, but for the jitter.
    :ivar jitter: the share by which a pause is longer or shorter at most.
    """

    first: float = 0.05
    longest: float = 5.0
    jitter: float = 0.2

    def delay(self, failures: int, chance: float) -> float:
        """Return the time to wait.

        :param failures: attempts that failed one after the other, from 1.
        :param chance: from 0 to 1, drawn anew each time.
        """
        delay = doubled(self.first, self.longest, failures)
        return delay * (1.0 + self.jitter * (2.0 * chance - 1.0))


# What a socket looks like: its path, and what tells one file there from the next.
Look = tuple[object, ...]


class Connector:
    """Keeps a connection to the runtime.

    :param locate: returns the path of the runtime's socket, or an empty one if there is none; asked
        before each attempt and for each look.
    :param version: ``v1``, ``v1alpha2``, or ``auto``: ask the runtime on each connection.
    :param changed: is told when a connection is there, when it is gone, and of failed attempts.
    :param draw: returns chances for the back-off, from 0 to 1.
    :param clock: by default the event loop's.
    :param patience: seconds for one attempt.
    :ivar current: the connection, if there is one; it may have gone just now.
    :ivar closings: how often ``close`` was called.
    """

    def __init__(
        self,
        locate: Callable[[], str],
        version: str,
        changed: Callable[[], None],
        *,
        back_off: BackOff | None = None,
        draw: Callable[[], float] = random.random,
        clock: Clock | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self.current: Connection | None = None
        self.closings = 0
        self._leaving: set[Connection] = set()
        self._locate = locate
        self._version = version
        self._changed = changed
        self._back_off = back_off if back_off is not None else BackOff()
        self._draw = draw
        self._clock = clock
        self._patience = patience
        self._keeper: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[Connection]] = []
        self._wake = asyncio.Event()
        self._hurry = False
        self._attempting = False
        # What the socket looked like before the last attempt, and how that failed, if it did.
        self._tried: Look = ()
        self._failure: RuntimeUnavailable | None = None
        self._logged: set[str] = set()

    @property
    def living(self) -> set[Connection]:
        """The connection, and those on which calls finish."""
        leaving = {one for one in self._leaving if one.running}
        return leaving if self.current is None else leaving | {self.current}

    @property
    def state(self) -> str:
        """How it is, in words for the operator."""
        current = self.current
        if current is not None and current.usable:
            return f"connected to the runtime at {current.path}, CRI {current.version}"
        if self._failure is not None:
            return self._failure.message.removeprefix("image-cri-shim: ")
        return "connecting to the runtime"

    def start(self) -> None:
        """Connect, and connect again after each loss, until ``close``; needs a running loop."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def connection(self) -> Connection:
        """Return the connection; wait only for an attempt that is likely to succeed.

        :raises RuntimeUnavailable: there is none, and the last attempt tells why.
        """
        current = self.current
        if current is not None:
            if current.usable:
                return current
            self._lose(current)
        failure = self._failure
        if failure is not None:
            # What did not answer before is not waited for again.
            awaited = self._attempting and not isinstance(failure, RuntimeSilent)
            if not awaited and self._look() == self._tried:
                raise RuntimeUnavailable(failure.message)
        self.start()
        self._hurry = True
        self._wake.set()
        waiting: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return await waiting

    def close(self) -> None:
        """Close every connection, and make none until ``start`` or the next call."""
        self.closings += 1
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
        living = self.living
        current, self.current = self.current, None
        self._failure, self._attempting = None, False
        for connection in living:
            connection.close()
        self._refuse("image-cri-shim: the shim has closed its connection to the runtime")
        if current is not None:
            self._changed()

    async def _keep(self) -> None:
        """Connect, wait until the connection is lost, and so on."""
        clock = self._clock if self._clock is not None else asyncio.get_running_loop()
        failures = losses = 0
        hidden = False
        while True:
            self._tried = self._look()
            self._attempting = True
            try:
                connection = await self._attempt()
            except RuntimeUnavailable as error:
                self._attempting = self._hurry = False
                if self._waiting and not hidden and self._look() != self._tried:
                    # What was tried is not what is there now; who waits need not know.
                    hidden = True
                    continue
                self._fail(error)
                failures += 1
                pause = self._back_off.delay(failures, self._draw())
            else:
                self._attempting = self._hurry = False
                failures = 0
                since = clock.time()
                self._succeed(connection)
                while self.current is not None:
                    self._wake.clear()
                    await self._wake.wait()
                # The first time it is made again at once; one that never holds is not.
                losses = 0 if clock.time() - since >= self._back_off.longest else losses + 1
                pause = self._back_off.delay(losses - 1, self._draw()) if losses > 1 else 0.0
            hidden = False
            if await self._pause(clock, pause):
                failures = losses = 0

    async def _attempt(self) -> Connection:
        try:
            return await reach(self._locate, self._version, self._lose, self._patience)
        except RuntimeUnavailable:
            raise
        except Exception as error:
            # Whoever waits for a connection must hear of it, and the next attempt be made.
            _log.exception("an error in the shim itself while connecting to the runtime")
            raise RuntimeUnavailable("image-cri-shim: internal error, see its log") from error

    async def _pause(self, clock: Clock, seconds: float) -> bool:
        """Wait, but not longer than until the socket changes or a call needs the connection.

        :returns: whether the socket has changed.
        """
        until = clock.time() + seconds
        while True:
            if self._look() != self._tried:
                return True
            left = until - clock.time()
            if left <= 0 or self._hurry:
                return False
            self._wake.clear()
            timer = clock.call_later(min(left, _LOOK), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    def _look(self) -> Look:
        """Look at the socket from outside."""
        try:
            path = self._locate()
            if not path:
                return ()
            found = Path(path).stat()
        except OSError as error:
            return (str(error.filename), error.errno)
        return (path, found.st_dev, found.st_ino, found.st_ctime_ns)

    def _succeed(self, connection: Connection) -> None:
        self._failure = None
        self._logged.clear()
        self.current = connection
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(connection)
        self._changed()

    def _fail(self, failure: RuntimeUnavailable) -> None:
        self._failure = failure
        if failure.message not in self._logged:
            self._logged.add(failure.message)
            _log.warning("%s", failure.message.removeprefix("image-cri-shim: "))
        self._refuse(failure.message)
        self._changed()

    def _refuse(self, message: str) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_exception(RuntimeUnavailable(message))

    def _lose(self, connection: Connection) -> None:
        """Take note that a connection takes no more calls; those on it finish."""
        connection.retire()
        if connection is not self.current:
            return
        self._leaving = {one for one in (*self._leaving, connection) if one.running}
        self.current = None
        if connection.sent_away:
            _log.info("the runtime at %s asks for a new connection", connection.path)
        else:
            _log.warning("the connection to the runtime at %s was lost", connection.path)
        self._wake.set()
        self._changed()
