"""How far a pull is, on standard error: lines, and on a terminal one that shows the time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import attrs

from image_cri_shim.cli import streams
from image_cri_shim.cli.colours import Colours, colours_for, is_terminal
from image_cri_shim.cli.decision_text import led_to
from image_cri_shim.cli.moments import span
from image_cri_shim.cli.terminal import WIDTH, one_line
from image_cri_shim.pull_record import Asked, Phase, PullRecord

# Back to the line's beginning, and nothing on it (ECMA-48, 8.3.41).
_ANEW = "\r\x1b[K"


@attrs.define
class Screen:
    """Where it is shown.

    :ivar live: whether a line can be written anew.
    :ivar width: columns of a line.
    """

    live: bool = False
    colours: Colours = attrs.field(factory=Colours)
    width: int = WIDTH
    write: Callable[[str], None] = streams.write_error
    rewrite: Callable[[str], None] = streams.rewrite_error

    @classmethod
    def standard_error(cls) -> Screen:
        """Return what standard error is."""
        if not is_terminal(sys.stderr):
            return cls()
        return cls(live=True, colours=colours_for(sys.stderr), width=streams.columns_of_error())


class PullProgress:
    """Shows how far one pull is.

    :param seconds: a clock.
    """

    def __init__(
        self, image: str, screen: Screen, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._image = one_line(image)
        self._screen = screen
        self._seconds = seconds
        self._told_look_ups: set[str] = set()
        self._name: str | None = None
        # What is going on, and since when.
        self._now = ""
        self._since = seconds()
        self._drawn = False

    def begin(self, *, followed: bool) -> None:
        """Show that it begins.

        :param followed: whether there will be something to note.
        """
        self._goes_on(f"{'looking up' if followed else 'pulling'} {self._image}")
        self.tick()

    def note(self, record: PullRecord) -> None:
        """Show what has changed."""
        if record.over:
            self._over(record)
            return
        if not record.reason:
            return
        before, self._name = self._name, record.name
        if record.name not in ("", before):
            self._goes_on(f"pulling {one_line(record.name)}")
        # The reason has it if it is one.
        for asked in record.look_ups if len(record.look_ups) > 1 else ():
            if asked.name not in self._told_look_ups:
                self._told_look_ups.add(asked.name)
                self._say(f"  {_answered(asked)}")
        if before is None:
            reason = one_line(f"({record.reason})")
            self._say(f"{self._screen.colours.strong(led_to(record))} {reason}")
        elif record.name != before:
            self._say(self._screen.colours.doubtful(f"that failed, now {one_line(record.name)}"))

    def tick(self) -> None:
        """Show the time that has passed."""
        if not self._screen.live or not self._now:
            return
        took = f" ({self._seconds() - self._since:.0f} s)"
        # A line that is broken could not be written anew.
        room = self._screen.width - len(took) - 1
        text = self._now if len(self._now) <= room else f"{self._now[: room - 3]}..."
        self._screen.rewrite(f"{_ANEW}{self._screen.colours.faint(text + took)}")
        self._drawn = True

    def end(self) -> None:
        """Show no more, and leave nothing half written."""
        self._now = ""
        self._clear()

    def _goes_on(self, what: str) -> None:
        self._now, self._since = what, self._seconds()

    def _over(self, record: PullRecord) -> None:
        if record.phase is Phase.PULLED:
            # If it failed, that is said with the error; here nobody else says it.
            for one in record.attempts:
                if one.error:
                    error = one_line(f"{one.name}: {one.error} (after {span(one.seconds)})")
                    self._say(f"  {error}")
        self.end()

    def _say(self, line: str) -> None:
        self._clear()
        self._screen.write(line)
        self.tick()

    def _clear(self) -> None:
        if self._drawn:
            self._screen.rewrite(_ANEW)
            self._drawn = False


def _answered(asked: Asked) -> str:
    """Say what a registry answered: ``sealos.hub:5000: absent (404), 4 ms``."""
    detail = f" ({asked.detail})" if asked.detail else ""
    took = "cached" if asked.cached else span(asked.seconds)
    return one_line(f"{asked.registry}: {asked.outcome}{detail}, {took}")
