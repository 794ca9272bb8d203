"""Durations as Go writes them: ``15m``, ``1h30m``, ``1.5s``.

The grammar, the units and the limits are those of ``ParseDuration`` and ``Duration.String`` in the
documentation of Go's package ``time``; existing files are written in them.
"""

from __future__ import annotations

import re

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # the micro sign
    "\u03bcs": 1_000,  # the Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_SECOND = _UNITS["s"]
# Go counts nanoseconds in a signed number of 64 bits.
_LIMIT = 1 << 63
_TOO_LONG = "it is longer than the 292 years that can be counted"
_NUMBER = re.compile(r"[-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?")
_PART = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>[^.0-9]*)")


def parse_duration(text: str) -> float:
    """Return the seconds that ``text`` means.

    :raises ValueError: it is no duration; the message is a clause about the text that does not
        repeat it, except for an unknown unit.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError("it has no number and no unit")
    total = 0
    position = 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or not (part["whole"] or part["fraction"]):
            raise ValueError("it has no number where one should be")
        total += _nanoseconds(part["whole"], part["fraction"] or "", _unit(part["unit"], text))
        if total > _LIMIT:
            raise ValueError(_TOO_LONG)
        position = part.end()
    if text.startswith("-"):
        return -total / _SECOND
    if total == _LIMIT:
        raise ValueError(_TOO_LONG)
    return total / _SECOND


def format_duration(seconds: float) -> str:
    """Write ``seconds``, a finite number, as Go does: ``15m0s``, ``1m30s``, ``500ms``, ``0s``."""
    total = round(seconds * _SECOND)
    sign = "-" if total < 0 else ""
    total = abs(total)
    if total == 0:
        return "0s"
    if total < _SECOND:
        unit = next(unit for unit in ("ms", "\u00b5s", "ns") if total >= _UNITS[unit])
        return f"{sign}{_decimal(total, _UNITS[unit])}{unit}"
    hours, below = divmod(total, _UNITS["h"])
    minutes, below = divmod(below, _UNITS["m"])
    text = f"{_decimal(below, _SECOND)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _unit(name: str, text: str) -> int:
    if not name:
        hint = f" (did you mean {text}s?)" if _NUMBER.fullmatch(text) else ""
        raise ValueError(f"it has no unit{hint}")
    if name not in _UNITS:
        shown = name if len(name) <= len("minutes") and name.isprintable() else "at its end"
        raise ValueError(f"it has the unknown unit {shown} (the units are h, m, s, ms, us, ns)")
    return _UNITS[name]


def _nanoseconds(whole: str, fraction: str, unit: int) -> int:
    digits = whole.lstrip("0")
    if len(digits) > len(str(_LIMIT)) or int(digits or "0") > _LIMIT // unit:
        raise ValueError(_TOO_LONG)
    count = int(digits or "0") * unit
    # The digits after the point are read as far as 64 bits hold them, then multiplied as floating
    # point numbers and cut off; anything else would differ from Go in the last nanosecond.
    value, scale = 0, 1.0
    for digit in fraction:
        longer = value * 10 + int(digit)
        if longer > _LIMIT:
            break
        value, scale = longer, scale * 10
    return count + int(value * (unit / scale))


def _decimal(count: int, unit: int) -> str:
    """Write ``count / unit``, a power of ten, exactly and without zeros at the end."""
    whole, below = divmod(count, unit)
    fraction = f"{below:0{len(str(unit)) - 1}d}".rstrip("0") if below else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
