"""Asks the runtime now and then whether it answers: a connection alone does not say so."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

# Looks between two questions; the daemon looks every two seconds.
_LOOKS = 5


class RuntimeCheck:
    """Finds out that a runtime hangs that is connected.

    :param ask: asks it, within some seconds; the result is whether it has answered, or None if
        there is no connection that could be asked on.
    :param changed: is told when ``silent_since`` has changed.
    :param now: returns the seconds since 1970.
    :ivar silent_since: when it was asked first in vain, in seconds since 1970; None if it answers.
    """

    def __init__(
        self,
        ask: Callable[[], Deferred[bool | None]],
        changed: Callable[[], None],
        log: Logger,
        now: Callable[[], float],
    ) -> None:
        self.silent_since: float | None = None
        self._ask = ask
        self._changed = changed
        self._log = log
        self._now = now
        self._looks = 0
        self._asking: Deferred[None] | None = None

    def look(self) -> None:
        """Ask, if it is time."""
        self._looks += 1
        if self._looks % _LOOKS == 0 and self._asking is None:
            asking = self._ask().addCallback(self._answered, self._now())
            asking.addErrback(self._failed)
            if not asking.called:
                self._asking = asking
                asking.addBoth(self._over)

    def forget(self) -> None:
        """Forget what was found out: it is another runtime now, or another connection."""
        self.stop()
        self.silent_since = None

    def stop(self) -> None:
        """Wait for no answer any more."""
        if self._asking is not None:
            self._asking.cancel()

    def _answered(self, alive: bool | None, asked: float) -> None:  # noqa: FBT001 - it is a result
        before = self.silent_since
        if alive is not False:
            self.silent_since = None
            if before is not None and alive:
                self._log.info("the runtime answers again")
        elif before is None:
            self.silent_since = asked
            self._log.warn("the runtime is connected, but it does not answer; does it hang?")
        if self.silent_since != before:
            self._changed()

    def _failed(self, failure: Failure) -> None:
        # It was given up, or is a defect; that says nothing of the runtime.
        self._log.debug("the runtime was not asked: {why}", why=failure.getErrorMessage())

    def _over(self, _outcome: None) -> None:
        self._asking = None
