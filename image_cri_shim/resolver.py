"""The resolver: asks the candidates' registries and decides what is pulled."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.python.failure import Failure

from image_cri_shim.clock import Clock
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome
from image_cri_shim.policy import Policy
from image_cri_shim.singleflight import SingleFlight


class Registries(Protocol):
    """Whoever can be asked whether a candidate's registry holds it."""

    def look_up(self, candidate: Candidate) -> Deferred[LookUp]:
        """Ask; fails only by being cancelled."""


class Resolver:
    """Turns an image reference into a decision.

    :param policy: which candidates a reference has.
    :param registries: who is asked about them.
    :param clock: measures how long it took.
    """

    def __init__(self, policy: Policy, registries: Registries, clock: Clock) -> None:
        self._policy = policy
        self._registries = registries
        self._clock = clock
        self._running: SingleFlight[str, Decision] = SingleFlight()

    def resolve(self, text: str) -> Deferred[Decision]:
        """Decide what is pulled for a reference.

        All candidates' registries are asked at the same time; the first in order that has the
        image is the answer, without waiting for those behind it. Who asks for the same reference in
        the meantime shares the look-ups; they end when everyone who waits has cancelled.

        :returns: a Deferred that fails with InvalidReferenceError if ``text`` is no reference.
        """
        return self._running.join(text, lambda: self._resolve(text))

    @inlineCallbacks
    def _resolve(self, text: str) -> Generator[Deferred[LookUp], Any, Decision]:
        started = self._clock.seconds()
        candidates = self._policy.candidates(text)
        asked = [self._registries.look_up(c) for c in candidates if c.rewritten]
        answers: list[LookUp] = []
        try:
            for pending in asked:
                answer = yield pending
                answers.append(answer)
                if answer.outcome is Outcome.PRESENT:
                    break
        finally:
            for pending in asked[len(answers) :]:
                pending.addErrback(_ignore_cancellation)
                pending.cancel()
        return Decision(
            attempts=attempts(answers, candidates[-1]),
            look_ups=tuple(answers),
            elapsed=self._clock.seconds() - started,
        )


def attempts(answers: Iterable[LookUp], as_written: Candidate) -> tuple[Candidate, ...]:
    """Return what is pulled, in order.

    First what is present. Then registries that answered but could not tell: the runtime may reach
    what the shim could not. Then the name as it was written. Registries that were not asked because
    they have been failing come last: they cost a pull nothing that can be had elsewhere. One that
    did not answer in time is not tried at all, for it would hang the pull.
    """
    answers = list(answers)
    unknown = [a for a in answers if a.outcome is Outcome.UNKNOWN and not a.timed_out]
    return (
        *(a.candidate for a in answers if a.outcome is Outcome.PRESENT),
        *(a.candidate for a in unknown if a.asked),
        as_written,
        *(a.candidate for a in unknown if not a.asked),
    )


def _ignore_cancellation(failure: Failure) -> None:
    failure.trap(CancelledError)
