"""Which registries are failing, so that nobody waits for them again and again.

A circuit breaker for each registry: closed while it answers; open for a time after it failed to;
then half open, when one look-up tries it again and the others still go without.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable

import attrs

from image_cri_shim.back_off import doubled
from image_cri_shim.clock import Clock
from image_cri_shim.decision import Outcome
from image_cri_shim.logs import logger
from image_cri_shim.registry.answer import Answer
from image_cri_shim.registry.exchange import RETRY_LIMIT

# Look-ups without an answer, one after the other, that open a breaker. A time-out opens it at once,
# for the next one would cost as much; so does a registry that asks to be left alone.
THRESHOLD = 3
_log = logger("registry")


@attrs.frozen
class BackOff:
    """For how long a failing registry is left alone, in seconds.

    :ivar first: when its breaker opens; doubled each time that a trial fails.
    :ivar longest: never longer than this, unless the registry itself asks for it.
    :ivar jitter: the share by which the time is longer at most, so that the nodes of a cluster do
        not come back all at once.
    """

    first: float = 5.0
    longest: float = 300.0
    jitter: float = 0.2

    def delay(self, openings: int, retry_after: float | None, chance: float) -> float:
        """Return the time to wait.

        :param openings: how often the breaker has opened without an answer in between, from 1.
        :param retry_after: what the registry asked for, if it did; no more than RETRY_LIMIT counts.
        :param chance: from 0 to 1, drawn anew each time.
        """
        longer = 1.0 + self.jitter * chance
        delay = doubled(self.first, self.longest, openings) * longer
        return max(delay, min((retry_after or 0.0) * longer, RETRY_LIMIT))


class State(enum.Enum):
    """What a registry's breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@attrs.frozen
class Condition:
    """How a registry does, for whoever looks.

    :ivar failures: look-ups that failed one after the other.
    :ivar detail: how the last one of them failed; empty if there is none.
    :ivar wait: seconds until it is tried again; 0 if it may be asked.
    :ivar lasting: seconds since the first of these failures; 0 if there is none.
    """

    name: str
    state: State
    failures: int = 0
    detail: str = ""
    wait: float = 0.0
    lasting: float = 0.0


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

    :ivar openings: how often its breaker had opened when it was given.
    :ivar meanwhile: for a trial, what those are told who do not wait for it.
    """

    name: str
    openings: int
    meanwhile: Skip | None = None


@attrs.define(eq=False)
class _Breaker:
    """A registry that failed.

    :ivar since: when it failed first without an answer in between, on the clock.
    :ivar openings: how often it opened without an answer in between; 0 while it is closed.
    :ivar until: when it may be tried again, on the clock.
    :ivar trying: whether someone tries it right now.
    """

    since: float
    failures: int = 0
    openings: int = 0
    until: float = 0.0
    detail: str = ""
    timed_out: bool = False
    trying: bool = False


class Health:
    """Remembers how registries, by name, have answered.

    :param back_off: the policy for how long they are left alone.
    :param draw: returns a number from 0 to 1, another one each time.
    """

    def __init__(
        self,
        clock: Clock,
        back_off: BackOff | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._back_off = back_off if back_off is not None else BackOff()
        self._draw = draw
        self._breakers: dict[str, _Breaker] = {}

    def condition(self, name: str) -> Condition:
        """Say how a registry does."""
        breaker = self._breakers.get(name)
        if breaker is None:
            return Condition(name, State.CLOSED)
        now = self._clock.seconds()
        wait = max(breaker.until - now, 0.0) if breaker.openings else 0.0
        state = State.OPEN if wait and not breaker.trying else State.HALF_OPEN
        if not breaker.openings:
            state = State.CLOSED
        lasting = now - breaker.since
        return Condition(name, state, breaker.failures, breaker.detail, wait, lasting)

    def forgive(self, name: str | None = None) -> int:
        """Forget the failures of a registry, or of all; return how many breakers were open."""
        names = list(self._breakers) if name is None else [name]
        forgotten = [self._breakers.pop(one, None) for one in names]
        return sum(1 for one in forgotten if one is not None and one.openings)

    def skip(self, name: str) -> Skip | None:
        """Say why a registry may not be asked now; None if it may be."""
        breaker = self._breakers.get(name)
        if breaker is None or not breaker.openings:
            return None
        wait = breaker.until - self._clock.seconds()
        return self._meanwhile(breaker, wait) if wait > 0 or breaker.trying else None

    def admit(self, name: str) -> Leave | Skip:
        """Say whether a registry may be asked now.

        Whoever gets leave must hand it in with ``record`` or ``withdraw``.
        """
        skip = self.skip(name)
        if skip is not None:
            return skip
        breaker = self._breakers.get(name)
        if breaker is None or not breaker.openings:
            return Leave(name, 0)
        breaker.trying = True
        return Leave(name, breaker.openings, self._meanwhile(breaker, 0.0))

    def record(self, leave: Leave, answer: Answer) -> None:
        """Take note of what came of asking: one "yes" or "no" makes a registry healthy again."""
        name = leave.name
        if answer.look_up.outcome is not Outcome.UNKNOWN:
            breaker = self._breakers.pop(name, None)
            if breaker is not None and breaker.openings:
                _log.info("registry {name} answers again", name=name)
            return
        breaker = self._breakers.setdefault(name, _Breaker(self._clock.seconds()))
        if breaker.openings != leave.openings:
            # It had been asked before the breaker opened; that is one failure, not several.
            return
        breaker.failures += 1
        breaker.detail = answer.look_up.detail
        breaker.timed_out = answer.look_up.timed_out
        breaker.trying = False
        at_once = breaker.openings or breaker.timed_out or answer.retry_after is not None
        if at_once or breaker.failures >= THRESHOLD:
            breaker.openings += 1
            delay = self._back_off.delay(breaker.openings, answer.retry_after, self._draw())
            breaker.until = self._clock.seconds() + delay
            _log.warn(
                "registry {name} is not asked for {delay} s: {detail}",
                name=name,
                delay=math.ceil(delay),
                detail=breaker.detail,
            )

    def withdraw(self, leave: Leave) -> None:
        """Take note that a look-up was given up before it had an answer."""
        breaker = self._breakers.get(leave.name)
        if breaker is not None and breaker.openings == leave.openings:
            breaker.trying = False

    @staticmethod
    def _meanwhile(breaker: _Breaker, wait: float) -> Skip:
        when = f"next try in {math.ceil(wait)}s" if wait > 0 else "being tried again right now"
        return Skip(f"not asked: {breaker.detail}, {when}", breaker.timed_out)
