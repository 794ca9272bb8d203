"""What is counted and timed, and what it costs no memory to count."""

from __future__ import annotations

import math
from typing import Any

import attrs
from twisted.internet.task import Clock

from image_cri_shim.config import CacheConfig
from image_cri_shim.decision import LookUp, Outcome, Registry
from image_cri_shim.histogram import Histogram
from image_cri_shim.measurements import CallMeasurements, FailedCall, Measurements, MethodCalls
from image_cri_shim.registry.cache import LookUpCache
from tests.registry.network import candidate

PRESENT, ABSENT, UNKNOWN = Outcome.PRESENT, Outcome.ABSENT, Outcome.UNKNOWN
HARBOR = candidate("harbor.corp/a:1", Registry("harbor.corp"))
KEY = ("harbor.corp", "a", "1", "")


# Histograms


def test_a_value_is_counted_in_the_first_class_that_it_fits_into() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 8.0
    assert list(histogram.cumulative()) == [(1.0, 2), (2.0, 4), (math.inf, 5)]


def test_two_histograms_are_added_up() -> None:
    one, other = Histogram((1.0,)), Histogram((1.0,))
    one.observe(0.5)
    other.observe(0.5)
    other.observe(2.0)
    both = one + other
    assert (both.counts, both.total) == ([2, 1], 3.0)
    assert (one.counts, other.counts) == ([1, 0], [1, 1])


# Calls


def test_the_shims_part_of_a_call_is_what_the_runtime_did_not_take() -> None:
    calls = MethodCalls("v1", "ImageService", "ImageStatus", timed=True)
    calls.note(0, 0.75, 0.5)
    assert (calls.whole.total, calls.runtime.total, calls.shim.total) == (0.75, 0.5, 0.25)


def test_a_runtime_that_several_waited_for_at_once_leaves_the_shim_no_time_below_zero() -> None:
    calls = MethodCalls("v1", "ImageService", "ImageStatus", timed=True)
    calls.note(0, 0.5, 0.75)
    assert (calls.shim.total, calls.shim.counts[0]) == (0.0, 1)


def test_calls_that_do_not_end_by_themselves_are_counted_and_not_timed() -> None:
    measured = CallMeasurements()
    calls = MethodCalls("v1", "RuntimeService", "GetContainerEvents", timed=False)
    measured.methods[b"/runtime.v1.RuntimeService/GetContainerEvents"] = calls
    calls.note(1, 3600.0, 0.0)
    assert measured.ended == {("v1", "GetContainerEvents", 1): 1}
    assert measured.times == {}


def test_both_cri_versions_of_a_method_are_timed_together() -> None:
    measured = CallMeasurements()
    for version in ("v1", "v1alpha2"):
        calls = MethodCalls(version, "ImageService", "ImageStatus", timed=True)
        measured.methods[version.encode()] = calls
        calls.note(0, 0.5, 0.25)
    assert measured.ended == {("v1", "ImageStatus", 0): 1, ("v1alpha2", "ImageStatus", 0): 1}
    assert measured.services == {"ImageService": 2}
    times = measured.times["ImageStatus"]
    assert (times.whole.total, times.runtime.total, times.shim.total) == (1.0, 0.5, 0.5)


def failure(at: float, method: str) -> FailedCall:
    return FailedCall(at, method, 2, "no")


def test_many_failures_of_one_method_do_not_push_those_of_another_out() -> None:
    measured = CallMeasurements()
    measured.note_failure(failure(1.0, "RunPodSandbox"))
    for number in range(100):
        measured.note_failure(failure(2.0 + number, "ContainerStats"))
    found = measured.failed
    assert found[0].method == "RunPodSandbox"
    assert [one.at for one in found[1:]] == [97.0, 98.0, 99.0, 100.0, 101.0]


def test_what_ends_well_again_has_no_failures() -> None:
    measured = CallMeasurements()
    calls = MethodCalls("v1", "RuntimeService", "RunPodSandbox", timed=True)
    measured.methods[b"/a"] = calls
    measured.note_failure(failure(1.0, "RunPodSandbox"))
    calls.well = 2.0
    assert measured.failed == []
    measured.note_failure(failure(3.0, "RunPodSandbox"))
    assert [one.at for one in measured.failed] == [3.0]


