"""What all look-up caches have come to: each configuration has one of its own."""

from __future__ import annotations

from collections import Counter

from image_cri_shim.registry.cache import LookUpCache


class CacheTotals:
    """Adds up what happens in one cache after the other."""

    def __init__(self) -> None:
        self._cache: LookUpCache | None = None
        self._hits: Counter[str] = Counter()
        self._misses = 0
        self._dropped: Counter[str] = Counter()

    def follow(self, cache: LookUpCache) -> None:
        """Go on with another cache, which is empty still."""
        self._hits, self._misses, self._dropped = self.hits, self.misses, self.dropped
        self._cache = cache

    @property
    def hits(self) -> Counter[str]:
        """How many questions were answered, by what the answer was: ``present``, ``absent`` ..."""
        return self._hits if self._cache is None else self._hits + self._cache.answered

    @property
    def misses(self) -> int:
        """How many questions were not answered."""
        return self._misses + (0 if self._cache is None else self._cache.statistics.misses)

    @property
    def dropped(self) -> Counter[str]:
        """How many answers were dropped, by why.

        ``expired``: they no longer held; ``full``: they gave way to others; ``forgotten``: a pull
        failed; ``flushed``: the operator wanted it.
        """
        if self._cache is None:
            return self._dropped
        now = self._cache.statistics
        dropped = {
            "expired": now.expired,
            "full": now.evicted,
            "forgotten": now.forgotten,
            "flushed": self._cache.flushed,
        }
        return self._dropped + Counter(dropped)

    @property
    def held(self) -> int:
        """How many answers are remembered now."""
        return 0 if self._cache is None else len(self._cache)

    @property
    def size(self) -> int:
        """How many answers are remembered at most."""
        return 0 if self._cache is None else self._cache.size
