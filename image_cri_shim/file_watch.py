"""Noticing that files have changed: at once by inotify(7), and by looking now and then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from twisted.application.service import Service
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from image_cri_shim.clock import DelayedCall
from image_cri_shim.fingerprint import EVERY, Places

# Seconds from the first sign of a change to the look: an editor takes several steps.
SETTLE = 0.2
# inotify(7): written and closed, and what comes, goes or is another one under its name. Not what is
# written at the moment: it may be half of it.
_EVENTS = 0x00000008 | 0x00000040 | 0x00000080 | 0x00000100 | 0x00000200 | 0x00000400 | 0x00000800
# Another owner or mode: it may be readable now.
_EVENTS |= 0x00000004
# The directory itself goes, or something is mounted over it, or events were lost.
_OF_ITSELF = 0x00000400 | 0x00000800 | 0x00002000 | 0x00004000 | 0x00008000

# A file's device and inode; None where there is none.
Identity: TypeAlias = tuple[int, int] | None


class FileWatch(Service):
    """Calls ``look`` when something in certain directories has changed, and now and then.

    :param places: returns the directories, and the names in them that matter; asked again and
        again.
    :param look: finds out what has changed.
    :param interval: seconds between two looks without a sign; 0 for none.
    :param reactor: Twisted's.
    """

    def __init__(
        self,
        places: Callable[[], Places],
        look: Callable[[], None],
        interval: float,
        reactor: Any,
        log: Logger,
    ) -> None:
        self._places = places
        self._look = look
        self._interval = interval
        self._reactor = reactor
        self._log = log
        # What is watched, and what each directory was then: another may take its place.
        self._watched: dict[str, Identity] = {}
        self._names: Places = {}
        self._notices: Any = None
        self._complained: tuple[str, float] | None = None
        self._settling: DelayedCall | None = None
        self._polling: DelayedCall | None = None

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Watch."""
        super().startService()  # type: ignore[no-untyped-call]
        # Not before the reactor runs: twistd may still become another process.
        self._reactor.callLater(0, self._begin)

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Watch no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        for timer in (self._settling, self._polling):
            if timer is not None and timer.active():
                timer.cancel()
        self._settling = self._polling = None
        self._forget()

    def look_every(self, interval: float) -> None:
        """Look at another interval from now on."""
        if interval != self._interval:
            self._interval = interval
            if self.running:
                self._poll_later()

    def _begin(self) -> None:
        if self.running:
            self._watch()
            self._poll_later()

    def _poll_later(self) -> None:
        if self._polling is not None and self._polling.active():
            self._polling.cancel()
        self._polling = None
        if self._interval:
            self._polling = self._reactor.callLater(self._interval, self._poll)

    def _poll(self) -> None:
        self._poll_later()
        self._examine()

    def _noticed(self, _: object, changed: Any, mask: int) -> None:
        """Look soon, however many signs come until then."""
        directory, name = os.path.split(os.fsdecode(changed.path))
        names = self._names.get(directory)
        matters = names is None or EVERY in names or name in names or mask & _OF_ITSELF
        if matters and self.running and self._settling is None:
            self._settling = self._reactor.callLater(SETTLE, self._settled)

    def _settled(self) -> None:
        self._settling = None
        self._examine()

    def _examine(self) -> None:
        # In this order: what changes after the look is noticed in the new directories.
        self._watch()
        try:
            self._look()
        except Exception:  # noqa: BLE001 - whatever it is, it is looked at again
            self._log.failure("cannot look at the configuration")

    def _watch(self) -> None:
        """Watch the directories that matter now."""
        try:
            self._names = self._places()
        except OSError:
            self._names = {}
        wanted = {directory: _identity(directory) for directory in self._names}
        if wanted == self._watched and self._notices is not None and self._notices.connected:
            return
        self._forget()
        try:
            # Imported here: it looks for the C library with another program's help.
            from twisted.internet.inotify import INotify, INotifyError  # noqa: PLC0415
        except ImportError as error:
            self._complain(f"not at all ({error})")
            return
        try:
            notices: Any = INotify(self._reactor)
        except INotifyError:
            self._complain("the system has no inotify instance left")
            return
        try:
            for directory in sorted(wanted):
                notices.watch(FilePath(directory), mask=_EVENTS, callbacks=[self._noticed])
        except INotifyError:
            self._complain(f"{directory} cannot be watched")
            notices.loseConnection()
            return
        notices.startReading()
        self._notices, self._watched, self._complained = notices, wanted, None

    def _forget(self) -> None:
        notices, self._notices = self._notices, None
        self._watched = {}
        if notices is not None:
            # Twisted's ends by itself when one of the directories goes; then this does nothing.
            notices.loseConnection()

    def _complain(self, why: str) -> None:
        if (why, self._interval) != self._complained:
            self._complained = (why, self._interval)
            then = f"every {self._interval:g} s" if self._interval else "on SIGHUP only"
            self._log.warn(
                "changes of the configuration are noticed {then}: {why}", then=then, why=why
            )


def _identity(path: str) -> Identity:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
