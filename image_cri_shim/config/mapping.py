"""Walking the tree with the table of keys: every value is read, every problem is kept."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import attrs

from image_cri_shim.config.document import REFUSED, Element, Kind, Mapping, Scalar, Sequence
from image_cri_shim.config.keys import Key
from image_cri_shim.errors import Problem

# What looks like a key is repeated; ``{auth:admin:secret}`` makes a key of something else.
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}", re.ASCII)


@attrs.frozen
class Found:
    """A value that was given, and where.

    :ivar value: what its parser returned; a dict of the same for a mapping, a list of such Found
        for a list.
    """

    value: object = attrs.field(repr=False)
    line: int
    column: int
    path: str


class Walk:
    """One pass over a file's tree.

    :ivar problems: what was wrong so far, in the order in which it was met.
    """

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file

    def refuse(self, place: Element | Found, path: str, message: str) -> None:
        """Keep a problem."""
        self.problems.append(Problem(self._file, place.line, place.column, path, message))

    def refused(self, path: str) -> bool:
        """Tell whether there is a problem with exactly this key."""
        return any(problem.path == path for problem in self.problems)

    def mapping(self, element: Element, keys: tuple[Key, ...], path: str = "") -> dict[str, Found]:
        """Return what is given for ``keys``, by name; what is wrong is left out."""
        found: dict[str, Found] = {}
        if not isinstance(element, Mapping):
            names = ", ".join(key.name for key in keys)
            self.refuse(element, path, f"expected a mapping of {names}; found {_what(element)}")
            return found
        missing = {key.name for key in keys if key.required}
        known = {key.name: key for key in keys}
        for name, place, value in self._entries(element, path):
            inner = f"{path}.{name}" if path else name
            if name not in known:
                self.refuse(place, inner, f"unknown key ({_suggestion(name, keys)})")
            elif not (isinstance(value, Scalar) and value.kind is Kind.NULL):
                missing.discard(name)
                item = self._value(value, known[name], inner)
                if item is not None:
                    found[name] = item
        for name in sorted(missing):
            self.refuse(element, path, f"expected the key `{name}`, found none")
        return found

    def _entries(self, element: Mapping, path: str) -> Iterator[tuple[str, Scalar, Element]]:
        """Yield the keys that are names, once each."""
        seen: dict[str, Scalar] = {}
        for key, value in element.entries:
            if not isinstance(key, Scalar) or key.kind in REFUSED:
                self.refuse(key, path, f"expected a key, found {_what(key)}")
            elif key.text == "<<":
                self.refuse(key, path, "expected a key, found a merge key (<<): write the keys out")
            elif key.kind is not Kind.STRING:
                self.refuse(key, path, f"expected a key, found {_what(key)}")
            elif _KEY.fullmatch(key.text) is None:
                message = "expected a key, found something else (is a space missing after a colon?)"
                self.refuse(key, path, message)
            elif key.text in seen:
                first = seen[key.text].line
                inner = f"{path}.{key.text}" if path else key.text
                self.refuse(key, inner, f"given twice; the first is on line {first}")
            else:
                seen[key.text] = key
                yield key.text, key, value

    def _value(self, element: Element, key: Key, path: str) -> Found | None:
        line, column = element.line, element.column
        if key.many:
            if not isinstance(element, Sequence):
                self.refuse(element, path, f"expected a list, found {_what(element)}")
                return None
            items = [
                Found(self.mapping(item, key.keys, inner), item.line, item.column, inner)
                for index, item in enumerate(element.items)
                for inner in (f"{path}[{index}]",)
            ]
            return Found(items, line, column, path)
        if key.parser is None:
            return Found(self.mapping(element, key.keys, path), line, column, path)
        expected = key.parser.expected
        if not isinstance(element, Scalar) or element.kind in REFUSED:
            self.refuse(element, path, f"expected {expected}, found {_what(element)}")
            return None
        try:
            return Found(key.parser.read(element), line, column, path)
        except ValueError as error:
            self.refuse(element, path, f"expected {expected}, {error}")
            return None


def _what(element: Element) -> str:
    """Say what kind of thing stands somewhere, and nothing of what it says."""
    if isinstance(element, Sequence):
        return "a list"
    if isinstance(element, Mapping):
        return "a mapping"
    if element.kind in REFUSED:
        return f"{element.kind.value}: write the value itself, in quotes if it begins like that"
    return element.kind.value


def _suggestion(name: str, keys: tuple[Key, ...]) -> str:
    """Name the key that was probably meant, or all there are."""
    plain = {key.name.lower(): key.name for key in keys}
    near = difflib.get_close_matches(name.lower(), plain, n=1)
    if near:
        return f"did you mean `{plain[near[0]]}`?"
    return f"known: {', '.join(key.name for key in keys)}"
