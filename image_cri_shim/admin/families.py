"""The metric families: their names, their meaning, and where their values come from.

No label has a value that a client could make up: there is none with an image's name, and registries
that are not configured are all called ``origin``. ``docs/metrics.md`` has the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeAlias

import attrs

from image_cri_shim import __version__
from image_cri_shim.decision import Outcome
from image_cri_shim.histogram import Histogram
from image_cri_shim.measurements import Measurements, MethodTimes
from image_cri_shim.pull_measurements import ORIGIN
from image_cri_shim.registry.measurements import AskedRegistry
from image_cri_shim.status_codes import code_name

PREFIX = "image_cri_shim_"
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
# The values of the labels, in their order, and what was measured.
Sample: TypeAlias = tuple[tuple[str, ...], float | Histogram]

# A runtime may call itself what it likes, but not at any length.
_SHOWN = 100
_BREAKER_STATES = ("closed", "open", "half-open")
_DROPPED = ("expired", "full", "forgotten", "flushed")


@attrs.frozen
class Family:
    """Metrics of one name.

    :ivar name: without the prefix.
    :ivar meaning: what it says, in one line.
    :ivar labels: the names of its labels.
    :ivar samples: returns what there is to tell; nothing for what is not known.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...]
    samples: Callable[[Measurements], Iterable[Sample]]

    @property
    def full_name(self) -> str:
        """The name as it is shown."""
        return PREFIX + self.name


def _one(value: float | None) -> Iterable[Sample]:
    return () if value is None else (((), value),)


def _requests(measured: Measurements) -> Iterator[Sample]:
    for (version, method, code), count in measured.calls.ended.items():
        yield (version, method, code_name(code)), count


def _request_times(
    part: Callable[[MethodTimes], Histogram],
) -> Callable[[Measurements], Iterator[Sample]]:
    """Return what yields one part of the times of calls."""

    def samples(measured: Measurements) -> Iterator[Sample]:
        for name, times in measured.calls.times.items():
            yield (name,), part(times)

    return samples


def _asked(measured: Measurements) -> Iterator[tuple[str, AskedRegistry]]:
    yield from measured.registries.items()
    yield ORIGIN, measured.origins


def _look_ups(measured: Measurements) -> Iterator[Sample]:
    for name, asked in _asked(measured):
        for outcome, count in asked.outcomes.items():
            yield (name, outcome), count


def _look_up_times(measured: Measurements) -> Iterator[Sample]:
    for name, asked in _asked(measured):
        for outcome, times in asked.times.items():
            yield (name, outcome), times


def _registry_up(measured: Measurements) -> Iterator[Sample]:
    for name, state in measured.breakers().items():
        asked = measured.registries.get(name)
        if asked is not None and asked.last is not None:
            answered = asked.last.outcome is not Outcome.UNKNOWN
            yield (name,), float(answered and state == "closed")


def _breakers(measured: Measurements) -> Iterator[Sample]:
    for name, state in measured.breakers().items():
        for one in _BREAKER_STATES:
            yield (name, one), float(one == state)


def _cache_hits(measured: Measurements) -> Iterator[Sample]:
    hits = measured.cache.hits
    for outcome in Outcome:
        yield (outcome.value,), hits[outcome.value]


def _cache_evictions(measured: Measurements) -> Iterator[Sample]:
    dropped = measured.cache.dropped
    for reason in _DROPPED:
        yield (reason,), dropped[reason]


def _reloads(measured: Measurements) -> Iterator[Sample]:
    reloads = measured.reloads()
    if reloads is not None:
        yield ("success",), reloads.taken
        yield ("failure",), reloads.refused


def _loaded_at(measured: Measurements) -> Iterable[Sample]:
    reloads = measured.reloads()
    return _one(None if reloads is None else reloads.loaded_at)


def _current(measured: Measurements) -> Iterable[Sample]:
    reloads = measured.reloads()
    return _one(None if reloads is None else reloads.current)


def _connected(measured: Measurements) -> Iterable[Sample]:
    runtime = measured.runtime()
    return _one(None if runtime is None else runtime.connected)


def _runtime(measured: Measurements) -> Iterator[Sample]:
    runtime = measured.runtime()
    if runtime is not None and runtime.connected:
        yield (runtime.name[:_SHOWN], runtime.version[:_SHOWN], runtime.cri_version), 1


