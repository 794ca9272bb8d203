"""Passing on what is logged with the standard library's loggers."""

from __future__ import annotations

import logging

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure

from image_cri_shim.logs.components import component_of

# From the gravest on.
_LEVELS = (
    (logging.CRITICAL, LogLevel.critical),
    (logging.ERROR, LogLevel.error),
    (logging.WARNING, LogLevel.warn),
    (logging.INFO, LogLevel.info),
)


class ToTwisted(logging.Handler):
    """Gives records to Twisted's log, as those of the component that has made them.

    :param observer: takes them.
    """

    def __init__(self, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, with its exception and with the id of its call."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            # A library's mistake; what it meant is in there.
            text = f"{record.msg} {record.args!r}"
        level = next((one for least, one in _LEVELS if record.levelno >= least), LogLevel.debug)
        fields: dict[str, object] = {}
        call = getattr(record, "call", "")
        if call:
            fields["call"] = call
        if record.exc_info is not None and record.exc_info[1] is not None:
            kind, error, trace = record.exc_info
            fields["log_failure"] = Failure(error, kind, trace)
        log = Logger(namespace=component_of(record.name), observer=self._observer)
        log.emit(level, "{text}", text=text, **fields)
