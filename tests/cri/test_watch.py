"""What stands still for too long is ended, and nothing else."""

from __future__ import annotations

from image_cri_shim.cri.watch import Watch
from tests.cri.clock import FakeClock


class Thing:
    """Something that can stand still; with it, others may end."""

    def __init__(self, watch: Watch) -> None:
        self.ended_at: list[float] = []
        self.ends: list[Thing] = []
        self._watch = watch

    def stalled(self) -> None:
        self.ended_at.append(self._watch._clock.time() - 1000)
        for other in self.ends:
            self._watch.end(other)


def test_each_is_ended_at_its_time_by_one_timer() -> None:
    clock = FakeClock()
    watch = Watch(10, clock)
    things = [Thing(watch) for _ in range(3)]
    for thing in things:
        watch.begin(thing)
        clock.advance(3)
    assert len(clock.timers) == 1
    clock.advance(30)
    assert [thing.ended_at for thing in things] == [[10], [13], [16]]
    assert clock.timers == []
    assert len(watch) == 0


def test_a_sign_of_life_gives_more_time() -> None:
    clock = FakeClock()
    watch = Watch(10, clock)
    first, second = Thing(watch), Thing(watch)
    watch.begin(first)
    watch.begin(second)
    clock.advance(9)
    watch.begin(first)
    assert watch.oldest() is second
    clock.advance(9)
    assert (first.ended_at, second.ended_at) == ([], [10])
    clock.advance(1)
    assert first.ended_at == [19]


def test_nothing_is_ended_that_is_watched_no_more_and_no_timer_stays() -> None:
    clock = FakeClock()
    watch = Watch(10, clock)
    first, second = Thing(watch), Thing(watch)
    first.ends = [second]
    watch.begin(first)
    watch.begin(second)
    clock.advance(10)
    assert (first.ended_at, second.ended_at) == ([10], [])
    third = Thing(watch)
    watch.begin(third)
    watch.end(third)
    clock.advance(10)
    assert third.ended_at == []
    assert clock.timers == []
    watch.begin(third)
    watch.stop()
    assert clock.timers == []
    assert watch.oldest() is None
