"""Where Twisted ends and asyncio begins: the only module that knows both.

Everyone else awaits: Deferreds on Twisted's side, futures on asyncio's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Protocol, TypeVar, cast

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

# Says which event loop to use: the switch for finding out whether it is uvloop's fault.
LOOP_VARIABLE = "IMAGE_CRI_SHIM_LOOP"

_REACTOR = "twisted.internet.reactor"


class WrongReactor(Exception):
    """A reactor without an asyncio event loop was installed before."""


def install_reactor(*, forks: bool = False) -> None:
    """Install the reactor on asyncio, before anything imports ``twisted.internet.reactor``.

    It runs on uvloop's event loop where that package is there, unless the environment variable
    ``IMAGE_CRI_SHIM_LOOP`` says ``asyncio``.

    :param forks: the program makes itself a daemon later. A loop of uvloop's does not live on in
        another process, so it is asyncio's then.
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

        loop = asyncio.new_event_loop() if forks else new_event_loop()
        asyncioreactor.install(loop)
        if loop_name(loop) != "asyncio":
            installed: Any = sys.modules[_REACTOR]
            installed.callWhenRunning(_notice_children, installed)
    # Twisted's time is the wall clock; when that is set, a time-out must not come early or never.
    sys.modules[_REACTOR].seconds = time.monotonic  # type: ignore[attr-defined]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's, where it is installed and not turned off."""
    if os.environ.get(LOOP_VARIABLE) != "asyncio":
        try:
            import uvloop  # noqa: PLC0415 - it is optional
        except ImportError:
            pass
        else:
            return cast("asyncio.AbstractEventLoop", uvloop.new_event_loop())
    return asyncio.new_event_loop()


def _notice_children(reactor: Any) -> None:
    """Let the reactor notice that a child process has ended, on a loop that takes all signals.

    Twisted waits for a byte that Python writes when SIGCHLD comes (signal.set_wakeup_fd); uvloop
    has that byte written to itself. It still calls Python's handlers, as for every signal.

    :param reactor: runs, so it has installed its own handler already.
    """
    # Imported here: it is for a running reactor only.
    from twisted.internet.process import reapAllProcesses  # noqa: PLC0415

    def ended(_number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(reapAllProcesses)

    signal.signal(signal.SIGCHLD, ended)
    # As Twisted does: no system call of anybody's is interrupted by it.
    signal.siginterrupt(signal.SIGCHLD, False)
    reapAllProcesses()


def loop_name(loop: asyncio.AbstractEventLoop) -> str:
    """Return which event loop this is, for the log: the package that it is from."""
    return type(loop).__module__.partition(".")[0]


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
