"""Templates that nobody has filled in: ``address: {{ .registryDomain }}``."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

import attrs

from image_cri_shim.errors import Problem

_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")
# A field's or a variable's bare name. Anything longer may quote a default password.
_NAMED = re.compile(r"\{\{-?[ \t]*[.$][A-Za-z_][\w.]*[ \t]*-?\}\}", re.ASCII)
_OPENERS = " \t:-,[{"
_KEY = re.compile(r"(?<![\w-])([A-Za-z][\w-]*)[\"']?[ \t]*:(?=[ \t\"']|$)", re.ASCII)
# The key whose value is a secret.
_AUTH = "auth"
# That key where its value is a block of text in the lines below.
_BLOCK = re.compile(r"""(?<![\w-])auth["']?[ \t]*:[ \t]*[|>][-+0-9]*[ \t]*\r?$""", re.ASCII)
# Nothing but placeholders: what a template has for a user and a password.
_ALONE = re.compile(rf"\s*{_PLACEHOLDER.pattern}(?:\s*:\s*{_PLACEHOLDER.pattern})?\s*")


@attrs.frozen
class _Line:
    """One line without its comment.

    :ivar quotes: where what stands in quotes begins and ends, without the quotes.
    :ivar keys: where its keys begin, and the keys in small letters.
    :ivar above: the key that it goes on with from the line before, or empty.
    """

    text: str
    quotes: Sequence[tuple[int, int]]
    keys: Sequence[tuple[int, str]]
    above: str

    def quoted(self, place: int) -> tuple[int, int] | None:
        """Return the quotes in which a place is, or None."""
        index = bisect.bisect(self.quotes, (place, len(self.text))) - 1
        return self.quotes[index] if index >= 0 and place < self.quotes[index][1] else None

    def key(self, place: int) -> str:
        """Return the last key in front of a place."""
        index = bisect.bisect(self.keys, (place,)) - 1
        return self.keys[index][1] if index >= 0 else self.above

    def is_secret(self, place: int) -> bool:
        """Tell whether what stands at a place may be a part of a password."""
        before = (key for start, key in self.keys if start < place)
        return self.key(place) == _AUTH or _AUTH in before


def find_placeholders(text: str, file: str) -> list[Problem]:
    """Return the problem with each line that has a placeholder outside comments.

    The text need not be YAML: a template seldom is. What may be a password is not repeated, and a
    password in quotes, or in a block of text, may have ``{{ }}`` in it.
    """
    problems: list[Problem] = []
    if "{{" not in text:
        return problems
    above = ""
    # The column of the key whose block of text it is.
    block: int | None = None
    for number, written in enumerate(text.split("\n"), start=1):
        if block is not None and not _is_in_block(written, block):
            block = None
        if block is None:
            line = _read(written, above)
            opened = _BLOCK.search(line.text)
            if opened is not None:
                block = opened.start()
        else:
            # All of it is text: nothing in it is a key, a quote or a comment.
            line = _Line(written, [(0, len(written))], [], _AUTH)
        match = _first_placeholder(line) if "{{" in written else None
        if match is not None:
            hidden = line.quoted(match.start()) is not None or line.is_secret(match.start())
            name = "{{ ... }}" if hidden or not _NAMED.fullmatch(match[0]) else match[0]
            message = (
                f"found the placeholder {name}: this file is a template that nobody has filled in "
                "(put the value in its place, or render the template)"
            )
            problems.append(Problem(file, number, match.start() + 1, "", message))
        above = line.key(len(line.text))
    return problems


def _is_in_block(line: str, column: int) -> bool:
    return not line.strip() or len(line) - len(line.lstrip(" ")) > column


def _first_placeholder(line: _Line) -> re.Match[str] | None:
    """Find a placeholder that is not just a part of a password in quotes."""
    place = 0
    while (match := _PLACEHOLDER.search(line.text, place)) is not None:
        quotes = line.quoted(match.start())
        if quotes is None or line.key(quotes[0]) != _AUTH or _ALONE.fullmatch(line.text, *quotes):
            return match
        place = quotes[1]
    return None


def _read(written: str, above: str) -> _Line:
    quotes, text = _split(written) if any(mark in written for mark in "'\"#") else ([], written)
    # A line at the margin begins something new, unless it is empty.
    goes_on = not text.strip() or text.startswith((" ", "\t"))
    keys = [(found.start(), found[1].lower()) for found in _KEY.finditer(text)]
    return _Line(text, quotes, keys, above if goes_on else "")


def _split(line: str) -> tuple[list[tuple[int, int]], str]:
    """Find the quotes and cut a YAML comment off; quotes that span lines are not followed."""
    quotes = []
    quote, start, before = "", 0, " "
    index = 0
    while index < len(line):
        char = line[index]
        if quote:
            # An escape, or a quote that is written twice.
            pair = line[index : index + 2]
            if (quote == '"' and char == "\\") or (quote == "'" and pair == "''"):
                index += 1
            elif char == quote:
                quotes.append((start, index))
                quote = ""
        elif char == "#" and before in " \t":
            return quotes, line[:index]
        elif char in "'\"" and before in _OPENERS:
            quote, start = char, index + 1
        before = char
        index += 1
    if quote:
        quotes.append((start, len(line)))
    return quotes, line
