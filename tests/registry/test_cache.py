"""How many answers are remembered, which go first, and what is counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from image_cri_shim.config import CacheConfig
from image_cri_shim.decision import LookUp, Outcome
from image_cri_shim.registry.cache import CacheStatistics, Key, LookUpCache
from tests.registry.network import candidate

PRESENT = LookUp(candidate("harbor.corp/a:1"), Outcome.PRESENT)
ABSENT = LookUp(candidate("harbor.corp/a:1"), Outcome.ABSENT)
A, B, C = (("harbor.corp", name, "1", "") for name in "abc")


def make(**settings: Any) -> tuple[LookUpCache, Clock]:
    clock = Clock()
    return LookUpCache(clock, CacheConfig(**settings)), clock


def held(cache: LookUpCache, *keys: Key) -> list[bool]:
    return [cache.get(key) is not None for key in keys]


def test_what_was_not_wanted_for_the_longest_time_gives_way() -> None:
    cache, _ = make(image_cache_size=2)
    cache.put(A, PRESENT)
    cache.put(B, PRESENT)
    cache.get(A)
    cache.put(C, ABSENT)
    assert held(cache, A, B, C) == [True, False, True]
    assert len(cache) == 2


def test_a_new_answer_takes_the_place_of_the_old_one() -> None:
    cache, clock = make(image_cache_size=2)
    cache.put(A, PRESENT)
    cache.put(B, PRESENT)
    cache.put(A, ABSENT)
    assert cache.get(A) is ABSENT
    assert held(cache, B) == [True]
    clock.advance(30)
    assert held(cache, A, B) == [False, True]


def test_an_unknown_one_drops_what_was_known() -> None:
    cache, _ = make()
    cache.put(A, PRESENT)
    cache.put(A, LookUp(PRESENT.candidate, Outcome.UNKNOWN))
    assert held(cache, A) == [False]


def test_without_room_or_without_time_nothing_is_remembered() -> None:
    for settings in ({"image_cache_size": 0}, {"image_cache_ttl": 0.0, "absent_ttl": 0.0}):
        cache, _ = make(**settings)
        cache.put(A, PRESENT)
        cache.put(B, ABSENT)
        assert len(cache) == 0


def test_absent_answers_can_be_turned_off_alone() -> None:
    cache, _ = make(absent_ttl=0.0)
    cache.put(A, PRESENT)
    cache.put(B, ABSENT)
    assert held(cache, A, B) == [True, False]


def test_what_happens_is_counted() -> None:
    cache, clock = make(image_cache_size=2)
    cache.get(A)
    cache.put(A, ABSENT)
    cache.get(A)
    clock.advance(30)
    cache.get(A)
    for key in (A, B, C):
        cache.put(key, PRESENT)
    cache.forget(C)
    cache.forget(C)
    expected = CacheStatistics(hits=1, misses=2, expired=1, evicted=1, forgotten=1)
    assert cache.statistics == expected


def test_nothing_is_counted_where_nobody_wants_to_know() -> None:
    cache, _ = make(disable_stats=True)
    cache.get(A)
    cache.put(A, PRESENT)
    cache.get(A)
    assert cache.statistics == CacheStatistics()
