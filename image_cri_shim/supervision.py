"""What the service manager is told of the daemon, and the check that says whether it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from image_cri_shim.clock import DelayedCall
from image_cri_shim.sd_notify import Notifier

# Checks within the time of the watchdog: one may fail, and the daemon lives on.
_CHECKS = 3
# Seconds between two checks at least, whatever the manager wants.
_PAUSE = 0.1


class Supervision(Service):
    """Keeps the service manager informed, from when the daemon serves until it stops.

    :param notifier: tells it.
    :param describe: says in one line how the daemon is.
    :param check: calls the daemon through its own socket, for so many seconds at most; its result
        is why it does not answer, or an empty text.
    :param reactor: Twisted's.
    """

    def __init__(
        self,
        notifier: Notifier,
        describe: Callable[[], str],
        check: Callable[[float], Deferred[str]],
        reactor: Any,
        log: Logger,
    ) -> None:
        self._notifier = notifier
        self._describe = describe
        self._check = check
        self._reactor = reactor
        self._log = log
        self._said: str | None = None
        self._due: DelayedCall | None = None
        self._failed = False

    def ready(self) -> None:
        """Say that the daemon serves."""
        self._said = self._describe()
        self._notifier.ready(self._said)
        if self._notifier.watchdog:
            self._examine()

    def reloading(self) -> None:
        """Say that a reload begins."""
        if self._said is not None:
            self._notifier.reloading()

    def reloaded(self) -> None:
        """Say that a reload is over, and how the daemon is now."""
        if self._said is not None:
            self._said = self._describe()
            self._notifier.ready(self._said)

    def changed(self) -> None:
        """Say how the daemon is, if that has changed since it was said last."""
        if self._said is not None and self.running:
            text = self._describe()
            if text != self._said:
                self._said = text
                self._notifier.status(text)

    def stopping(self, grace: float) -> None:
        """Say that the daemon stops; nothing is said after that."""
        self._said = None
        self._notifier.stopping(grace)

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Check no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None

    def _examine(self) -> None:
        """Check, and check again later: a sign of life is given only for a check that succeeded."""
        pause = max(self._notifier.watchdog / _CHECKS, _PAUSE)
        self._due = self._reactor.callLater(pause, self._examine)
        self._check(pause).addCallbacks(self._checked, self._broken)

    def _checked(self, why: str) -> None:
        if not why:
            self._notifier.alive()
            self._failed = False
        elif not self._failed:
            self._failed = True
            self._log.error("the shim does not answer on its own socket: {why}", why=why)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("the check of the shim's own socket failed", failure)
