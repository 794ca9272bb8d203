"""Many pieces of work, some at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from image_cri_shim.cli.turns import Turns


class Works:
    """Pieces of work that end when a test says so."""

    def __init__(self, at_once: int = 2, at_most: int = 100) -> None:
        self.clock = Clock()
        self.running: dict[str, Deferred[str]] = {}
        self.give_up_turn: dict[str, Callable[[], None]] = {}
        self.cancelled: list[str] = []
        self.outcome: list[Any] = []
        self.turns = Turns(self.clock, self.begin, at_once, at_most)

    def begin(self, name: str, give_up_turn: Callable[[], None]) -> Deferred[str]:
        self.running[name] = Deferred(lambda _: self.cancelled.append(name))
        self.give_up_turn[name] = give_up_turn
        return self.running[name]

    def run(self, names: str) -> Deferred[list[str]]:
        done = self.turns.run(names)
        done.addBoth(self.outcome.append)
        self.clock.advance(0)
        return done

    def end(self, name: str) -> None:
        self.running[name].callback(name.upper())
        self.clock.advance(0)

    @property
    def begun(self) -> str:
        return "".join(self.running)


def test_no_more_runs_at_once_than_may_and_the_results_are_in_order() -> None:
    works = Works()
    works.run("abcd")
    assert works.begun == "ab"
    works.end("b")
    assert works.begun == "abc"
    works.end("c")
    works.end("d")
    assert works.outcome == []
    works.end("a")
    assert works.outcome == [["A", "B", "C", "D"]]


def test_for_nothing_there_is_nothing() -> None:
    works = Works()
    works.run("")
    assert works.outcome == [[]]


def test_work_that_gives_up_its_turn_goes_on_beside_the_next() -> None:
    works = Works(at_once=1, at_most=3)
    works.run("abcde")
    for name in "abc":
        assert works.begun[-1] == name
        # Twice is once.
        works.give_up_turn[name]()
        works.give_up_turn[name]()
        works.clock.advance(0)
    # No more than so many.
    assert works.begun == "abc"
    works.end("b")
    works.clock.advance(0)
    assert works.begun == "abcd"
    for name in "acde":
        works.end(name)
    assert works.outcome == [["A", "B", "C", "D", "E"]]


def test_work_that_takes_no_time_is_not_nested_and_lets_others_have_their_turn() -> None:
    clock = Clock()
    depths: list[int] = []
    seen: list[int] = []
    results: list[list[int]] = []

    def work(number: int, give_up_turn: Callable[[], None]) -> Deferred[int]:
        depths.append(len(inspect.stack(0)))
        give_up_turn()
        return succeed(number)

    Turns(clock, work, 4, 8).run(range(1000)).addCallback(results.append)
    clock.callLater(0, lambda: seen.append(len(depths)))
    clock.advance(0)
    assert (results, seen) == ([list(range(1000))], [4])
    assert len(set(depths)) == 1


@pytest.mark.parametrize("cancelled", [True, False])
def test_all_that_runs_ends_and_nothing_more_begins(cancelled: bool) -> None:
    works = Works()
    done = works.run("abcd")
    if cancelled:
        done.cancel()
    else:
        works.running["a"].errback(KeyError("x"))
    works.clock.advance(1)
    assert works.begun == "ab"
    assert works.cancelled == (["a", "b"] if cancelled else ["b"])
    (failure,) = works.outcome
    assert failure.check(CancelledError if cancelled else KeyError)
    assert works.clock.getDelayedCalls() == []


def test_work_that_cannot_even_begin_is_a_failure() -> None:
    def work(_: str, __: Callable[[], None]) -> Deferred[str]:
        raise KeyError("x")

    clock = Clock()
    failures: list[Any] = []
    Turns(clock, work, 2, 2).run("abc").addErrback(failures.append)
    clock.advance(0)
    assert failures[0].check(KeyError)
