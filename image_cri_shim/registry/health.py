"""Which registries are failing, so that nobody waits for them again and again.

A circuit breaker for each registry: closed while it answers; open for a time after it failed to;
then half open, when one look-up tries it again and the others still go without.
"""

from __future__ import annotations

import math

import attrs

from image_cri_shim.clock import Clock
from image_cri_shim.registry.answer import Answer


@attrs.frozen
class BackOff:
    """For how long a failing registry is left alone, in seconds.

    :ivar first: after the first failure; doubled with every further one.
    :ivar longest: never longer than this.
    """

    first: float = 5.0
    longest: float = 300.0

    def delay(self, failures: int, retry_after: float | None) -> float:  # noqa: ARG002
        """Return the time to wait.

        :param failures: how many look-ups failed one after the other, from 1.
        :param retry_after: what the registry asked for, if it did.
        """
        # The exponent is bounded because the registry may be gone for months.
        return min(self.first * 2.0 ** min(failures - 1, 32), self.longest)


@attrs.frozen
class Skip:
    """A registry is not to be asked now.

    :ivar detail: why, for the operator.
    :ivar timed_out: whether what failed last was that it did not answer in time.
    """

    detail: str
    timed_out: bool


@attrs.frozen
class Leave:
    """The permission to ask a registry; it is handed in again with what came of it.

    :ivar failures: how many had failed one after the other when it was given.
    :ivar meanwhile: for a registry that failed before, what those are told who do not wait for
        this trial.
    """

    domain: str
    failures: int
    meanwhile: Skip | None = None


@attrs.define(eq=False)
class _Failing:
    """A registry that failed.

    :ivar until: when it may be asked again, on the clock.
    :ivar trying: whether someone asks it right now.
    """

    failures: int
    until: float
    detail: str
    timed_out: bool
    trying: bool = False


class Health:
    """Remembers how registries, by domain, have answered.

    :param back_off: the policy for how long they are left alone.
    """

    def __init__(self, clock: Clock, back_off: BackOff | None = None) -> None:
        self._clock = clock
        self._back_off = back_off if back_off is not None else BackOff()
        self._failing: dict[str, _Failing] = {}

    def admit(self, domain: str) -> Leave | Skip:
        """Say whether a registry may be asked now.

        Whoever gets leave must hand it in with ``record`` or ``withdraw``.
        """
        failing = self._failing.get(domain)
        if failing is None:
            return Leave(domain, 0)
        wait = failing.until - self._clock.seconds()
        trial = wait <= 0 and not failing.trying
        when = f"next try in {math.ceil(wait)}s" if wait > 0 else "being tried again right now"
        skip = Skip(f"not asked: {failing.detail}, {when}", failing.timed_out)
        if not trial:
            return skip
        failing.trying = True
        return Leave(domain, failing.failures, skip)

    def record(self, leave: Leave, answer: Answer) -> None:
        """Take note of what came of asking: one answer makes a registry healthy again."""
        failing = self._failing.get(leave.domain)
        if not answer.failing:
            self._failing.pop(leave.domain, None)
            return
        failures = failing.failures if failing is not None else 0
        if failures != leave.failures:
            # Several had been asking when it failed; that is one failure, not several.
            return
        failures += 1
        self._failing[leave.domain] = _Failing(
            failures,
            self._clock.seconds() + self._back_off.delay(failures, answer.retry_after),
            answer.look_up.detail,
            answer.look_up.timed_out,
        )

    def withdraw(self, leave: Leave) -> None:
        """Take note that a look-up was given up before it had an answer."""
        failing = self._failing.get(leave.domain)
        if failing is not None and failing.failures == leave.failures:
            failing.trying = False
