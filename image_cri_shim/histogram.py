"""Values counted by their size: how long calls, pulls and look-ups take."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

# Upper bounds in seconds: of calls and what the runtime takes for them, of the shim's own part of
# them, and of whole pulls and look-ups.
CALL_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 10.0, 60.0)
SHIM_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 2.5)
LONG_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


class Histogram:
    """Counts values by their size.

    :param bounds: the upper bounds of the classes, rising; what is greater is counted too.
    :ivar counts: for each bound, and for what is greater, the number of values.
    :ivar total: the sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def __add__(self, other: Histogram) -> Histogram:
        """Return what has the values of both; their bounds are the same."""
        found = Histogram(self.bounds)
        found.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        found.total = self.total + other.total
        return found

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each bound, and infinity, with the number of values that are no greater."""
        return zip((*self.bounds, float("inf")), accumulate(self.counts), strict=True)
