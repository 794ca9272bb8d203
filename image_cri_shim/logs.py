"""Logging: everything goes through twisted.logger, at the level that the operator chose."""

from __future__ import annotations

import logging
from typing import Any, cast

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)

# Whose standard library loggers are passed on: our asyncio side and the libraries it stands on.
_STANDARD = ("image_cri_shim", "grpclib", "asyncio")

_levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
# Any: zope's interfaces are no types to a checker.
_observer: Any = FilteringLogObserver(cast("Any", globalLogPublisher), cast("Any", (_levels,)))


def logger(namespace: str) -> Logger:
    """Return a logger that respects the operator's level.

    :param namespace: who logs; a word for the operator rather than a module's path.
    """
    return Logger(namespace=namespace, observer=_observer)


def set_debug(debug: bool) -> None:  # noqa: FBT001 - it is the configuration's key
    """Log for debugging, or no longer."""
    _levels.setLogLevelForNamespace("", LogLevel.debug if debug else LogLevel.info)
    for name in _STANDARD:
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.INFO)


class _ToTwisted(logging.Handler):
    """Passes on what is logged with the standard library's loggers."""

    def emit(self, record: logging.LogRecord) -> None:
        level = LogLevel.lookupByName(_level_name(record.levelno))
        text = self.format(record)
        # Our own modules' names say nothing to an operator who looks for the program's.
        own = record.name.startswith("image_cri_shim")
        logger("image-cri-shim" if own else record.name).emit(level, "{text}", text=text)


def _level_name(level: int) -> str:
    if level >= logging.CRITICAL:
        return "critical"
    if level >= logging.ERROR:
        return "error"
    if level >= logging.WARNING:
        return "warn"
    return "info" if level >= logging.INFO else "debug"


def connect_standard_logging() -> None:
    """Pass the standard library's loggers on, once."""
    for name in _STANDARD:
        standard = logging.getLogger(name)
        if not any(isinstance(handler, _ToTwisted) for handler in standard.handlers):
            standard.addHandler(_ToTwisted())
            standard.propagate = False
