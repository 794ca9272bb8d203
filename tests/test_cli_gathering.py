"""Several things at once: all of them, or an end to all of them."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred, FirstError, succeed

from image_cri_shim.cli.gathering import gather


class Work:
    """Something that is waited for."""

    def __init__(self) -> None:
        self.cancelled = False
        self.done: Deferred[str] = Deferred(self._cancel)

    def _cancel(self, _: Deferred[str]) -> None:
        self.cancelled = True


def test_the_results_are_in_order() -> None:
    one, two = Work(), Work()
    results: list[object] = []
    gather([one.done, two.done, succeed("c")]).addCallback(results.append)
    two.done.callback("b")
    assert results == []
    one.done.callback("a")
    assert results == [["a", "b", "c"]]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_when_one_fails_the_others_end(number: int) -> None:
    works = [Work(), Work(), Work()]
    failures: list[FirstError] = []
    gather([one.done for one in works]).addErrback(lambda failure: failures.append(failure.value))
    works[number].done.errback(KeyError("x"))
    assert [one.cancelled for one in works] == [index != number for index in range(3)]
    (failure,) = failures
    assert failure.index == number
    assert isinstance(failure.subFailure.value, KeyError)


def test_an_end_is_put_also_to_what_hangs_together() -> None:
    """Cancelling the first ends another one, whose group then has failed, but not been ended."""
    first, second, third = Work(), Work(), Work()
    first.done.addErrback(lambda failure: (second.done.errback(failure), failure)[1])
    inner = gather([second.done, third.done])
    everything = gather([first.done, inner])
    everything.addErrback(lambda failure: failure.trap(FirstError, CancelledError))
    everything.cancel()
    assert third.cancelled
