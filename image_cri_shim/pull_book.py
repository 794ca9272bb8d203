"""The book of pulls: those that run, and the last ones with the reasons for what was decided."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

import attrs

from image_cri_shim.call_identity import CallIdentity
from image_cri_shim.clock import Clock
from image_cri_shim.decision import Attempt, Candidate, Decision, LookUp, Pull
from image_cri_shim.pull_record import Asked, Phase, PullRecord, Tried
from image_cri_shim.reason import explain
from image_cri_shim.redaction import Redactor, cut, image_told, told

# What is kept of the look-ups and of the attempts of one pull.
_LISTED = 16
_ONE_LINE = Redactor()


class Event(enum.Enum):
    """What has happened to a pull."""

    BEGUN = "begun"
    DECIDED = "decided"
    TRYING = "trying"
    ENDED = "ended"


# Is told of what happens to pulls, with what is known of the pull after it.
Watcher: TypeAlias = Callable[[Event, PullRecord], None]


class PullBook:
    """Keeps what is known of pulls, and tells who watches.

    :param clock: measures how long they take.
    :param now: returns the seconds since 1970.
    :param kept: how many are remembered.
    :param complain: is told of what a watcher raises, which is no reason for a pull to fail.
    :ivar redactor: keeps the configured secrets out of it.
    :ivar pulled: how many pulls succeeded.
    :ivar failed: how many did not.
    """

    def __init__(
        self,
        clock: Clock,
        now: Callable[[], float],
        kept: int = 1000,
        complain: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.redactor = Redactor()
        self._clock = clock
        self._now = now
        self._kept = kept
        self._complain = complain
        self._records: OrderedDict[int, PullRecord] = OrderedDict()
        self._running: dict[int, PullRecord] = {}
        self._last = 0
        self.pulled = self.failed = 0
        self._watchers: list[Watcher] = []

    @property
    def running(self) -> tuple[PullRecord, ...]:
        """The pulls that run, in the order in which they began."""
        return tuple(self._running.values())

    @property
    def recent(self) -> tuple[PullRecord, ...]:
        """The last pulls, in the order in which they began."""
        return tuple(self._records.values())

    @property
    def last(self) -> int:
        """The number of the last pull that began; 0 for none."""
        return self._last

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell ``watcher`` of everything that happens from now on.

        :returns: what ends that.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def began(self, image: str, identity: CallIdentity) -> WatchedPull:
        """Take note of a pull that begins."""
        self._last += 1
        record = PullRecord(
            number=self._last,
            call=identity.call,
            image=image_told(image, self.redactor),
            began=self._now(),
            client=identity.client,
            trace=identity.trace,
        )
        self._note(Event.BEGUN, record)
        return WatchedPull(self, record, self._clock.seconds())

    def _note(self, event: Event, record: PullRecord) -> None:
        self._records[record.number] = record
        if record.over:
            self._running.pop(record.number, None)
        else:
            self._running[record.number] = record
        if len(self._records) > self._kept:
            self._records.popitem(last=False)
        for watcher in tuple(self._watchers):
            try:
                watcher(event, record)
            except Exception as error:  # noqa: BLE001 - whatever it is, the pull goes on
                self._complain(error)


@attrs.define(eq=False)
class WatchedPull:
    """One pull in the book, for whoever makes it.

    :ivar record: what is known of it.
    """

    _book: PullBook
    record: PullRecord
    _started: float

    def decided(self, decision: Decision) -> None:
        """Take note of the first decision, before anything is pulled."""
        first = decision.attempts[0] if decision.attempts else None
        record = attrs.evolve(
            self.record,
            # Masking its own words would give a secret away; but they may repeat what others said.
            reason=cut(_ONE_LINE.clean(explain(decision))),
            rule=decision.excluded or decision.rule,
            look_ups=_asked(decision.look_ups),
        )
        self._change(Event.DECIDED, record if first is None else _at(record, first))

    def trying(self, candidate: Candidate, decision: Decision) -> None:
        """Take note of what the runtime is asked for now.

        :param decision: the last one, with all that was asked until now.
        """
        known = {one.name: one for one in self.record.look_ups}
        known |= {one.name: one for one in _asked(decision.look_ups)}
        found = decision.look_up(candidate)
        record = attrs.evolve(
            _at(self.record, candidate),
            phase=Phase.PULLING,
            look_ups=tuple(known.values())[:_LISTED],
            digest=(found.digest if found is not None else None) or "",
        )
        self._change(Event.TRYING, record)

    def ended(self, pull: Pull) -> None:
        """Take note of what came of it."""
        record = self.record
        attempts = pull.attempts[:_LISTED]
        if pull.error:
            self._book.failed += 1
        else:
            self._book.pulled += 1
        self._change(
            Event.ENDED,
            attrs.evolve(
                _at(record, pull.attempts[-1].candidate) if pull.attempts else record,
                phase=Phase.FAILED if pull.error else Phase.PULLED,
                attempts=tuple(self._tried(one) for one in attempts),
                image_ref=cut(_ONE_LINE.clean(pull.image_ref)),
                digest="" if pull.error else record.digest,
                error=told(pull.error, self._book.redactor),
                seconds=pull.elapsed,
            ),
        )

    def _tried(self, attempt: Attempt) -> Tried:
        candidate = attempt.candidate
        error = told(attempt.error, self._book.redactor)
        return Tried(candidate.name, candidate.source, error, attempt.elapsed)

    def _change(self, event: Event, record: PullRecord) -> None:
        self.record = record
        self._book._note(event, record)  # noqa: SLF001 - it is the book's own page


def _at(record: PullRecord, candidate: Candidate) -> PullRecord:
    return attrs.evolve(
        record, name=candidate.name, registry=candidate.source, kind=candidate.label
    )


def _asked(look_ups: tuple[LookUp, ...]) -> tuple[Asked, ...]:
    return tuple(
        Asked(
            registry=one.candidate.source,
            name=one.candidate.name,
            outcome=one.outcome.value,
            detail=cut(_ONE_LINE.clean(one.detail)),
            cached=one.cached,
            seconds=one.elapsed,
        )
        for one in look_ups[:_LISTED]
    )
