"""Walking trees with the table of keys: every value is read, every problem is kept."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Collection, Iterator
from typing import cast

import attrs

from image_cri_shim.config.document import REFUSED, Element, Kind, Mapping, Scalar, Sequence
from image_cri_shim.config.keys import Key, instead_of
from image_cri_shim.errors import Problem

# What looks like a key is repeated; ``{auth:admin:secret}`` makes a key of something else.
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}", re.ASCII)
# How many names a message lists. And how many problems are told a name that was probably meant, out
# of how many: finding it takes time, and nobody reads more.
_LISTED = 32
_SUGGESTIONS = 100
_COMPARED = 500


@attrs.frozen
class Found:
    """A value that was given, and where.

    :ivar value: what its parser returned; a dict of the same for a mapping, a list of such Found
        for a list, without those that are wrong.
    :ivar path: the key from the top of its file, ``registries[1].priority``.
    :ivar file: what to call its file.
    :ivar earlier: where else a mapping stands that was put together from several files.
    """

    value: object = attrs.field(repr=False)
    line: int
    column: int
    path: str
    file: str
    earlier: tuple[Found, ...] = ()

    def line_from(self, other: Element | Found) -> str:
        """Say on which line it is, and of which file if ``other`` is in another one."""
        return self.line_in(other.file)

    def line_in(self, file: str) -> str:
        """Say on which line it is, and of which file if that is another one."""
        return f"line {self.line}" if file == self.file else f"line {self.line} of {self.file}"


def items_of(given: dict[str, Found], name: str) -> list[Found]:
    """Return what a list among the values of a mapping's keys holds; nothing if it is not given."""
    return cast("list[Found]", given[name].value) if name in given else []


