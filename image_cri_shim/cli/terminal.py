"""What is written for the operator to read: lines of text without control characters."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence

from image_cri_shim.cli import streams
from image_cri_shim.redaction import Redactor

_CLEANER = Redactor()
# Columns of a terminal that nobody has made wider.
WIDTH = 80


def one_line(text: str) -> str:
    """Return a text of unknown origin as it may be shown: on one line, with nothing but text."""
    return _CLEANER.clean(text)


def as_unicode(argument: str) -> str:
    """Return an argument of the command line with U+FFFD for each byte that is no UTF-8.

    Python has half characters for them, which can be sent to nobody; no image's name has either.
    """
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def complain(text: str) -> None:
    """Say on standard error what is wrong."""
    streams.write_error(f"image-cri-shim: {one_line(text)}")


def as_json(value: object) -> str:
    """Write a value as JSON that may be shown: in ASCII, with all control characters escaped.

    :param value: dicts with texts as keys, lists, texts, numbers, booleans and None.
    """
    return json.dumps(value, indent=2)


def microseconds(value: float) -> float:
    """Round seconds for machines."""
    return round(value, 6)


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Write cells below each other, a line for each row.

    :param rows: all of the same length.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def wrapped(text: str, indent: int = 0, first: str = "") -> list[str]:
    """Write a text within ``WIDTH`` columns; words that are longer stay whole.

    :param indent: how many columns are left free.
    :param first: what stands in them on the first line.
    """
    lines = textwrap.wrap(
        one_line(text),
        WIDTH - indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
    return [
        f"{first if number == 0 else '':<{indent}}{line}".rstrip()
        for number, line in enumerate(lines)
    ]


def compact_json(value: object) -> str:
    """Write a value as ``as_json`` does, on one line."""
    return json.dumps(value, separators=(",", ":"))
