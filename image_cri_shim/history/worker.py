"""A thread of the history's own, so that a disk that hangs keeps nobody else waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

# Is done in the thread; says what came of it.
Work: TypeAlias = Callable[[], Callable[[], object]]


class Worker:
    """Does one thing after the other.

    The thread begins with the first: one that was there when twistd makes itself a daemon would not
    be there afterwards. A program that ends does not wait for it.

    :param call: calls something in the reactor's thread.
    """

    def __init__(self, call: Callable[[Callable[[], object]], object]) -> None:
        self._call = call
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Work) -> None:
        """Do something as soon as all before it is done.

        :param work: never raises; what it returns is called in the reactor's thread.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="history", daemon=True)
            self._thread.start()
        self._work.put(work)

    def end(self) -> None:
        """End the thread when all is done."""
        if self._thread is not None:
            self._work.put(None)
            self._thread = None

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._call(work())
