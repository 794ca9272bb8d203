"""What the log says of the look-up cache, and how often."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, formatEvent

from image_cri_shim.cache_log import CacheLog
from image_cri_shim.config import CacheConfig
from image_cri_shim.decision import LookUp, Outcome
from image_cri_shim.registry.cache import LookUpCache
from tests.registry.network import candidate

KEY = ("harbor.corp", "a", "1", "")


class Logged:
    """A cache, its log, and the lines that it wrote."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        config = CacheConfig(**settings)
        self.cache = LookUpCache(self.clock, config)
        log = Logger(observer=self._observe)  # type: ignore[arg-type]
        self.log = CacheLog(self.cache, config, self.clock, log)

    def _observe(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))

    def use(self) -> None:
        self.cache.get(KEY)
        self.cache.put(KEY, LookUp(candidate("harbor.corp/a:1"), Outcome.PRESENT))
        for _ in range(3):
            self.cache.get(KEY)
        self.cache.forget(KEY)


def test_the_statistics_are_written_every_minute_while_something_happens() -> None:
    logged = Logged()
    logged.use()
    logged.clock.advance(59)
    assert logged.lines == []
    logged.clock.advance(1)
    assert logged.lines == [
        "look-up cache: 0 of 1024 answers held; 4 questions, 75% answered from it; "
        "0 expired, 0 evicted, 1 dropped after a pull that failed"
    ]
    logged.clock.pump([60] * 5)
    assert len(logged.lines) == 1, "nothing has happened"
    logged.use()
    logged.clock.advance(60)
    assert len(logged.lines) == 2


def test_as_often_as_the_operator_says() -> None:
    logged = Logged(stats_log_interval=5.0)
    logged.use()
    logged.clock.advance(5)
    assert len(logged.lines) == 1


def test_not_at_all_if_the_operator_says_so() -> None:
    for settings in ({"stats_log_interval": 0.0}, {"disable_stats": True}):
        logged = Logged(**settings)
        logged.use()
        logged.clock.advance(3600)
        assert logged.lines == []
        assert logged.clock.getDelayedCalls() == []


def test_not_after_the_end() -> None:
    logged = Logged()
    logged.use()
    logged.log.stop()
    logged.log.stop()
    logged.clock.advance(3600)
    assert logged.lines == []
    assert logged.clock.getDelayedCalls() == []
