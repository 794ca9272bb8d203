"""What is counted and timed of the look-ups in one registry."""

from __future__ import annotations

from collections import Counter

from image_cri_shim.decision import LookUp
from image_cri_shim.histogram import LONG_BOUNDS, Histogram

# What is counted for a look-up whose registry was left alone, or had too many already.
NOT_ASKED = "not_asked"


class AskedRegistry:
    """The look-ups in one registry that its cache could not answer.

    :ivar outcomes: how many there were, by outcome (``present``, ``absent``, ``unknown``); by
        NOT_ASKED those for which the registry was not asked at all.
    :ivar times: how long it took to answer, by outcome.
    :ivar last: the last one that it was asked; None for none.
    :ivar at: when that was answered, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.times: dict[str, Histogram] = {}
        self.last: LookUp | None = None
        self.at: float | None = None

    def note(self, look_up: LookUp, at: float) -> None:
        """Take note of a look-up.

        :param at: seconds since 1970.
        """
        if not look_up.asked:
            self.outcomes[NOT_ASKED] += 1
            return
        outcome = look_up.outcome.value
        self.outcomes[outcome] += 1
        times = self.times.get(outcome)
        if times is None:
            times = self.times[outcome] = Histogram(LONG_BOUNDS)
        times.observe(look_up.elapsed)
        self.last, self.at = look_up, at
