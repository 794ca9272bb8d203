"""The log of the program: takes events, and writes them where the operator looks for them."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.config.settings import LogFormat
from image_cri_shim.logs.entry import Entry
from image_cri_shim.logs.events import entry_of
from image_cri_shim.logs.formats import as_json, as_prefixed, as_text, journal_fields
from image_cri_shim.logs.journal import Journal
from image_cri_shim.logs.outlet import Outlet


@implementer(ILogObserver)
class ProgramLog:
    """Writes events to a descriptor or to the journal; it never waits, and never fails.

    :param descriptor: where the lines go, and entries that the journal does not take.
    :param journal: where entries go in the format ``journal``.
    :param automatic: what the format ``auto`` means.
    :param wants: decides whether an event is logged at all.
    :param now: returns the seconds since 1970.
    :ivar outlet: holds what the descriptor has not taken yet.
    """

    def __init__(
        self,
        descriptor: int,
        journal: Journal,
        automatic: LogFormat,
        wants: Callable[[LogEvent], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.outlet = Outlet(descriptor, self._lost)
        self._journal = journal
        self._automatic: LogFormat = automatic
        self._wants = wants
        self._now = now
        self._format = automatic

    @property
    def written_as(self) -> LogFormat:
        """The format of what is written now; never ``auto``."""
        return self._format

    def write_as(self, wanted: LogFormat) -> None:
        """Write in another format from now on."""
        self._format = self._automatic if wanted == "auto" else wanted

    def __call__(self, event: LogEvent) -> None:
        """Write an event if it is wanted."""
        if not self._wants(event):
            return
        entry = entry_of(event)
        if entry is None:
            return
        if self._format == "journal" and self._journal.send(journal_fields(entry)):
            return
        self.outlet.write(self._line(entry))

    def _line(self, entry: Entry) -> bytes:
        write = {"json": as_json, "journal": as_prefixed}.get(self._format, as_text)
        return write(entry).encode("utf-8", "backslashreplace")

    def _lost(self, count: int) -> bytes:
        lines = "one line of the log was" if count == 1 else f"{count} lines of the log were"
        text = f"{lines} lost, because nobody took them"
        return self._line(Entry(self._now(), "warn", "daemon", text))
