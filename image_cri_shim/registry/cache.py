"""The look-up cache: what registries have answered, for as long as it holds."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TypeAlias

import attrs

from image_cri_shim.clock import Clock
from image_cri_shim.config.settings import CacheConfig
from image_cri_shim.decision import LookUp, Outcome

# A registry's name, a repository, a tag or a digest, and the domain that it must not lead to.
Key: TypeAlias = tuple[str, str, str, str]


@attrs.frozen
class CacheStatistics:
    """What has happened in the cache since it was made.

    :ivar hits: questions that it answered.
    :ivar misses: questions that it did not.
    :ivar expired: answers that no longer held when they were wanted.
    :ivar evicted: answers that gave way to others.
    :ivar forgotten: answers that were dropped after a pull that failed.
    """

    hits: int = 0
    misses: int = 0
    expired: int = 0
    evicted: int = 0
    forgotten: int = 0


class LookUpCache:
    """Remembers "present" and "absent", each for its time; "unknown" is no answer.

    When it is full, what has not been wanted for the longest time goes first.

    :param clock: says what still holds.
    :ivar answered: how many questions it answered, by what the answer was.
    :ivar flushed: how many answers were dropped because the operator wanted it.
    """

    def __init__(self, clock: Clock, config: CacheConfig) -> None:
        self._clock = clock
        self._size = config.image_cache_size
        self._lifetimes = {
            Outcome.PRESENT: config.image_cache_ttl,
            Outcome.ABSENT: config.absent_ttl,
        }
        self._counts = not config.disable_stats
        # With the time until which each holds.
        self._kept: OrderedDict[Key, tuple[float, LookUp]] = OrderedDict()
        self.statistics = CacheStatistics()
        self.answered: Counter[str] = Counter()
        self.flushed = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """How many answers are remembered at most."""
        return self._size

    def get(self, key: Key) -> LookUp | None:
        """Return what was answered, if that still holds."""
        entry = self._kept.get(key)
        if entry is None:
            self._count("misses")
            return None
        until, look_up = entry
        if until <= self._clock.seconds():
            del self._kept[key]
            self._count("expired")
            self._count("misses")
            return None
        self._kept.move_to_end(key)
        self._count("hits")
        if self._counts:
            self.answered[look_up.outcome.value] += 1
        return look_up

    def put(self, key: Key, look_up: LookUp, lifetime: float | None = None) -> None:
        """Remember an answer in place of the one before.

        :param lifetime: in seconds; None for that of its outcome.
        """
        self._kept.pop(key, None)
        if lifetime is None:
            lifetime = self._lifetimes.get(look_up.outcome, 0.0)
        if not lifetime or not self._size:
            return
        self._kept[key] = (self._clock.seconds() + lifetime, look_up)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
            self._count("evicted")

    def forget(self, key: Key) -> None:
        """Drop what was answered; what was put there without asking stays for its time."""
        entry = self._kept.get(key)
        if entry is not None and entry[1].asked:
            del self._kept[key]
            self._count("forgotten")

    def flush(self, wanted: Callable[[Key], bool]) -> int:
        """Drop every answer whose key is wanted, and return how many there were."""
        keys = [key for key in self._kept if wanted(key)]
        for key in keys:
            del self._kept[key]
        self.flushed += len(keys) if self._counts else 0
        return len(keys)

    def _count(self, what: str) -> None:
        if self._counts:
            changed = {what: getattr(self.statistics, what) + 1}
            self.statistics = attrs.evolve(self.statistics, **changed)
