"""What each component logs: as the configuration says, until somebody says otherwise."""

from __future__ import annotations

import logging
from typing import cast

from twisted.logger import LogEvent, LogLevel, LogLevelFilterPredicate

from image_cri_shim.config.settings import COMPONENTS, LEVELS, Level, LogLevels, default_level
from image_cri_shim.logs.components import APART, CRI, PROGRAM

ALL = "all"
# Libraries that log with the standard library's loggers, and are heard.
LIBRARIES = ("grpclib", "asyncio")

_NUMBERS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


class Levels:
    """Decides which events are logged, and tells the standard library's loggers.

    :ivar predicate: decides for Twisted's loggers; what is no component is a library.
    """

    def __init__(self) -> None:
        self.predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
        self._said: tuple[bool, LogLevels] = (False, LogLevels())
        self._overrides: dict[str, Level] = {}

    def configure(self, debug: bool, levels: LogLevels) -> None:  # noqa: FBT001 - it is a key
        """Log as a configuration says; if it says something new, it ends all overrides."""
        if self._said != (debug, levels):
            self._overrides.clear()
            self._said = (debug, levels)
        self._apply()

    def override(self, component: str, level: str) -> None:
        """Log something else for a component until the configuration says something new.

        :param component: one of ``COMPONENTS``, or ``all``, which means libraries as well.
        :param level: one of ``LEVELS``, or empty for what is configured.
        :raises ValueError: there is no such component or level; the message says which there are.
        """
        if component not in (*COMPONENTS, ALL):
            known = ", ".join((*COMPONENTS, ALL))
            raise ValueError(f"unknown component {component!r}; there are {known}")
        if level not in ("", *LEVELS):
            raise ValueError(f"unknown level {level!r}; there are {', '.join(LEVELS)}")
        for one in (*COMPONENTS, ALL) if component == ALL else (component,):
            if level:
                self._overrides[one] = cast("Level", level)
            else:
                self._overrides.pop(one, None)
        self._apply()

    def now(self) -> dict[str, Level]:
        """Return what each component logs now."""
        debug, levels = self._said
        said = levels.effective(debug)
        return {one: self._overrides.get(one, level) for one, level in said.items()}

    def wants(self, event: LogEvent) -> bool:
        """Tell whether an event is logged that has passed by ``predicate``: a library's own."""
        level = event.get("log_level")
        if level is None:
            return True
        wanted = self.predicate.logLevelForNamespace(event.get("log_namespace") or "")
        return bool(level >= wanted)

    def _apply(self) -> None:
        levels = self.now()
        libraries = self._overrides.get(ALL, default_level(self._said[0]))
        for name, level in (("", libraries), *levels.items()):
            self.predicate.setLogLevelForNamespace(name, LogLevel.lookupByName(level))
        for name in LIBRARIES:
            logging.getLogger(name).setLevel(_NUMBERS[libraries])
        logging.getLogger(PROGRAM).setLevel(_NUMBERS[levels["daemon"]])
        _set_level(CRI, levels["cri"], above=levels["daemon"])
        for name, component in APART.items():
            _set_level(name, levels[component], above=levels["cri"])


def _set_level(name: str, level: Level, *, above: Level) -> None:
    """Give a logger of the standard library a level of its own if the one above has another."""
    logging.getLogger(name).setLevel(logging.NOTSET if level == above else _NUMBERS[level])
