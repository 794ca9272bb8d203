"""Twisted's reactor for a command: it runs until one thing is done."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure

from image_cri_shim.cli.terminal import complain
from image_cri_shim.registry.names import install_names

T = TypeVar("T")

_BY_SIGNAL = 128


def run_reactor(begin: Callable[[Any], Deferred[T]]) -> T:
    """Run the reactor until a Deferred fires; once in a process.

    SIGINT and SIGTERM cancel the Deferred, which must put an end to all that it waits for.

    :param begin: is given the reactor, and returns the Deferred.
    :returns: what the Deferred fires with; what it fails with is raised.
    :raises KeyboardInterrupt: SIGINT came.
    :raises SystemExit: SIGTERM came.
    """
    # Any: zope's interfaces are no types to a checker.
    observer: Any = _complain_of
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
    outcome: list[T | Failure] = []
    signals: list[int] = []

    def main(reactor: Any) -> Deferred[None]:
        # Twisted's time is the wall clock; setting it must not make a time-out early or late.
        reactor.seconds = time.monotonic
        install_names(reactor)
        # Only a reactor that runs takes care of child processes.
        done: Deferred[Any] = deferLater(reactor, 0, begin, reactor)

        def stop(number: int, _: FrameType | None) -> None:
            signals.append(number)
            # The second one ends the program on the spot.
            signal.signal(number, signal.SIG_DFL)
            reactor.callFromThread(done.cancel)

        # Twisted takes SIGTERM when it starts to run, and SIGINT if nobody has taken it.
        signal.signal(signal.SIGINT, stop)
        reactor.callWhenRunning(signal.signal, signal.SIGTERM, stop)
        return done.addBoth(outcome.append)

    with contextlib.suppress(SystemExit):
        react(main)
    # What is left to do is written; it must end as any program does.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.SIGINT in signals:
        raise KeyboardInterrupt
    if signals:
        # As a shell would tell that it was ended by it.
        raise SystemExit(_BY_SIGNAL + signals[0])
    (result,) = outcome
    if isinstance(result, Failure):
        result.raiseException()
    return result


def _complain_of(event: LogEvent) -> None:
    """Show what is logged only if nobody had thought of it."""
    if event["log_level"] is LogLevel.critical:
        failure = event.get("log_failure")
        name = f": {failure.type.__name__}" if failure is not None else ""
        complain(f"{formatEvent(event)}{name}")
