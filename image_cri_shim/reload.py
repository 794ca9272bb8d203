"""Reloading: the configuration is read again, as a whole or not at all."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from image_cri_shim.clock import Clock, DelayedCall
from image_cri_shim.config import Config
from image_cri_shim.errors import ConfigError

# Seconds until a file that was found bad is read again before that is said: it may be half written.
SECOND_LOOK = 1.0


class Reactor(Clock, Protocol):
    """What of Twisted's reactor is used."""

    def callFromThread(self, callable: Callable[[], None]) -> None:  # noqa: A002, N802 - Twisted's
        """Call something in the reactor's thread, soon; safe in a signal handler."""


@attrs.frozen
class Refusal:
    """What is on disk is not what runs.

    :ivar since: when that was noticed first, in seconds since 1970.
    :ivar why: one sentence about the first problem.
    :ivar passing: whether it may end by itself: the files are right, but what they want cannot be
        had at the moment.
    :ivar problems: all of them, a sentence each.
    """

    since: float
    why: str
    passing: bool = False
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in one line."""
        return f"the configuration is refused since {self.moment}, the one before runs: {self.why}"

    @property
    def moment(self) -> str:
        """When it was noticed first, in local time (ISO 8601)."""
        return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.since))


def hold_hangups() -> None:
    """Keep SIGHUP from ending a program that is not yet ready for it; it waits until then."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class ReloadService(Service):
    """Reads the configuration again when SIGHUP comes, or when the files say something else.

    :param read: reads the configuration; raises ConfigError if it is bad.
    :param apply: makes a configuration the one that runs; its second argument says whether what is
        known of the registries is forgotten even if nothing else changes. Raises ConfigError, and
        changes nothing, if it cannot be.
    :param log: where the outcome is said.
    :param fingerprint: returns what the files say, in short.
    :param seen: what they said before they were read for the configuration that runs.
    :param now: returns the seconds since 1970.
    :ivar before: is called when a reload begins.
    :ivar after: is called when a reload is over, however it ended.
    :ivar loaded_at: when the configuration that runs was taken, in seconds since 1970.
    :ivar taken: how many reloads there were that took a configuration.
    :ivar refused: how many there were that did not.
    """

    def __init__(
        self,
        read: Callable[[], Config],
        apply: Callable[[Config, bool], None],
        reactor: Reactor,
        log: Logger,
        *,
        fingerprint: Callable[[], bytes],
        seen: bytes = b"",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._apply = apply
        self._fingerprint = fingerprint
        self._reactor = reactor
        self._now = now
        self._log = log
        self._due = False
        self._seen = seen
        self._second_look: DelayedCall | None = None
        self._refusal: Refusal | None = None
        self.loaded_at = now()
        self.taken = self.refused = 0
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    @property
    def refusal(self) -> Refusal | None:
        """Why the configuration on disk does not run; None if it does."""
        return self._refusal

    def listen_for_signal(self) -> None:
        """Take SIGHUP over, before it can end the program: its default action is to kill."""
        signal.signal(signal.SIGHUP, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Read nothing any more."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._look_no_more()

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
        if self.running:
            self._load(self._fingerprint(), told=True)

    def look(self) -> None:
        """Read and apply if the files say something else than when they were read last."""
        if self.running and self._second_look is None:
            said = self._fingerprint()
            if said != self._seen:
                self._load(said, told=False)

    def try_again(self) -> None:
        """Read and apply what could not be had when it was read last, if that is so."""
        if self.running and self._refusal is not None and self._refusal.passing:
            self._load(self._fingerprint(), told=False, certain=True)

    def _load(self, said: bytes, *, told: bool, certain: bool = False) -> None:
        """Read and apply.

        :param said: what the files say, taken before they are read: what is written meanwhile is
            another change.
        :param told: whether somebody asked for it.
        :param certain: whether what was found bad has been given its time.
        """
        self._look_no_more()
        quiet = self._refusal is not None and self._refusal.passing and not told
        if not quiet:
            self.before()
        read = False
        try:
            config = self._read()
            read = True
            self._apply(config, told)
        except ConfigError as error:
            if not told and not certain:
                self._second_look = self._reactor.callLater(SECOND_LOOK, self._look_again)
                return
            self._refuse(error, passing=read, told=told)
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon runs on
            self._log.failure("reload: failed; the configuration that runs stays as it is")
            self.refused += 1
            self._note((f"internal error: {type(error).__name__}",))
        else:
            self._refusal = None
            self.loaded_at = self._now()
            self.taken += 1
            self._log.info("reload: the new configuration runs")
        finally:
            self._seen = said
            if not quiet or self._refusal is None:
                self.after()

    def _look_again(self) -> None:
        self._second_look = None
        if self.running:
            self._load(self._fingerprint(), told=False, certain=True)

    def _look_no_more(self) -> None:
        timer, self._second_look = self._second_look, None
        if timer is not None and timer.active():
            timer.cancel()

    def _refuse(self, error: ConfigError, *, passing: bool, told: bool) -> None:
        before = self._refusal
        refusal = self._note(tuple(map(str, error.problems)), passing=passing)
        if refusal == before and passing and not told:
            # It has been said, and nobody has asked again.
            return
        self.refused += 1
        for problem in error.problems:
            self._log.error("reload: {problem}", problem=str(problem))
        self._log.error(
            "reload: refused; the configuration that was read before runs on ({files} {moment})",
            files="the files ask for what cannot be had since"
            if passing
            else "the files have been wrong since",
            moment=refusal.moment,
        )

    def _note(self, problems: tuple[str, ...], *, passing: bool = False) -> Refusal:
        since = self._now() if self._refusal is None else self._refusal.since
        self._refusal = Refusal(since, problems[0] if problems else "", passing, problems)
        return self._refusal
