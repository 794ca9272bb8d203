"""Text that others wrote, fit to be repeated in a line for the operator."""

from __future__ import annotations

import unicodedata

_LIMIT = 60
# Unicode's control characters, line and paragraph separators.
_CONTROL = frozenset({"Cc", "Zl", "Zp"})


def has_control(text: str) -> bool:
    """Tell whether a text has control characters in it, or ends of lines or paragraphs."""
    return any(unicodedata.category(char) in _CONTROL for char in text)


def visible(text: str) -> str:
    """Return ``text`` with escapes for what would not be seen, or would turn the line around."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def excerpt(text: str) -> str:
    """Return ``text`` as it can be seen, cut where it gets too long for a message."""
    return visible(text if len(text) <= _LIMIT else text[:_LIMIT] + "...")
