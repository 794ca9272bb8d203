"""Reloading: SIGHUP reads the configuration again, as a whole or not at all."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from twisted.application.service import Service
from twisted.logger import Logger

from image_cri_shim.config import Config
from image_cri_shim.errors import ConfigError


class ThreadSafeReactor(Protocol):
    """What of Twisted's IReactorFromThreads is used."""

    def callFromThread(self, callable: Callable[[], None]) -> None:  # noqa: A002, N802 - Twisted's
        """Call something in the reactor's thread, soon; safe in a signal handler."""


def hold_hangups() -> None:
    """Keep SIGHUP from ending a program that is not yet ready for it; it waits until then."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class ReloadService(Service):
    """Reads the configuration again when SIGHUP comes.

    :param read: reads the configuration; raises ConfigError if it is bad.
    :param apply: makes a configuration the one that runs.
    :param log: where the outcome is said.
    """

    def __init__(
        self,
        read: Callable[[], Config],
        apply: Callable[[Config], None],
        reactor: ThreadSafeReactor,
        log: Logger,
    ) -> None:
        self._read = read
        self._apply = apply
        self._reactor = reactor
        self._log = log
        self._due = False

    def listen_for_signal(self) -> None:
        """Take SIGHUP over, before it can end the program: its default action is to kill."""
        signal.signal(signal.SIGHUP, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        # A signal handler interrupts anything; the work is done in the reactor's turn. Whatever
        # the file says by then is read once, however many signals came until then.
        if not self._due:
            self._due = True
            self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read and apply; a bad configuration changes nothing and is explained in the log."""
        # Before the file is read: whoever changes it after that asks for another reading.
        self._due = False
        if not self.running:
            return
        try:
            config = self._read()
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("reload: {problem}", problem=str(problem))
            self._log.error("reload: refused; the configuration that runs stays as it is")
            return
        except Exception:  # noqa: BLE001 - whatever it is, the daemon runs on
            self._log.failure("reload: failed; the configuration that runs stays as it is")
            return
        self._apply(config)
        self._log.info("reload: the new configuration runs")