# Look-ups


def test_look_ups_are_counted_and_timed_by_registry_and_outcome() -> None:
    measured = Measurements(lambda: 1000.0)
    measured.note_look_up(LookUp(HARBOR, PRESENT, elapsed=0.25))
    measured.note_look_up(LookUp(HARBOR, ABSENT, "404", elapsed=0.5))
    asked = measured.registries["harbor.corp"]
    assert asked.outcomes == {"present": 1, "absent": 1}
    assert {outcome: times.total for outcome, times in asked.times.items()} == {
        "present": 0.25,
        "absent": 0.5,
    }
    assert (asked.last, asked.at) == (LookUp(HARBOR, ABSENT, "404", elapsed=0.5), 1000.0)


def test_a_registry_that_was_left_alone_has_answered_nothing() -> None:
    measured = Measurements(lambda: 1000.0)
    measured.note_look_up(LookUp(HARBOR, UNKNOWN, "not asked", elapsed=10.0, asked=False))
    asked = measured.registries["harbor.corp"]
    assert asked.outcomes == {"not_asked": 1}
    assert (asked.times, asked.last, asked.at) == ({}, None, None)


def test_hosts_that_are_not_configured_are_one() -> None:
    measured = Measurements(lambda: 1000.0)
    for number in range(100):
        named = attrs.evolve(candidate(f"host{number}.example/a:1"), registry=None)
        measured.note_look_up(LookUp(named, PRESENT))
    assert measured.registries == {}
    assert measured.origins.outcomes == {"present": 100}


# The cache


class Cache:
    """A cache that things happen to."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.cache = LookUpCache(self.clock, CacheConfig(**settings))

    def use(self) -> None:
        """Let one of each happen: a miss, two hits, and every way for an answer to go."""
        cache = self.cache
        cache.get(KEY)
        cache.put(KEY, LookUp(HARBOR, PRESENT))
        cache.get(KEY)
        cache.forget(KEY)
        cache.put(KEY, LookUp(HARBOR, ABSENT))
        cache.get(KEY)
        cache.flush(lambda _: True)
        cache.put(KEY, LookUp(HARBOR, ABSENT))
        self.clock.advance(3600)
        cache.get(KEY)
        for number in range(3):
            cache.put(("harbor.corp", "a", str(number), ""), LookUp(HARBOR, PRESENT))


DROPPED = {"forgotten": 1, "flushed": 1, "expired": 1, "full": 1}


def test_the_cache_counts_what_it_answers_and_what_it_drops() -> None:
    used = Cache(image_cache_size=2)
    totals = Measurements(lambda: 0.0).cache
    assert (totals.hits, totals.misses, totals.dropped, totals.held) == ({}, 0, {}, 0)
    totals.follow(used.cache)
    used.use()
    assert totals.hits == {"present": 1, "absent": 1}
    assert totals.misses == 2
    assert totals.dropped == DROPPED
    assert (totals.held, totals.size) == (2, 2)


def test_what_caches_counted_goes_on_when_a_reload_makes_a_new_one() -> None:
    totals = Measurements(lambda: 0.0).cache
    for _ in range(3):
        used = Cache(image_cache_size=2)
        totals.follow(used.cache)
        used.use()
    assert totals.hits == {"present": 3, "absent": 3}
    assert totals.misses == 6
    assert totals.dropped == {reason: 3 * count for reason, count in DROPPED.items()}
    assert (totals.held, totals.size) == (2, 2)
    totals.follow(Cache(image_cache_size=7).cache)
    assert (totals.misses, totals.held, totals.size) == (6, 0, 7)


def test_a_cache_that_shall_not_count_does_not() -> None:
    used = Cache(image_cache_size=2, disable_stats=True)
    totals = Measurements(lambda: 0.0).cache
    totals.follow(used.cache)
    used.use()
    assert (totals.hits, totals.misses, totals.dropped) == ({}, 0, {})
    assert (totals.held, totals.size) == (2, 2)
