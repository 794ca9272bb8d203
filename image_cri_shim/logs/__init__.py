"""The log: everything goes through twisted.logger, in the format and at the levels of the operator.

What is logged by which component, and how it is written, is in docs/operation.md.
"""

from __future__ import annotations

import atexit
import logging
import os
from typing import Any, cast

from twisted.logger import FilteringLogObserver, ILogObserver, Logger, globalLogPublisher

from image_cri_shim.config import Config
from image_cri_shim.config.settings import Level, LogFormat, LogLevels
from image_cri_shim.logs.components import PROGRAM
from image_cri_shim.logs.journal import Journal, is_stream_of_journal
from image_cri_shim.logs.levels import LIBRARIES, Levels
from image_cri_shim.logs.program_log import ProgramLog
from image_cri_shim.logs.standard import ToTwisted

_STANDARD_ERROR = 2

# A program has one log, in Twisted as in the standard library.
_LEVELS = Levels()
# Any: zope's interfaces are no types to a checker.
_FILTERED: Any = FilteringLogObserver(
    cast("Any", globalLogPublisher), cast("Any", (_LEVELS.predicate,))
)


class _Program:
    """What the program has of a log: none until twistd asks for it, or if it writes its own."""

    log: ProgramLog | None = None
    format: LogFormat = "auto"


def logger(component: str) -> Logger:
    """Return a logger that respects the operator's level.

    :param component: who logs: one of the configuration's ``COMPONENTS``.
    """
    return Logger(namespace=component, observer=_FILTERED)


def connect_standard_logging() -> None:
    """Pass on, once, what the asyncio side and its libraries log with the standard library."""
    for name in (PROGRAM, *LIBRARIES):
        standard = logging.getLogger(name)
        if not any(isinstance(handler, ToTwisted) for handler in standard.handlers):
            standard.addHandler(ToTwisted(cast("ILogObserver", _FILTERED)))
            standard.propagate = False


def observer() -> ProgramLog:
    """Make the program's log; twistd calls this for its option ``--logger``."""
    automatic: LogFormat = "text"
    if is_stream_of_journal(_STANDARD_ERROR, os.environ):
        automatic = "journal"
    log = ProgramLog(_STANDARD_ERROR, Journal(), automatic, _LEVELS.wants)
    log.write_as(_Program.format)
    _Program.log = log
    atexit.register(finish)
    return log


def configure(config: Config) -> None:
    """Log as a configuration says: its format and its levels."""
    set_format(config.log_format)
    set_levels(config.debug, config.log_levels)


def set_format(wanted: LogFormat) -> None:
    """Write what is logged from now on in another way."""
    _Program.format = wanted
    if _Program.log is not None:
        _Program.log.write_as(wanted)


def format_in_use() -> LogFormat:
    """Return how the log is written now; never ``auto``. What twistd writes itself is text."""
    return "text" if _Program.log is None else _Program.log.written_as


def set_levels(debug: bool, levels: LogLevels) -> None:  # noqa: FBT001 - it is a key
    """Log at a configuration's levels; one that says something new ends all overrides."""
    _LEVELS.configure(debug, levels)


def override_level(component: str, level: str) -> None:
    """Log something else for a component until the configuration says something new.

    :param component: one of the configuration's ``COMPONENTS``, or ``all``.
    :param level: ``debug``, ``info``, ``warn`` or ``error``, or empty for what is configured.
    :raises ValueError: there is no such component or level; the message says which there are.
    """
    _LEVELS.override(component, level)


def levels() -> dict[str, Level]:
    """Return what each component logs now."""
    return _LEVELS.now()


def lost() -> int:
    """Return how many lines were dropped since the start, because nobody took them."""
    return 0 if _Program.log is None else _Program.log.outlet.dropped


def flush() -> None:
    """Write what waits, if it is taken now; to be called now and then."""
    if _Program.log is not None:
        _Program.log.outlet.flush()


def finish() -> None:
    """Give what waits a moment to be taken: at the end of the program, before ``os._exit``."""
    if _Program.log is not None:
        _Program.log.outlet.finish()
