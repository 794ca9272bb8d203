"""What must go on and may not: ends whatever has stood still for too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol


class Stalling(Protocol):
    """Something that can stand still."""

    def stalled(self) -> None:
        """End it; called once, from the loop."""


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Do not make it."""


class Clock(Protocol):
    """What is needed of an event loop."""

    def time(self) -> float:
        """Return the time in seconds."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call a function after so many seconds."""


class Watch:
    """Ends what has been watched for some time without a sign of life.

    One timer for everything that is watched, and none while nothing is.

    :param patience: seconds.
    """

    def __init__(self, patience: float, clock: Clock) -> None:
        self._patience = patience
        self._clock = clock
        # In the order of their times.
        self._since: dict[Stalling, float] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._since)

    def __iter__(self) -> Iterator[Stalling]:
        """Iterate over what is watched, the one that has been silent longest first."""
        return iter(self._since)

    def begin(self, what: Stalling) -> None:
        """Watch something from now on; for what is watched already, take this as a sign of life."""
        self._since.pop(what, None)
        self._since[what] = self._clock.time()
        if self._timer is None:
            self._timer = self._clock.call_later(self._patience, self._look)

    def end(self, what: Stalling) -> None:
        """Watch something no more; it need not have been watched."""
        self._since.pop(what, None)

    def oldest(self) -> Stalling | None:
        """Return what has been silent longest."""
        return next(iter(self._since), None)

    def stop(self) -> None:
        """Watch nothing any more."""
        self._since.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._clock.time()
        for what, since in tuple(self._since.items()):
            due = since + self._patience
            if due > now:
                break
            # Another one's end may have been the end of this one.
            if self._since.get(what) == since:
                del self._since[what]
                what.stalled()
        if self._since and self._timer is None:
            first = next(iter(self._since.values()))
            delay = max(first + self._patience - now, 0.0)
            self._timer = self._clock.call_later(delay, self._look)
