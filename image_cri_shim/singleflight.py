"""Single flight: callers who want the same thing at the same time share one piece of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

K = TypeVar("K")
V = TypeVar("V")


@attrs.define(eq=False)
class _Flight(Generic[V]):
    """One piece of work and those who wait for it, in the order they came."""

    waiters: list[Deferred[V]] = attrs.field(factory=list)
    work: Deferred[V] | None = None


class SingleFlight(Generic[K, V]):
    """Shares running work by key. Nothing is remembered once the work is done.

    Every waiter has a Deferred of its own, so one that gives up takes nothing from the others;
    when the last one gives up the work is cancelled, unless it goes on all the same.

    :param goes_on: tells by its key whether work goes on that nobody waits for; whoever comes
        before it ends shares it.
    """

    def __init__(self, goes_on: Callable[[K], bool] = lambda _: False) -> None:
        self._goes_on = goes_on
        self._flights: dict[K, _Flight[V]] = {}

    def join(self, key: K, start: Callable[[], Deferred[V]]) -> Deferred[V]:
        """Wait for the work under ``key``, starting it if it does not run.

        :param start: begins the work; called at once, or not at all. What it raises is the
            work's failure.
        :returns: a Deferred with the work's result or failure. Cancelling it ends only this wait.
        """
        flight = self._flights.get(key)
        if flight is not None:
            return self._wait(key, flight)
        flight = _Flight()
        self._flights[key] = flight
        waiter = self._wait(key, flight)
        flight.work = maybeDeferred(start)
        flight.work.addBoth(self._land, key, flight)
        return waiter

    def _wait(self, key: K, flight: _Flight[V]) -> Deferred[V]:
        def give_up(waiter: Deferred[V]) -> None:
            # It is no longer among them if the result is being handed out right now.
            if waiter in flight.waiters:
                flight.waiters.remove(waiter)
            if flight.waiters or self._flights.get(key) is not flight:
                return
            if not self._goes_on(key):
                del self._flights[key]
                if flight.work is not None:
                    flight.work.cancel()

        waiter: Deferred[V] = Deferred(give_up)
        flight.waiters.append(waiter)
        return waiter

    def _land(self, result: V | Failure, key: K, flight: _Flight[V]) -> None:
        # Out of the way first: a waiter's callback may want the same thing anew.
        if self._flights.get(key) is flight:
            del self._flights[key]
        while flight.waiters:
            flight.waiters.pop(0).callback(result)
