"""What the log says of the look-up cache, now and then."""

from __future__ import annotations

from twisted.logger import Logger

from image_cri_shim.clock import Clock, DelayedCall
from image_cri_shim.config import CacheConfig
from image_cri_shim.registry.cache import CacheStatistics, LookUpCache


class CacheLog:
    """Writes a cache's statistics to the log, when they have changed.

    :param config: says how often; not at all if statistics are off.
    """

    def __init__(self, cache: LookUpCache, config: CacheConfig, clock: Clock, log: Logger) -> None:
        self._cache = cache
        self._interval = 0.0 if config.disable_stats else config.stats_log_interval
        self._clock = clock
        self._log = log
        self._logged = CacheStatistics()
        self._timer: DelayedCall | None = None
        self._wait()

    def stop(self) -> None:
        """Write no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _wait(self) -> None:
        if self._interval:
            self._timer = self._clock.callLater(self._interval, self._write)

    def _write(self) -> None:
        self._wait()
        statistics = self._cache.statistics
        if statistics == self._logged:
            return
        self._logged = statistics
        questions = statistics.hits + statistics.misses
        self._log.info(
            "look-up cache: {held} of {size} answers held; {questions} questions, "
            "{share}% answered from it; {expired} expired, {evicted} evicted, "
            "{forgotten} dropped after a pull that failed",
            held=len(self._cache),
            size=self._cache.size,
            questions=questions,
            share=round(100 * statistics.hits / questions) if questions else 0,
            expired=statistics.expired,
            evicted=statistics.evicted,
            forgotten=statistics.forgotten,
        )
