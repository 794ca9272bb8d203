"""Time, as whoever needs it is given it: the reactor's, or a test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class DelayedCall(Protocol):
    """A call that is due later (Twisted's IDelayedCall)."""

    def cancel(self) -> None:
        """Do not call."""

    def active(self) -> bool:
        """Tell whether it is still due."""


class Clock(Protocol):
    """What of Twisted's IReactorTime is used, as a type that checkers understand."""

    def seconds(self) -> float:
        """Return the time in seconds, from any beginning."""

    def callLater(  # noqa: N802 - Twisted's name
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - Twisted's name
        *args: object,
        **kw: object,
    ) -> DelayedCall:
        """Call something after a delay in seconds."""
