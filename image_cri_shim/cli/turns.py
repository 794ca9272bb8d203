"""Many pieces of work, some at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from image_cri_shim.clock import Clock, DelayedCall

T = TypeVar("T")
R = TypeVar("R")


class Turns(Generic[T, R]):
    """Does the same to many things, in their order.

    Nothing is begun from within what has ended, so that work that ends at once does not pile up on
    the stack; in between others have their turn, such as the one who cancels.

    :param clock: begins what is next.
    :param work: is given a thing and a function, and returns a Deferred. It may call the function
        to give up its turn before it ends: it goes on, and does not count any more.
    :param at_once: how much work there is that counts.
    :param at_most: how much work there is altogether.
    """

    def __init__(
        self,
        clock: Clock,
        work: Callable[[T, Callable[[], None]], Deferred[R]],
        at_once: int,
        at_most: int,
    ) -> None:
        self._clock = clock
        self._work = work
        self._at_once = at_once
        self._at_most = at_most
        self._waiting: deque[tuple[int, T]] = deque()
        self._running: dict[int, Deferred[Any]] = {}
        self._counting: set[int] = set()
        self._results: dict[int, R] = {}
        self._next: DelayedCall | None = None
        self._over = False
        self._done: Deferred[list[R]] = Deferred(lambda _: self._stop())

    def run(self, things: Sequence[T]) -> Deferred[list[R]]:
        """Do it to all, once.

        :returns: a Deferred with the results in the order of the things. It fails as the first
            that fails does; then, and if it is cancelled, all that runs is cancelled.
        """
        self._waiting.extend(enumerate(things))
        self._soon()
        return self._done

    def _soon(self) -> None:
        if self._next is None and not self._over:
            self._next = self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._next = None
        if not self._waiting and not self._running:
            self._over = True
            self._done.callback([self._results[number] for number in range(len(self._results))])
            return
        free = min(self._at_once - len(self._counting), self._at_most - len(self._running))
        for _ in range(min(free, len(self._waiting))):
            if self._over:
                return
            self._begin(*self._waiting.popleft())

    def _begin(self, number: int, thing: T) -> None:
        self._counting.add(number)
        work = maybeDeferred(self._work, thing, lambda: self._give_up_turn(number))
        self._running[number] = work
        work.addCallbacks(self._ended, self._failed, callbackArgs=(number,), errbackArgs=(number,))

    def _give_up_turn(self, number: int) -> None:
        self._counting.discard(number)
        self._soon()

    def _ended(self, result: R, number: int) -> None:
        self._running.pop(number, None)
        self._results[number] = result
        self._give_up_turn(number)

    def _failed(self, failure: Failure, number: int) -> None:
        self._running.pop(number, None)
        if not self._over:
            self._stop()
            self._done.errback(failure)

    def _stop(self) -> None:
        self._over = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for work in list(self._running.values()):
            work.cancel()
