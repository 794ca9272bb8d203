"""Where Twisted ends and asyncio begins: the only module that knows both.

Everyone else awaits: Deferreds on Twisted's side, futures on asyncio's.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

_REACTOR = "twisted.internet.reactor"


class WrongReactor(Exception):
    """A reactor without an asyncio event loop was installed before."""


def install_reactor() -> None:
    """Install the reactor on asyncio, before anything imports ``twisted.internet.reactor``.

    :raises WrongReactor: another reactor is installed; the message names it.
    """
    if _REACTOR in sys.modules:
        name = type(sys.modules[_REACTOR]).__name__
        if name != "AsyncioSelectorReactor":
            raise WrongReactor(
                f"image-cri-shim needs the asyncio reactor, but {name} is installed; "
                "leave out --reactor, or use --reactor=asyncio"
            )
    else:
        # Imported here, not above: it makes no reactor, but nothing should need it before.
        from twisted.internet import asyncioreactor  # noqa: PLC0415

        asyncioreactor.install(asyncio.new_event_loop())
    # Twisted's time is the wall clock; when that is set, a time-out must not come early or never.
    sys.modules[_REACTOR].seconds = time.monotonic  # type: ignore[attr-defined]


def to_deferred(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run an asyncio coroutine as a task; cancelling the Deferred cancels the task."""
    return Deferred.fromFuture(asyncio.ensure_future(coroutine))


def to_future(deferred: Deferred[T]) -> asyncio.Future[T]:
    """Await a Deferred in an asyncio task; cancelling the future cancels the Deferred."""
    return deferred.asFuture(asyncio.get_running_loop())


class AsyncioPart(Protocol):
    """Something on asyncio's side that starts and stops."""

    async def start(self) -> None:
        """Start; called in a task, on a running loop."""

    async def stop(self) -> None:
        """Stop, and return when everything is over."""


class AsyncioService(Service):
    """Starts and stops a part on asyncio's side with Twisted's services.

    :param part: what is started.
    :param reactor: the asyncio reactor.
    :param start_failed: is told if the part could not be started.
    """

    def __init__(
        self, part: AsyncioPart, reactor: Any, start_failed: Callable[[Failure], None]
    ) -> None:
        self._part = part
        self._reactor = reactor
        self._report = start_failed
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Start the part as soon as the loop runs, which it does not yet in this call."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        if self.running:
            self._starting = to_deferred(self._part.start())
            self._starting.addErrback(self._report)

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop the part; the Deferred fires when it is over."""
        super().stopService()  # type: ignore[no-untyped-call]
        starting, self._starting = self._starting, None
        if starting is None:
            return defer.succeed(None)
        # A part need not be able to stop while it starts; how the start ended has been reported.
        return starting.addBoth(lambda _: to_deferred(self._part.stop()))
