"""A history that is kept, with what it runs on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent

from image_cri_shim.config import Config
from image_cri_shim.history.recorder import (
    History,
)
from image_cri_shim.pull_book import Event
from tests.history.pulls import (
    Hands,
    TestReactor,
    begun,
    pulled,
)


@attrs.define
class Kept:
    """A history, with what it runs on."""

    history: History
    reactor: TestReactor
    hands: Hands
    config: Config
    log: list[LogEvent]

    def begin(self, *numbers: int) -> None:
        for number in numbers:
            self.history.note(Event.BEGUN, begun(number))

    def end(self, *numbers: int) -> None:
        for number in numbers:
            self.history.note(Event.ENDED, pulled(number))

    @property
    def said(self) -> list[str]:
        return [formatEvent(event) for event in self.log]

    @property
    def directory(self) -> Path:
        return Path(self.config.image)


Make = Callable[..., Kept]


def fired(deferred: Deferred[None]) -> bool:
    return bool(deferred.called)
