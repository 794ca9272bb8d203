"""The resolver: asks the candidates' registries and decides what is pulled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from image_cri_shim.clock import Clock, DelayedCall
from image_cri_shim.decision import Candidate, Decision, LookUp, Outcome
from image_cri_shim.policy import Plan, Policy


class Registries(Protocol):
    """Whoever can be asked whether a candidate's registry holds it."""

    def look_up(self, candidate: Candidate) -> Deferred[LookUp]:
        """Ask; fails only by being cancelled."""


class Resolver:
    """Turns an image reference into a decision.

    :param policy: which candidates a reference has.
    :param registries: who is asked about them.
    :param clock: measures how long it takes.
    :param grace: seconds to wait for a registry when one behind it has the image; 0 to wait until
        it has answered.
    """

    def __init__(
        self, policy: Policy, registries: Registries, clock: Clock, grace: float = 1.0
    ) -> None:
        self._policy = policy
        self._registries = registries
        self._clock = clock
        self._grace = grace

    def resolve(
        self, text: str, earlier: Decision | None = None, failed: Collection[Candidate] = ()
    ) -> Deferred[Decision]:
        """Decide what is pulled for a reference.

        All candidates' registries are asked at the same time; the first in order that has the
        image is the answer, without waiting for those behind it, and with no more than the grace
        for those in front of it. The origin is never asked.

        :param earlier: what was decided before; what its look-ups answered is not asked again.
        :param failed: what could not be pulled, and is not to be tried again.
        :returns: a Deferred that fails with InvalidReferenceError if ``text`` is no reference.
        """
        return maybeDeferred(self._resolve, text, earlier, {one.name for one in failed})

    def _resolve(self, text: str, earlier: Decision | None, failed: set[str]) -> Deferred[Decision]:
        started = self._clock.seconds()
        plan = self._policy.plan(text)
        race = _Race(self._clock, self._grace)
        found = race.run(self._questions(plan, earlier, failed))

        def decide(look_ups: list[LookUp]) -> Decision:
            known = [] if earlier is None else earlier.look_ups
            before = [one for one in known if one.candidate.name in failed]
            chosen = (one for one in attempts(look_ups, plan) if one.name not in failed)
            return Decision(
                attempts=tuple(chosen),
                look_ups=(*before, *look_ups),
                elapsed=self._clock.seconds() - started,
                rule=plan.rule.label if plan.rule is not None else "",
                excluded=plan.excluded,
                origin_allowed=plan.origin_allowed,
            )

        return found.addCallback(decide)

    def _questions(self, plan: Plan, earlier: Decision | None, failed: set[str]) -> list[_Question]:
        known = {} if earlier is None else {one.candidate.name: one for one in earlier.look_ups}
        questions = []
        for candidate in plan.candidates:
            if candidate.name in failed:
                continue
            answer = known.get(candidate.name)
            if answer is not None and not answer.slow:
                questions.append(_Question(candidate, answer=answer))
            else:
                pending = self._registries.look_up(candidate)
                questions.append(_Question(candidate, pending=pending))
        return questions


@attrs.define(eq=False)
class _Question:
    """A look-up under way, or answered before."""

    candidate: Candidate
    pending: Deferred[LookUp] | None = None
    answer: LookUp | None = None


class _Race:
    """Waits for answers until it is clear which is the first in order that says "present"."""

    def __init__(self, clock: Clock, grace: float) -> None:
        self._clock = clock
        self._grace = grace
        self._started = clock.seconds()
        self._questions: Sequence[_Question] = ()
        self._timer: DelayedCall | None = None
        self._over = False
        self._result: Deferred[list[LookUp]] = Deferred(lambda _: self._stop())

    def run(self, questions: Sequence[_Question]) -> Deferred[list[LookUp]]:
        """Return the answers in order, up to the first "present", as soon as it is known."""
        self._questions = questions
        for question in questions:
            if question.pending is not None:
                question.pending.addCallbacks(
                    self._answered, self._failed, callbackArgs=(question,), errbackArgs=(question,)
                )
        self._judge()
        return self._result

    def _answered(self, answer: LookUp, question: _Question) -> None:
        question.answer = answer
        self._judge()

    def _failed(self, failure: Failure, question: _Question) -> None:
        if self._over:
            return
        if failure.check(CancelledError):
            # Not by us: the daemon stops.
            self._answered(LookUp(question.candidate, Outcome.UNKNOWN, "given up"), question)
        else:
            self._stop()
            self._result.errback(failure)

    def _judge(self) -> None:
        """End if it is decided; see to it that it will be."""
        if self._over:
            return
        answers = [question.answer for question in self._questions]
        winner = _winner(answers)
        if None not in answers[:winner]:
            self._end()
        elif winner is not None and self._grace and self._timer is None:
            self._timer = self._clock.callLater(self._grace, self._end)

    def _end(self) -> None:
        winner = _winner([question.answer for question in self._questions])
        decisive = self._questions if winner is None else self._questions[: winner + 1]
        answers = [question.answer or self._slow(question) for question in decisive]
        self._stop()
        self._result.callback(answers)

    def _slow(self, question: _Question) -> LookUp:
        waited = self._clock.seconds() - self._started
        detail = f"slow, no answer after {waited:.1f}s"
        return LookUp(question.candidate, Outcome.UNKNOWN, detail, elapsed=waited, slow=True)

    def _stop(self) -> None:
        """Wait for nobody any more."""
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for question in self._questions:
            if question.pending is not None and question.answer is None:
                question.pending.cancel()


def _winner(answers: Sequence[LookUp | None]) -> int | None:
    """Return the index of the first answer that says "present"."""
    for index, answer in enumerate(answers):
        if answer is not None and answer.outcome is Outcome.PRESENT:
            return index
    return None


def attempts(answers: Iterable[LookUp], plan: Plan) -> tuple[Candidate, ...]:
    """Return what is pulled, in order.

    First what is present. Then registries that were asked but could not tell: the runtime may reach
    what the shim could not. Then the name as it was written, if that is allowed. Registries that
    were not asked because they have been failing come last: they cost a pull nothing that can be
    had elsewhere. One that did not answer in time is not tried at all, for it would hang the pull.
    """
    answers = list(answers)
    unknown = [a for a in answers if a.outcome is Outcome.UNKNOWN and not a.timed_out]
    return (
        *(a.candidate for a in answers if a.outcome is Outcome.PRESENT),
        *(a.candidate for a in unknown if a.asked),
        *((plan.as_written,) if plan.origin_allowed else ()),
        *(a.candidate for a in unknown if not a.asked),
    )
