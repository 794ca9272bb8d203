"""Challenges: what a server that answers 401 wants to be shown (RFC 9110, section 11.6.1).

Pure. What is malformed is skipped up to the next comma: a challenge that cannot be read must not
hide one that can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs

# RFC 9110: token (5.6.2), token68 (11.2).
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN68 = re.compile(r"[0-9A-Za-z\-._~+/]+=*(?=[ \t]*(?:,|\Z))")
_BLANK = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")
_JUNK = re.compile(r"[^,\"]*")
_QUOTED_PART = re.compile(r"[^\"\\]*")


@attrs.frozen
class Challenge:
    """One challenge.

    :ivar scheme: in lower case: ``basic``, ``bearer``.
    :ivar parameters: by name in lower case, unquoted; the first of several with one name.
    :ivar token68: what some schemes have instead of parameters, or empty.
    """

    scheme: str
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    token68: str = ""


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Read all ``WWW-Authenticate`` values of a response, in order.

    One value may hold several challenges. Never raises.
    """
    return tuple(challenge for value in values for challenge in _parse(value))


def _parse(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    parameters: dict[str, str] = {}
    at = 0
    while (at := _after(_SEPARATORS, text, at)) < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            at = _skip(text, at)
            continue
        blank = _after(_BLANK, text, token.end())
        if text[blank : blank + 1] == "=":
            value, at = _value(text, _after(_BLANK, text, blank + 1))
            # A parameter before any scheme belongs to nothing.
            if found and value is not None:
                parameters.setdefault(token[0].lower(), value)
            continue
        parameters = {}
        token68 = _TOKEN68.match(text, blank) if blank > token.end() else None
        found.append(Challenge(token[0].lower(), parameters, token68[0] if token68 else ""))
        at = token68.end() if token68 else blank
    return found


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where a pattern that matches anywhere, if only emptily, ends."""
    match = pattern.match(text, at)
    return match.end() if match is not None else at


def _value(text: str, at: int) -> tuple[str | None, int]:
    """Read a parameter's value, a token or a quoted string; return it and where it ends."""
    if text[at : at + 1] == '"':
        return _quoted(text, at)
    token = _TOKEN.match(text, at)
    if token is None:
        return None, _skip(text, at)
    # Some servers forget the quotes around a URL; what is meant is clear up to the comma.
    end = _after(_JUNK, text, at)
    return text[at:end].rstrip(" \t"), end


def _quoted(text: str, at: int) -> tuple[str, int]:
    """Read a quoted string (RFC 9110, 5.6.4); one that is never closed ends with the text."""
    parts: list[str] = []
    at += 1
    while True:
        end = _after(_QUOTED_PART, text, at)
        parts.append(text[at:end])
        if text[end : end + 1] != "\\":
            return "".join(parts), min(end + 1, len(text))
        parts.append(text[end + 1 : end + 2])
        at = min(end + 2, len(text))


def _skip(text: str, at: int) -> int:
    """Return where the next comma is that stands in no quoted string, or the end."""
    while (at := _after(_JUNK, text, at)) < len(text) and text[at] != ",":
        _, at = _quoted(text, at)
    return at
