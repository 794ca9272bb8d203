"""What is counted and timed, as cheaply as can be: every call of every client passes here.

Plain numbers without locks, for everything happens in one thread. How they are shown to whoever
collects them is ``admin.exposition``'s matter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

import attrs

from image_cri_shim.decision import LookUp
from image_cri_shim.histogram import CALL_BOUNDS, SHIM_BOUNDS, Histogram
from image_cri_shim.pull_book import Event
from image_cri_shim.pull_measurements import PullMeasurements
from image_cri_shim.pull_record import PullRecord
from image_cri_shim.registry.cache_totals import CacheTotals
from image_cri_shim.registry.measurements import AskedRegistry

# What is called a method, or a version, that nobody knows: clients cannot make up new ones.
OTHER = "other"
# Failed calls of one method that are remembered.
_FAILED = 5


class MethodCalls:
    """The calls of one method of one CRI version.

    :param timed: whether they end by themselves, so that it says something how long they take.
    :ivar ended: how many have ended, by status code.
    :ivar whole: seconds from the request to the end of the answer.
    :ivar runtime: the part of them in which the runtime was waited for.
    :ivar shim: the rest.
    :ivar well: when one ended well the last time, in seconds since 1970; 0 for never.
    """

    __slots__ = (
        "ended",
        "name",
        "runtime",
        "service",
        "shim",
        "timed",
        "version",
        "well",
        "whole",
    )

    def __init__(self, version: str, service: str, name: str, *, timed: bool) -> None:
        self.version = version
        self.service = service
        self.name = name
        self.timed = timed
        self.ended: dict[int, int] = {}
        self.well = 0.0
        self.whole = Histogram(CALL_BOUNDS)
        self.runtime = Histogram(CALL_BOUNDS)
        self.shim = Histogram(SHIM_BOUNDS)

    def note(self, code: int, whole: float, runtime: float) -> None:
        """Take note of a call that is over.

        :param code: gRPC's status code; 2 (UNKNOWN) for what is none.
        :param whole: how long it took, in seconds.
        :param runtime: the seconds in which the runtime was waited for.
        """
        self.ended[code] = self.ended.get(code, 0) + 1
        if not self.timed:
            return
        # Written out, not by Histogram.observe: this is done for each call.
        histogram = self.whole
        histogram.counts[bisect_left(CALL_BOUNDS, whole)] += 1
        histogram.total += whole
        histogram = self.runtime
        histogram.counts[bisect_left(CALL_BOUNDS, runtime)] += 1
        histogram.total += runtime
        # In between, it may have been waited for by several at the same time.
        rest = whole - runtime if whole > runtime else 0.0
        histogram = self.shim
        histogram.counts[bisect_left(SHIM_BOUNDS, rest)] += 1
        histogram.total += rest


@attrs.frozen
class MethodTimes:
    """How long the calls of one method took, in both CRI versions; see MethodCalls."""

    whole: Histogram
    runtime: Histogram
    shim: Histogram

    def __add__(self, other: MethodTimes) -> MethodTimes:
        """Return those of both."""
        return MethodTimes(
            self.whole + other.whole, self.runtime + other.runtime, self.shim + other.shim
        )


@attrs.frozen
class FailedCall:
    """A call that did not end well.

    :ivar at: seconds since 1970.
    :ivar method: ``RunPodSandbox``.
    :ivar code: gRPC's status code.
    :ivar message: the status message, without secrets and bounded.
    """

    at: float
    method: str
    code: int
    message: str


class CallMeasurements:
    """The clients' calls.

    :ivar methods: the calls of each method, by its path; of those that nobody knows together. It
        is ``cri.account`` that knows which is which.
    :ivar last: when the last one ended, in seconds since 1970; None for never.
    :ivar own: those of the shim's own commands, by service: no node depends on them.
    """

    def __init__(self) -> None:
        self.methods: dict[bytes, MethodCalls] = {}
        self.last: float | None = None
        self.own: Counter[str] = Counter()
        self._failed: dict[str, deque[FailedCall]] = {}

    def note_failure(self, failed: FailedCall) -> None:
        """Remember a call that did not end well, as one of the last of its method."""
        self._failed.setdefault(failed.method, deque(maxlen=_FAILED)).append(failed)

    @property
    def failed(self) -> list[FailedCall]:
        """The last that did not end well, of methods that have not ended well since; in order."""
        well: dict[str, float] = {}
        for calls in self.methods.values():
            well[calls.name] = max(well.get(calls.name, 0.0), calls.well)
        found = (one for several in self._failed.values() for one in several)
        return sorted(
            (one for one in found if one.at > well.get(one.method, 0.0)), key=lambda one: one.at
        )

    @property
    def ended(self) -> Counter[tuple[str, str, int]]:
        """How many have ended, by CRI version, method and status code."""
        return Counter(
            {
                (calls.version, calls.name, code): count
                for calls in self.methods.values()
                for code, count in calls.ended.items()
            }
        )

    @property
    def times(self) -> dict[str, MethodTimes]:
        """How long they took, by method; of those only that end by themselves."""
        found: dict[str, MethodTimes] = {}
        for calls in self.methods.values():
            if calls.timed:
                times = MethodTimes(calls.whole, calls.runtime, calls.shim)
                known = found.get(calls.name)
                found[calls.name] = times if known is None else known + times
        return found

    @property
    def services(self) -> Counter[str]:
        """How many there were, by service."""
        found: Counter[str] = Counter()
        for calls in self.methods.values():
            found[calls.service] += sum(calls.ended.values())
        return found


@attrs.frozen
class Reloads:
    """How the configuration was read again.

    :ivar taken: how many reloads took it.
    :ivar refused: how many did not.
    :ivar loaded_at: when the configuration that runs was taken, in seconds since 1970.
    :ivar current: whether it is what the files say.
    """

    taken: int
    refused: int
    loaded_at: float
    current: bool


@attrs.frozen
class RuntimeState:
    """How the runtime is.

    :ivar connected: whether there is a connection to it.
    :ivar name: what it calls itself; empty if it is not known, as the others.
    :ivar version: its own.
    :ivar cri_version: the CRI version that it is spoken to.
    """

    connected: bool
    name: str = ""
    version: str = ""
    cri_version: str = ""


class Measurements:
    """Everything that is counted and timed, over all reloads.

    What changes by itself is not told to it, but read when somebody wants to know, by functions
    that whoever has the parts sets. Each must be quick, and may return None for "not known".

    :ivar calls: the clients' calls; fed by ``cri.account``.
    :ivar pulls: the pulls; fed by ``note_pull``.
    :ivar registries: the look-ups in each registry that is or was configured, by its name; one that
        was never asked is missing. Fed by ``note_look_up``.
    :ivar origins: the look-ups in all others together.
    :ivar cache: the look-up caches, of all configurations; see ``CacheTotals.follow``.
    :ivar breakers: returns the state of the breaker (``closed``, ``open``, ``half-open``) of each
        configured registry, by its name.
    :ivar reloads: returns what came of reloads.
    :ivar runtime: returns how the runtime is.
    :ivar clients: returns how many clients are connected.
    :ivar running: returns how many of their calls run.
    :ivar lines_lost: returns how many lines of the log were dropped because they could not be
        written in time.
    :ivar history: returns whether pulls are written to the history; None if none is kept.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.calls = CallMeasurements()
        self.breakers: Callable[[], Mapping[str, str]] = dict
        self.pulls = PullMeasurements(self._configured)
        self.registries: dict[str, AskedRegistry] = {}
        self.origins = AskedRegistry()
        self.cache = CacheTotals()
        self.reloads: Callable[[], Reloads | None] = _unknown
        self.runtime: Callable[[], RuntimeState | None] = _unknown
        self.clients: Callable[[], int | None] = _unknown
        self.running: Callable[[], int | None] = _unknown
        self.lines_lost: Callable[[], int | None] = _unknown
        self.history: Callable[[], bool | None] = _unknown

    def note_pull(self, event: Event, record: PullRecord) -> None:
        """Take note of what happens to pulls; see ``PullBook.watch``."""
        self.pulls.note(event, record)

    def note_look_up(self, look_up: LookUp) -> None:
        """Take note of a look-up that the cache could not answer; see ``LookUps``."""
        registry = look_up.candidate.registry
        if registry is None:
            # Any host that somebody has written into a pod.
            asked = self.origins
        else:
            asked = self.registries.setdefault(registry.name, AskedRegistry())
        asked.note(look_up, self._now())

    def _configured(self) -> Iterable[str]:
        return self.breakers()


def _unknown() -> None:
    return None
