"""Why a text is no YAML, in words for an operator and without a character of the text.

PyYAML's own messages show the line that they complain about, and a password may stand in it.
"""

from __future__ import annotations

import yaml

_QUOTE = "put the value in single quotes"
# What PyYAML's message contains, where the fault is (at its beginning or where it showed), and
# what to tell. The first that fits is taken.
_EXPLANATIONS = (
    (
        "mapping values are not allowed",
        False,
        f"found a second colon in one line, or a line indented too far: {_QUOTE} if it has ': '",
    ),
    ("could not find expected ':'", True, "expected a key, a colon and a space, found no such"),
    ("sequence entries are not allowed", False, "found a list's - where no list can begin"),
    ("unknown escape character", False, f"found an unknown escape after \\: {_QUOTE}"),
    ("while scanning a quoted scalar", True, "found a quote that is never closed"),
    (
        "while scanning a double-quoted scalar",
        False,
        f"found an incomplete escape after \\: {_QUOTE}",
    ),
    ("while scanning an alias", True, f"found a value that begins with *: {_QUOTE}"),
    ("while scanning an anchor", True, f"found a value that begins with &: {_QUOTE}"),
    ("while scanning a tag", True, f"found a value that begins with !: {_QUOTE}"),
    ("while parsing a tag", True, f"found a value that begins with !: {_QUOTE}"),
    ("undefined tag handle", True, f"found a value that begins with !: {_QUOTE}"),
    ("while scanning a block scalar", True, f"found a value that begins with | or >: {_QUOTE}"),
    ("while scanning a directive", True, "found a YAML directive (%) that is not understood"),
    ("YAML directive", False, "found a YAML directive (%) that is given twice"),
    ("incompatible YAML document", False, "expected YAML 1.1 or 1.2, found another version"),
    ("while parsing a flow", True, "found a list [ ] or a mapping { } that is not complete"),
    (
        "while parsing a block",
        False,
        "found wrong indentation, or something after a closing quote or bracket",
    ),
    ("expected '<document start>'", False, "found something after the end of the document"),
)
_START = "cannot start any token"
_OTHERWISE = "found something that is not YAML here"


def explain(error: Exception | None, text: str, position: tuple[int, int]) -> tuple[int, int, str]:
    """Return line, column and message for what PyYAML raised on ``text``.

    :param position: the line and column to name if the error does not know one.
    """
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        return line, column, "found a control character: YAML allows none but tabs and line breaks"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return *position, _OTHERWISE
    mark = error.problem_mark
    if error.problem is not None and _START in error.problem:
        if _character(text, mark.line, mark.column) == "\t":
            return mark.line + 1, mark.column + 1, "found a tab: YAML is indented with spaces"
        message = f"found a character with which no value can begin: {_QUOTE}"
        return mark.line + 1, mark.column + 1, message
    words = f"{error.context or ''} {error.problem or ''}"
    for fragment, at_beginning, message in _EXPLANATIONS:
        if fragment in words:
            if at_beginning and error.context_mark is not None:
                mark = error.context_mark
            return mark.line + 1, mark.column + 1, message
    return mark.line + 1, mark.column + 1, _OTHERWISE


def _character(text: str, line: int, column: int) -> str:
    lines = text.splitlines()
    return lines[line][column : column + 1] if line < len(lines) else ""
