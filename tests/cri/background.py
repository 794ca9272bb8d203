"""Run an asyncio event loop beside the test, and collect what it complains about."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from image_cri_shim.bridge import new_event_loop

T = TypeVar("T")

# Seconds that a test waits for what must happen; never reached unless something is wrong.
PATIENCE = 10.0


class Background:
    """An event loop in a thread of its own, of the kind that the daemon would have.

    `complaints` are what its exception handler was given: exceptions that nobody retrieved,
    callbacks that raised.
    """

    def __init__(self) -> None:
        self.complaints: list[dict[str, Any]] = []
        self.loop = new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = PATIENCE) -> T:
        """Run a coroutine in the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in the loop's thread."""

        async def called() -> T:
            return function(*arguments)

        return self.run(called())

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done."""
        return self.call(
            lambda: [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        )

    def close(self) -> None:
        """End the loop; what nobody looked at becomes a complaint first."""
        self.call(gc.collect)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()
