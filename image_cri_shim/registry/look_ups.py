"""Look-ups as the resolver wants them: nothing is asked twice, too often, or in vain.

What a registry has answered holds for a time (the cache); who asks the same at the same time shares
one look-up; a registry is asked no more than a number of questions at once; a failing one is left
alone (its breaker).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import attrs
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.python.failure import Failure

from image_cri_shim.clock import Clock
from image_cri_shim.decision import Candidate, LookUp, Outcome, Registry
from image_cri_shim.registry.answer import Answer
from image_cri_shim.registry.cache import Key, LookUpCache
from image_cri_shim.registry.clients import Client, registry_of
from image_cri_shim.registry.health import Health, Leave, Skip
from image_cri_shim.singleflight import SingleFlight

# Seconds that a candidate stays behind the others.
_BEHIND_FOR = 600.0


def key_of(candidate: Candidate) -> Key:
    """Return what is the same for all look-ups of one manifest in one registry."""
    reference = candidate.reference
    # What may lead anywhere is another question than what may not lead to the origin.
    return (
        registry_of(candidate).name.lower(),
        reference.repository,
        reference.selector,
        candidate.forbidden.lower(),
    )


class LookUps:
    """Asks registries, as seldom as possible.

    A look-up that has been sent goes on when nobody waits for it any more, for as long as its
    budget allows: what it finds out is remembered, and only so it comes to light that a registry
    is silent when all who ask give up early.

    :param clock: bounds the wait for a registry's turn.
    :param clients: ask the registries.
    :param health: what is known of the registries.
    :param note: is told of each look-up that the cache could not answer, also of those for which
        the registry was not asked; once, however many wait for it.
    """

    def __init__(
        self,
        clock: Clock,
        clients: Client,
        health: Health,
        cache: LookUpCache,
        note: Callable[[LookUp], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._clients = clients
        self._health = health
        self._cache = cache
        self._note = note
        self._slots: dict[str, DeferredSemaphore] = {}
        # Look-ups that have been sent, and whose answers are awaited.
        self._sent: dict[Key, Deferred[LookUp]] = {}
        self._flights: SingleFlight[Key, LookUp] = SingleFlight(self._sent.__contains__)

    def look_up(self, candidate: Candidate) -> Deferred[LookUp]:
        """Say whether a candidate's registry holds it, or that it cannot be found out.

        :returns: a Deferred that fails only if it is cancelled.
        """
        key = key_of(candidate)
        known = self._cache.get(key)
        if known is not None:
            return succeed(attrs.evolve(known, candidate=candidate, cached=True, elapsed=0.0))
        skip = self._health.skip(key[0])
        if skip is not None:
            return succeed(self._left_alone(_skipped(candidate, skip)))
        found = self._flights.join(key, lambda: self._start(candidate, key))
        # Whoever shares a look-up may call its candidate by another name.
        return found.addCallback(lambda look_up: attrs.evolve(look_up, candidate=candidate))

    def forget(self, candidate: Candidate) -> None:
        """Drop what was answered about a candidate: a pull has proved it wrong."""
        self._cache.forget(key_of(candidate))

    def put_behind(self, candidate: Candidate) -> None:
        """Put a candidate behind all other sources for a while: pulling it used up all its time.

        Its registry says that it has the manifest, and then does not hand it out.
        """
        detail = "the last pull from it did not come to an end"
        look_up = LookUp(candidate, Outcome.UNKNOWN, detail, asked=False)
        self._cache.put(key_of(candidate), look_up, _BEHIND_FOR)

    def close(self, *, abort: bool = False) -> Deferred[None]:
        """Close all connections once no look-up runs.

        :param abort: whether look-ups that run are ended instead.
        """
        if abort:
            for sent in list(self._sent.values()):
                sent.cancel()
        return self._clients.close()

    def _start(self, candidate: Candidate, key: Key) -> Deferred[LookUp]:
        registry = registry_of(candidate)
        slots = self._slots.get(key[0])
        if slots is None:
            slots = self._slots[key[0]] = DeferredSemaphore(registry.max_connections)
        turn: Deferred[DeferredSemaphore] = slots.acquire()
        began: float | None = None
        if not turn.called:
            began = self._clock.seconds()
            turn.addTimeout(registry.timeout, cast("Any", self._clock))
        return turn.addCallbacks(
            self._send,
            self._too_busy,
            callbackArgs=(candidate, key, began),
            errbackArgs=(candidate, registry),
        )

    def _send(
        self, slots: DeferredSemaphore, candidate: Candidate, key: Key, began: float | None
    ) -> LookUp | Deferred[LookUp]:
        """Ask at last; the registry may have failed in the meantime.

        :param began: when the wait for the turn began, on the clock; None if there was none.
        """
        leave = self._health.admit(key[0])
        if isinstance(leave, Skip):
            # Not from within: the next one's turn would be taken inside of this one's, and so on.
            self._clock.callLater(0, slots.release)
            return self._left_alone(_skipped(candidate, leave))
        waited = 0.0 if began is None else self._clock.seconds() - began
        sent = self._clients.ask(candidate, waited)
        sent.addCallback(self._answered, leave, key, waited)
        sent.addErrback(self._given_up, leave)
        looking: Deferred[LookUp] = cast("Any", sent)
        if not looking.called:
            self._sent[key] = looking
        looking.addBoth(self._ended, slots.release, key)
        if leave.meanwhile is None or not leave.meanwhile.timed_out:
            return looking
        # It may be silent still: whether it is back is found out beside the pull, not by it.
        looking.addErrback(_cancelled)
        return _skipped(candidate, leave.meanwhile)

    def _answered(self, answer: Answer, leave: Leave, key: Key, waited: float) -> LookUp:
        if answer.look_up.timed_out and waited:
            # It had less time than others get: that says nothing about the registry.
            self._health.withdraw(leave)
        else:
            self._health.record(leave, answer)
        self._cache.put(key, answer.look_up)
        self._note(answer.look_up)
        return answer.look_up

    def _given_up(self, failure: Failure, leave: Leave) -> Failure:
        self._health.withdraw(leave)
        return failure

    def _ended(self, outcome: LookUp | Failure, release: Callable[[], None], key: Key) -> object:
        self._sent.pop(key, None)
        release()
        return outcome

    def _left_alone(self, look_up: LookUp) -> LookUp:
        self._note(look_up)
        return look_up

    def _too_busy(self, failure: Failure, candidate: Candidate, registry: Registry) -> LookUp:
        failure.trap(defer.TimeoutError)
        detail = (
            f"busy, no turn within {registry.timeout:g}s ({registry.max_connections} at a time)"
        )
        elapsed = registry.timeout
        look_up = LookUp(candidate, Outcome.UNKNOWN, detail, elapsed=elapsed, asked=False)
        return self._left_alone(look_up)


def _skipped(candidate: Candidate, skip: Skip) -> LookUp:
    return LookUp(candidate, Outcome.UNKNOWN, skip.detail, timed_out=skip.timed_out, asked=False)


def _cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)
