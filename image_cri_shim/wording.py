"""How times, numbers and what others have named are written for people."""

from __future__ import annotations

import unicodedata

from image_cri_shim.pull_record import seconds_since_1970

# A number and its unit stay on one line.
GAP = "\u00a0"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Below so many seconds, tenths matter.
_EXACT = 10


def visible(text: object) -> str:
    r"""Return a text in which every character is seen, in the order in which it stands.

    Control characters, those that turn the direction of writing, and those that are put on top of
    others are written as ``\u202e``: a name shall not look like another one, nor leave its place.
    """
    return "".join(c if _is_plain(c) else _escaped(c) for c in str(text))


def _is_plain(char: str) -> bool:
    return char.isprintable() and (char.isascii() or unicodedata.category(char)[0] != "M")


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - 4 digits


def duration(seconds: float | None) -> str:
    """Write seconds for people, with two units at most: ``12 ms``, ``1.3 s``, ``2 h 5 min``."""
    if seconds is None:
        return ""
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{max(round(seconds * 1000), 1) if seconds else 0}{GAP}ms"
    if seconds < _EXACT:
        return f"{seconds:.1f}{GAP}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}{GAP}s"
    for size, unit, smaller, smaller_unit in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{GAP}{unit}" + (f" {rest}{GAP}{smaller_unit}" if rest else "")
    return f"{whole}{GAP}s"


def ago(moment: str, at: str) -> str:
    """Write how long before ``at`` a moment was, both in ISO 8601; itself if that is unclear."""
    try:
        seconds = seconds_since_1970(at) - seconds_since_1970(moment)
    except (ValueError, TypeError):
        return visible(moment)
    if seconds < 1:
        return "just now"
    if seconds < _MINUTE:
        return f"{int(seconds)}{GAP}s ago"
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)}{GAP}{unit} ago"
    return visible(moment)


def counted(number: int, one: str, several: str = "") -> str:
    """Write a number of things: ``1 pull``, ``1,204 pulls``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