class Walk:
    """One pass over the trees of all files.

    :ivar problems: what was wrong so far, in the order in which it was met.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        # The paths of problems and of everything that they are in, and the files. The same of
        # mappings with other keys, and of what should be a list and is none.
        self._refused: dict[str, set[str]] = {}
        self._unclear: dict[str, set[str]] = {}

    def refuse(self, place: Element | Found, path: str, message: str) -> None:
        """Keep a problem."""
        self.problems.append(Problem(place.file, place.line, place.column, path, message))
        while path and place.file not in self._refused.get(path, ()):
            self._refused.setdefault(path, set()).add(place.file)
            path = path[: max(path.rfind("."), path.rfind("["), 0)]

    def refused(self, path: str) -> bool:
        """Tell whether a file has a problem with a key's value or with something in it."""
        return path in self._refused

    def refused_in(self, item: Found, name: str) -> bool:
        """Tell whether there is a problem with the value of a key of a mapping in a list."""
        homes = (item, *item.earlier)
        return any(one.file in self._refused.get(f"{one.path}.{name}", ()) for one in homes)

    def unclear(self, path: str) -> bool:
        """Tell whether a file may have meant more: a key was no known one, or a list is none."""
        return path in self._unclear

    def unclear_in(self, item: Found) -> bool:
        """Tell whether something may be missing from a mapping in a list for such a reason."""
        homes = (item, *item.earlier)
        return any(one.file in self._unclear.get(one.path, ()) for one in homes)

    def _doubt(self, element: Element, path: str) -> None:
        self._unclear.setdefault(path, set()).add(element.file)

    def suggestion(self, name: str, known: Collection[str]) -> str:
        """Name what was probably meant in place of ``name``, or all there is."""
        if len(self.problems) < _SUGGESTIONS and len(known) <= _COMPARED:
            plain = {one.lower(): one for one in known}
            near = difflib.get_close_matches(name.lower(), plain, n=1)
            if near:
                return f"did you mean `{plain[near[0]]}`?"
        shown = [*itertools.islice(known, _LISTED), *(["..."] if len(known) > _LISTED else [])]
        return f"known: {', '.join(shown)}"

    def mapping(self, element: Element, keys: tuple[Key, ...], path: str = "") -> dict[str, Found]:
        """Return what is given for ``keys``, by name; what is wrong is left out."""
        found: dict[str, Found] = {}
        if not isinstance(element, Mapping):
            names = ", ".join(key.name for key in keys)
            self.refuse(element, path, f"expected a mapping of {names}; found {_what(element)}")
            self._doubt(element, path)
            return found
        missing = {key.name for key in keys if key.required}
        known = {key.name: key for key in keys}
        for name, place, value in self._entries(element, path):
            inner = f"{path}.{name}" if path else name
            if name not in known:
                self._doubt(element, path)
                hint = self.suggestion(name, known)
                if isinstance(value, Scalar) and value.kind is Kind.NULL and not value.text:
                    # {auth: admin:one,two} has the key two. It is not repeated.
                    message = (
                        f"unknown key without a value ({hint}): put a value with a comma in quotes"
                    )
                    self.refuse(place, path, message)
                else:
                    self.refuse(place, inner, f"unknown key ({instead_of(name, keys) or hint})")
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
            why = _no_name(key)
            if why or not isinstance(key, Scalar):
                self.refuse(key, path, f"expected a key, found {why}")
                self._doubt(key, path)
            elif key.text in seen:
                first = seen[key.text].line
                inner = f"{path}.{key.text}" if path else key.text
                self.refuse(key, inner, f"given twice; the first is on line {first}")
            else:
                seen[key.text] = key
                yield key.text, key, value

    def _value(self, element: Element, key: Key, path: str) -> Found | None:
        if not key.many:
            return self._item(element, key, path)
        if isinstance(element, Sequence):
            if key.required and not element.items:
                self.refuse(element, path, f"expected {_list_of(key)}, found an empty list")
                return None
            items = [
                self._item(item, key, f"{path}[{index}]")
                for index, item in enumerate(element.items)
            ]
            return _found([item for item in items if item is not None], element, path)
        if key.or_one and isinstance(element, Scalar) and element.kind not in REFUSED:
            item = self._item(element, key, path)
            return None if item is None else _found([item], element, path)
        hint = ""
        if key.parser is not None and isinstance(element, Scalar) and element.kind not in REFUSED:
            hint = " (put it in brackets)"
        self.refuse(element, path, f"expected {_list_of(key)}, found {_what(element)}{hint}")
        self._doubt(element, path)
        return None

    def _item(self, element: Element, key: Key, path: str) -> Found | None:
        if key.parser is None:
            return _found(self.mapping(element, key.keys, path), element, path)
        expected = key.parser.expected
        if not isinstance(element, Scalar) or element.kind in (*REFUSED, Kind.NULL):
            self.refuse(element, path, f"expected {expected}, found {_what(element)}")
            return None
        try:
            return _found(key.parser.read(element), element, path)
        except ValueError as error:
            self.refuse(element, path, f"expected {expected}, {error}")
            return None


def _found(value: object, element: Element, path: str) -> Found:
    return Found(value, element.line, element.column, path, element.file)


def _list_of(key: Key) -> str:
    if key.parser is None or not key.or_one:
        return "a list"
    return f"{key.parser.expected}, or a list of such"


def _no_name(key: Element) -> str:
    """Say what stands in a key's place, or nothing if it can be a key's name."""
    if not isinstance(key, Scalar) or key.kind in REFUSED:
        return _what(key)
    if key.text == "<<":
        return "a merge key (<<): write the keys out"
    if key.kind is not Kind.STRING:
        return _what(key)
    if _KEY.fullmatch(key.text) is None:
        return "something else (is a space missing after a colon?)"
    return ""


def _what(element: Element) -> str:
    """Say what kind of thing stands somewhere, and nothing of what it says."""
    if isinstance(element, Sequence):
        return "a list"
    if isinstance(element, Mapping):
        return "a mapping"
    if element.kind in REFUSED:
        return f"{element.kind.value}: write the value itself, in quotes if it begins like that"
    return element.kind.value
