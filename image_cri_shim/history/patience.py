"""Waiting until something is written, but never for long."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from image_cri_shim.clock import Clock, DelayedCall


class Patience:
    """Who waits until so much is written.

    :param seconds: how long each waits, at most.
    :param exhausted: is called when one has waited in vain.
    """

    def __init__(self, clock: Clock, seconds: float, exhausted: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._exhausted = exhausted
        # Each with how much it waits for, and what ends its patience.
        self._waiting: dict[Deferred[None], tuple[int, DelayedCall]] = {}

    def wait(self, amount: int) -> Deferred[None]:
        """Return what fires when so much is written, or the time is over."""
        deferred: Deferred[None] = Deferred(self._forget)
        late = self._clock.callLater(self._seconds, self._late, deferred)
        self._waiting[deferred] = (amount, late)
        return deferred

    def written(self, amount: int) -> None:
        """Let go who waits for no more than this."""
        for deferred, (wanted, _) in tuple(self._waiting.items()):
            if wanted <= amount:
                self._let_go(deferred)

    def give_up(self) -> None:
        """Let everybody go."""
        for deferred in tuple(self._waiting):
            self._let_go(deferred)

    def _late(self, deferred: Deferred[None]) -> None:
        self._let_go(deferred)
        self._exhausted()

    def _let_go(self, deferred: Deferred[None]) -> None:
        # One that was let go may cancel another.
        if deferred in self._waiting:
            self._forget(deferred)
            deferred.callback(None)

    def _forget(self, deferred: Deferred[None]) -> None:
        late = self._waiting.pop(deferred)[1]
        if late.active():
            late.cancel()
