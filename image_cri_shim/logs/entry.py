"""One entry of the log, whatever it is written as."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from image_cri_shim.config.excerpt import visible
from image_cri_shim.pull_record import PullRecord

# How grave an entry is: the configuration's levels, and what a library calls graver than an error.
Gravity: TypeAlias = Literal["debug", "info", "warn", "error", "critical"]

# What is kept of a text of one entry.
_SHOWN = 32 * 1024


@attrs.frozen
class Entry:
    """One entry of the log.

    :ivar time: seconds since 1970.
    :ivar component: one of the configuration's ``COMPONENTS``, or a library's name.
    :ivar message: one line, without control characters.
    :ivar call: the id of the call that it is about; empty for none.
    :ivar pull: what is known of the pull that it is about.
    :ivar traceback: an error's, lines without control characters; empty for none.
    """

    time: float
    level: Gravity
    component: str
    message: str
    call: str = ""
    pull: PullRecord | None = None
    traceback: tuple[str, ...] = ()


def printable(text: str) -> str:
    """Return a text on one line: characters that are not to be seen are written as in Python."""
    return visible(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def printable_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a traceback; of a long one the end, which says what it was."""
    if len(text) > _SHOWN:
        text = f"...{text[-_SHOWN:]}"
    return tuple(visible(line.replace("\t", "    ")) for line in text.rstrip().split("\n"))
