"""The pulls of the past as a table: a line each, and below it what went wrong."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from image_cri_shim.cli.colours import Colours, is_terminal
from image_cri_shim.cli.decision_text import failures, reason_of_name
from image_cri_shim.cli.terminal import one_line
from image_cri_shim.history.reading import INTERRUPTED, Entry
from image_cri_shim.reason import shown_duration

_HEADS = ("WHEN", "OUTCOME", "TOOK", "TRIES", "IMAGE", "FROM", "CLIENT")
_OUTCOME, _IMAGE, _FROM = 1, 4, 5
_GAP = "  "
_INDENT = " " * 4
# Below this there is no room for who asked, and no column gets smaller than that.
_ROOMY = 110
_LEAST = 12
_NOTHING = "-"


def terminal_width(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the columns of the terminal; None if standard output is none."""
    if not is_terminal(sys.stdout, environment):
        return None
    return shutil.get_terminal_size().columns


def as_table(
    entries: Sequence[Entry], now: float, width: int | None, colours: Colours
) -> Iterator[str]:
    """Yield the lines of a table.

    :param now: seconds since 1970.
    :param width: columns that a line may take; None for no limit.
    """
    rows = [_HEADS, *(_cells(one, now) for one in entries)]
    shown = [
        column
        for column, head in enumerate(_HEADS)
        if not (head == "TRIES" and all(one.record.attempts[1:] == () for one in entries))
        and not (head == "CLIENT" and width is not None and width < _ROOMY)
    ]
    widths = {column: max(len(cells[column]) for cells in rows) for column in shown}
    if width is not None:
        _narrow(widths, width)
    for cells, entry in zip(rows, (None, *entries), strict=True):
        paint = colours.strong if entry is None else _paint(entry, colours)
        yield _line(cells, widths, paint, head=entry is None)
        if entry is not None:
            for text in _troubles(entry):
                for part in _wrapped(text, width):
                    yield paint(part) if entry.record.error else colours.doubtful(part)


def _cells(entry: Entry, now: float) -> tuple[str, ...]:
    record = entry.record
    took = record.seconds
    if took is None and entry.outcome != INTERRUPTED:
        took = max(now - record.began, 0.0)
    cells = (
        _local_time(record.began),
        entry.outcome,
        _NOTHING if took is None else shown_duration(took),
        str(len(record.attempts) or _NOTHING),
        record.image,
        record.registry or _NOTHING,
        _NOTHING if record.client is None else str(record.client),
    )
    return tuple(one_line(cell) for cell in cells)


def _troubles(entry: Entry) -> list[str]:
    """Return what went wrong with a pull.

    Of one that failed that has why the decision was so: a registry that was not tried, because it
    had not answered in time, is in that alone.
    """
    record = entry.record
    reason = reason_of_name(record) if record.error else ""
    return [*([one_line(f"({reason})")] if reason else []), *failures(record)]


def _local_time(began: float) -> str:
    try:
        return datetime.fromtimestamp(began).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return _NOTHING


def _narrow(widths: dict[int, int], width: int) -> None:
    """Take from the image and the registry, whichever is longer, what a line is too long by."""
    excess = sum(widths.values()) + len(_GAP) * (len(widths) - 1) - width
    while excess > 0:
        longer = max((_IMAGE, _FROM), key=lambda column: widths[column])
        if widths[longer] <= _LEAST:
            return
        widths[longer] -= 1
        excess -= 1


def _line(
    cells: Sequence[str], widths: Mapping[int, int], paint: Callable[[str], str], *, head: bool
) -> str:
    last = max(widths)
    parts = []
    for column, width in widths.items():
        text = _cut(cells[column], width)
        padding = " " * (width - len(text)) if column != last else ""
        parts.append((paint(text) if head or column == _OUTCOME else text) + padding)
    return _GAP.join(parts)


def _cut(text: str, width: int) -> str:
    """Return as much of a text as there is room for: its end, where the tag is."""
    return text if len(text) <= width else f"..{text[len(text) - width + 2 :]}"


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [_INDENT + text]
    room = max(width - len(_INDENT), _LEAST)
    return [_INDENT + part for part in textwrap.wrap(text, room, break_on_hyphens=False)]


def _paint(entry: Entry, colours: Colours) -> Callable[[str], str]:
    return {
        "pulled": colours.good,
        "failed": colours.bad,
        INTERRUPTED: colours.doubtful,
    }.get(entry.outcome, colours.strong)
