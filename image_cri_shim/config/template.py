"""Templates that nobody has filled in: ``address: {{ .registryDomain }}``."""

from __future__ import annotations

import re

from image_cri_shim.errors import Problem

_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")
# A field's or a variable's bare name. Anything longer may quote a default password.
_NAMED = re.compile(r"\{\{-?[ \t]*[.$][A-Za-z_][\w.]*[ \t]*-?\}\}", re.ASCII)
_OPENERS = " \t:-,[{"


def find_placeholder(text: str, file: str) -> Problem | None:
    """Return the problem with the first placeholder outside comments, or None.

    The text need not be YAML: a template seldom is.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if "{{" not in line:
            continue
        match = _PLACEHOLDER.search(_without_comment(line))
        if match is None:
            continue
        shown = match[0] if _NAMED.fullmatch(match[0]) else "{{ ... }}"
        message = (
            f"found the placeholder {shown}: this file is a template that nobody has filled in "
            "(put the value in its place, or render the template)"
        )
        return Problem(file, number, match.start() + 1, "", message)
    return None


def _without_comment(line: str) -> str:
    """Cut a YAML comment off; quotes that span lines are not followed."""
    quote = ""
    before = " "
    escaped = False
    for index, char in enumerate(line):
        if quote:
            if escaped:
                escaped = False
            elif char == "\\" and quote == '"':
                escaped = True
            elif char == quote:
                quote = ""
        elif char == "#" and before in " \t":
            return line[:index]
        elif char in "'\"" and before in _OPENERS:
            quote = char
        before = char
    return line