FAMILIES = (
    Family(
        "cri_requests_total",
        "counter",
        "Calls of clients that have ended, by CRI version, method and gRPC status.",
        ("version", "method", "code"),
        _requests,
    ),
    Family(
        "cri_requests_in_progress",
        "gauge",
        "Calls of clients that run now.",
        (),
        lambda measured: _one(measured.running()),
    ),
    Family(
        "cri_request_duration_seconds",
        "histogram",
        "From a client's request to the end of the answer.",
        ("method",),
        _request_times(lambda times: times.whole),
    ),
    Family(
        "cri_request_runtime_seconds",
        "histogram",
        "The part of cri_request_duration_seconds in which the runtime was waited for.",
        ("method",),
        _request_times(lambda times: times.runtime),
    ),
    Family(
        "cri_request_shim_seconds",
        "histogram",
        "The rest of cri_request_duration_seconds; of PullImage it has the look-ups in it.",
        ("method",),
        _request_times(lambda times: times.shim),
    ),
    Family(
        "pulls_total",
        "counter",
        "Pulls that have ended, by what was tried last and what came of it.",
        ("kind", "registry", "outcome"),
        lambda measured: measured.pulls.ended.items(),
    ),
    Family(
        "pull_duration_seconds",
        "histogram",
        "From a client's PullImage to its answer.",
        ("outcome",),
        lambda measured: (((one,), times) for one, times in measured.pulls.times.items()),
    ),
    Family(
        "pulls_in_progress",
        "gauge",
        "Pulls that run now.",
        (),
        lambda measured: _one(measured.pulls.in_progress),
    ),
    Family(
        "rewrites_total",
        "counter",
        "Rewritten names that the runtime was asked to pull, and what came of it.",
        ("registry", "outcome"),
        lambda measured: measured.pulls.rewritten.items(),
    ),
    Family(
        "failovers_total",
        "counter",
        "Pulls that failed from one source and were tried from another.",
        ("from", "to"),
        lambda measured: measured.pulls.failed_over.items(),
    ),
    Family(
        "look_ups_total",
        "counter",
        "Look-ups that the cache could not answer.",
        ("registry", "outcome"),
        _look_ups,
    ),
    Family(
        "look_up_duration_seconds",
        "histogram",
        "From the question to a registry to its answer.",
        ("registry", "outcome"),
        _look_up_times,
    ),
    Family(
        "registry_up",
        "gauge",
        "Whether a registry answered the last look-up; missing before it has been asked.",
        ("registry",),
        _registry_up,
    ),
    Family(
        "registry_breaker_state",
        "gauge",
        "1 for the state that a registry's breaker is in, 0 for the others.",
        ("registry", "state"),
        _breakers,
    ),
    Family(
        "cache_hits_total",
        "counter",
        "Look-ups that the cache answered, by what the answer was.",
        ("outcome",),
        _cache_hits,
    ),
    Family(
        "cache_misses_total",
        "counter",
        "Look-ups that the cache could not answer, shared and skipped ones included.",
        (),
        lambda measured: _one(measured.cache.misses),
    ),
    Family(
        "cache_evictions_total",
        "counter",
        "Answers that the cache dropped, by the reason.",
        ("reason",),
        _cache_evictions,
    ),
    Family(
        "cache_entries",
        "gauge",
        "Answers that the cache holds now.",
        (),
        lambda measured: _one(measured.cache.held),
    ),
    Family(
        "cache_entries_limit",
        "gauge",
        "Answers that the cache holds at most.",
        (),
        lambda measured: _one(measured.cache.size),
    ),
    Family(
        "config_reloads_total",
        "counter",
        "Reloads of the configuration since the start.",
        ("outcome",),
        _reloads,
    ),
    Family(
        "config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration that runs was taken, in seconds since 1970.",
        (),
        _loaded_at,
    ),
    Family(
        "config_current",
        "gauge",
        "Whether the configuration that runs is what the files say.",
        (),
        _current,
    ),
    Family(
        "runtime_connected",
        "gauge",
        "Whether there is a connection to the container runtime.",
        (),
        _connected,
    ),
    Family(
        "runtime_info",
        "gauge",
        "What the connected runtime says of itself; always 1.",
        ("name", "version", "cri_version"),
        _runtime,
    ),
    Family(
        "clients",
        "gauge",
        "Clients that are connected.",
        (),
        lambda measured: _one(measured.clients()),
    ),
    Family(
        "log_lines_lost_total",
        "counter",
        "Lines of the log that were dropped because nobody took them in time.",
        (),
        lambda measured: _one(measured.lines_lost()),
    ),
    Family(
        "history_up",
        "gauge",
        "Whether pulls are written to the history; missing if none is kept.",
        (),
        lambda measured: _one(measured.history()),
    ),
    Family(
        "build_info",
        "gauge",
        "The version of the shim; always 1.",
        ("version",),
        lambda _: (((__version__,), 1),),
    ),
)
