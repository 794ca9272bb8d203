"""What is counted and timed of pulls, by registry: never by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from image_cri_shim.decision import GIVEN_UP
from image_cri_shim.histogram import LONG_BOUNDS, Histogram
from image_cri_shim.pull_book import Event
from image_cri_shim.pull_record import Phase, PullRecord

# What a registry is called that is not configured: pods may name any host.
ORIGIN = "origin"
# What stands for the source of a pull that has none: it was refused or given up before, or the
# image is an ID and went to the runtime as it is.
NONE = "none"
PULLED = "pulled"
FAILED = "failed"
CANCELLED = "cancelled"
_ORIGINS_KIND = "origin"


class PullMeasurements:
    """The clients' pulls.

    :param configured: returns the names of the configured registries.
    :ivar ended: how many have ended, by kind of the last source, registry and outcome.
    :ivar rewritten: how often a rewritten name was pulled, by registry and outcome.
    :ivar failed_over: how often another source was tried, by the one before and that one.
    :ivar times: how long they took, by outcome.
    """

    def __init__(self, configured: Callable[[], Iterable[str]]) -> None:
        self._configured = configured
        # All that ever were: pulls go on under the configuration that they began with.
        self._names: set[str] = set()
        # What each pull that runs is trying, by number: its source's kind and registry.
        self._running: dict[int, tuple[str, str] | None] = {}
        self.ended: Counter[tuple[str, str, str]] = Counter()
        self.rewritten: Counter[tuple[str, str]] = Counter()
        self.failed_over: Counter[tuple[str, str]] = Counter()
        self.times = {one: Histogram(LONG_BOUNDS) for one in (PULLED, FAILED, CANCELLED)}

    @property
    def in_progress(self) -> int:
        """How many pulls run."""
        return len(self._running)

    def note(self, event: Event, record: PullRecord) -> None:
        """Take note of what has happened to a pull; see ``PullBook.watch``."""
        if event is Event.BEGUN:
            self._names.update(self._configured())
            self._running[record.number] = None
        elif event is Event.TRYING:
            self._try(record)
        elif event is Event.ENDED:
            self._end(record)

    def _try(self, record: PullRecord) -> None:
        source = (record.kind, self._registry(record))
        before = self._running.get(record.number)
        if before is not None:
            self._tried(before, FAILED)
            self.failed_over[before[1], source[1]] += 1
        self._running[record.number] = source

    def _end(self, record: PullRecord) -> None:
        source = self._running.pop(record.number, None)
        outcome = _outcome(record)
        if source is not None:
            self._tried(source, outcome)
        kind, registry = (NONE, NONE) if source is None else source
        self.ended[kind, registry, outcome] += 1
        self.times[outcome].observe(record.seconds or 0.0)

    def _tried(self, source: tuple[str, str], outcome: str) -> None:
        kind, registry = source
        if kind != _ORIGINS_KIND:
            self.rewritten[registry, outcome] += 1

    def _registry(self, record: PullRecord) -> str:
        return record.registry if record.registry in self._names else ORIGIN


def _outcome(record: PullRecord) -> str:
    if record.phase is Phase.PULLED:
        return PULLED
    return CANCELLED if record.error == GIVEN_UP else FAILED
