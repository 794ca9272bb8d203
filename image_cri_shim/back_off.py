"""How long to wait when something fails again and again."""

from __future__ import annotations


def doubled(first: float, longest: float, times: int) -> float:
    """Return ``first``, doubled each time after the first time, and ``longest`` at most.

    :param times: from 1; as large as it gets when something has been gone for months.
    """
    return min(first * 2.0 ** min(times - 1, 32), longest)
