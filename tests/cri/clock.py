"""A clock that goes when the test says so."""

from __future__ import annotations

from collections.abc import Callable


class FakeTimer:
    """A call that will be made."""

    def __init__(self, clock: FakeClock, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self._clock = clock

    def cancel(self) -> None:
        self._clock.timers.remove(self)


class FakeClock:
    """What `Watch` needs of an event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> FakeTimer:
        timer = FakeTimer(self, self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and make the calls that are due."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.due <= end]:
            timer = min(due, key=lambda one: one.due)
            self.timers.remove(timer)
            self.now = timer.due
            timer.callback()
        self.now = end
