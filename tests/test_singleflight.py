from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure

from image_cri_shim.singleflight import SingleFlight


class Work:
    """Work that is started, and ends when a test says so."""

    def __init__(self) -> None:
        self.started: list[Deferred[str]] = []
        self.cancelled = 0

    def __call__(self) -> Deferred[str]:
        def cancel(_: Deferred[str]) -> None:
            self.cancelled += 1

        self.started.append(Deferred(cancel))
        return self.started[-1]


def results(deferred: Deferred[Any]) -> list[Any]:
    """Collect what a Deferred fires with; failures as their exceptions."""
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


def test_callers_with_one_key_share_the_work_and_each_gets_the_result() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    found = [results(flights.join("a", work)) for _ in range(3)]
    assert len(work.started) == 1
    assert found == [[], [], []]
    work.started[0].callback("done")
    assert found == [["done"], ["done"], ["done"]]


def test_what_one_waiter_makes_of_the_result_is_not_what_the_next_one_gets() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    first = results(flights.join("a", work).addCallback(str.upper))
    second = results(flights.join("a", work))
    work.started[0].callback("done")
    assert (first, second) == (["DONE"], ["done"])


def test_other_keys_are_other_work() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    a, b = results(flights.join("a", work)), results(flights.join("b", work))
    work.started[1].callback("b is done")
    assert (a, b) == ([], ["b is done"])
    work.started[0].callback("a is done")


def test_every_waiter_gets_the_failure() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    found = [results(flights.join("a", work)) for _ in range(2)]
    problem = ValueError("no")
    work.started[0].errback(Failure(problem))
    assert found == [[problem], [problem]]


def test_nothing_is_remembered() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    assert results(flights.join("a", lambda: succeed("1"))) == ["1"]
    assert results(flights.join("a", lambda: succeed("2"))) == ["2"]
    problem = ValueError("no")
    assert results(flights.join("a", lambda: fail(problem))) == [problem]
    assert results(flights.join("a", lambda: succeed("3"))) == ["3"]


def test_work_that_cannot_be_started_fails_its_waiters() -> None:
    def start() -> Deferred[str]:
        raise KeyError("a")

    flights: SingleFlight[str, str] = SingleFlight()
    (problem,) = results(flights.join("a", start))
    assert isinstance(problem, KeyError)
    assert results(flights.join("a", lambda: succeed("again"))) == ["again"]


@pytest.mark.parametrize("who", [0, 1, 2])
def test_one_that_gives_up_takes_nothing_from_the_others(who: int) -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    waiting = [flights.join("a", work) for _ in range(3)]
    found = [results(waiter) for waiter in waiting]
    waiting[who].cancel()
    assert [type(problem) for problem in found[who]] == [CancelledError]
    assert work.cancelled == 0
    work.started[0].callback("done")
    assert [one for n, one in enumerate(found) if n != who] == [["done"], ["done"]]


def test_the_last_one_that_gives_up_ends_the_work() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    waiting = [flights.join("a", work) for _ in range(2)]
    found = [results(waiter) for waiter in waiting]
    waiting[0].cancel()
    assert work.cancelled == 0
    waiting[1].cancel()
    assert work.cancelled == 1
    assert [type(problem) for (problem,) in found] == [CancelledError, CancelledError]
    results(flights.join("a", work))
    assert len(work.started) == 2, "the next one starts it anew"
    work.started[1].callback("done")


def test_a_result_that_comes_in_spite_of_cancelling_goes_to_nobody() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    stubborn: Deferred[str] = Deferred()
    stubborn.addErrback(lambda _: Deferred())  # cancelling does not end it
    waiter = flights.join("a", lambda: stubborn)
    found = results(waiter)
    waiter.cancel()
    assert [type(problem) for problem in found] == [CancelledError]
    assert results(flights.join("a", lambda: succeed("new"))) == ["new"]


def test_a_waiter_may_want_the_same_anew_when_it_has_the_result() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    again = results(flights.join("a", work).addCallback(lambda _: flights.join("a", work)))
    work.started[0].callback("first")
    assert again == []
    work.started[1].callback("second")
    assert again == ["second"]


def test_a_waiter_may_make_another_give_up_when_it_has_the_result() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    first, second = flights.join("a", work), flights.join("a", work)
    first.addCallback(lambda _: second.cancel())
    found = results(second)
    work.started[0].callback("done")
    assert [type(problem) for problem in found] == [CancelledError]
    assert work.cancelled == 0


def test_work_that_goes_on_without_anybody_is_shared_by_whoever_comes() -> None:
    flights: SingleFlight[str, str] = SingleFlight(lambda key: key == "goes on")
    work = Work()
    results(first := flights.join("goes on", work))
    first.cancel()
    assert work.cancelled == 0
    found = results(flights.join("goes on", work))
    assert len(work.started) == 1
    work.started[0].callback("done")
    assert found == ["done"]
    results(flights.join("goes on", work))
    assert len(work.started) == 2


def test_work_that_fails_with_nobody_waiting_is_nobodys_error() -> None:
    flights: SingleFlight[str, str] = SingleFlight(lambda _: True)
    work = Work()
    results(first := flights.join("a", work))
    first.cancel()
    work.started[0].errback(Failure(ConnectionError()))
    results(flights.join("a", work))
    assert len(work.started) == 2
