"""YAML as a tree that knows its lines: what may be in it, and where each part stands.

This is the part of YAML that a configuration needs: one document of mappings, lists and scalars.
Anchors, aliases and tags are not expanded; each stays in the tree as what it is, and what reads the
tree refuses it where it stands. So nothing in a file can multiply, and a password that happens to
begin with ``*``, ``&`` or ``!`` is not taken for something else.
"""

from __future__ import annotations

import enum
from typing import NoReturn, TypeAlias

import attrs
import yaml

from image_cri_shim.config.syntax import explain
from image_cri_shim.errors import ConfigError, Problem

# Bounds that no sensible file comes near; with them, reading takes seconds at most.
SIZE_LIMIT = 1 << 20
NODE_LIMIT = 100_000
DEPTH_LIMIT = 16


class Kind(enum.Enum):
    """What a scalar is in YAML 1.1; the value is how to say it."""

    STRING = "a text"
    NULL = "nothing"
    BOOLEAN = "a boolean"
    INTEGER = "a whole number"
    FLOAT = "a number"
    OTHER = "a date or a special value"
    ALIAS = "an alias (*name)"
    ANCHOR = "an anchor (&name)"
    TAG = "a tag (!name)"


# Kinds that have no text of their own.
REFUSED = frozenset({Kind.ALIAS, Kind.ANCHOR, Kind.TAG})
_TAGS = {
    "tag:yaml.org,2002:str": Kind.STRING,
    "tag:yaml.org,2002:null": Kind.NULL,
    "tag:yaml.org,2002:bool": Kind.BOOLEAN,
    "tag:yaml.org,2002:int": Kind.INTEGER,
    "tag:yaml.org,2002:float": Kind.FLOAT,
}


@attrs.frozen
class Scalar:
    """One value as it is written.

    :ivar line: counted from 1, as in all parts of the tree.
    :ivar column: counted from 1.
    :ivar text: the characters of the value, after quotes and escapes; may be a secret.
    :ivar quoted: whether it is in quotes or is a block of text.
    :ivar file: what to call its file, as in all parts of the tree.
    """

    line: int
    column: int
    kind: Kind
    text: str = attrs.field(default="", repr=False)
    quoted: bool = False
    file: str = ""


@attrs.frozen
class Sequence:
    """A list."""

    line: int
    column: int
    items: tuple[Element, ...]
    file: str = ""


@attrs.frozen
class Mapping:
    """Keys and values in the order of the file; a key can be anything, and can be there twice."""

    line: int
    column: int
    entries: tuple[tuple[Element, Element], ...]
    file: str = ""


Element: TypeAlias = Scalar | Sequence | Mapping


def read_document(text: str, file: str) -> Element | None:
    """Return the one document in ``text``; None if there is nothing but comments.

    :raises ConfigError: it is not YAML, or none of the kind that the module describes. The message
        never repeats any of the text.
    """
    text = text.removeprefix("\ufeff")
    failure: Exception | None = None
    reader: _Reader | None = None
    try:
        reader = _Reader(text, file)
        return reader.document()
    # PyYAML lets chr() and int() fail on an escape or a version that is out of their range.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        failure = error
    # Not raised in the handler: the failure holds a piece of the file, and would be its context.
    line, column, message = explain(failure, text, reader.position() if reader else (1, 1))
    raise ConfigError([Problem(file, line, column, "", message)])


class _Reader:
    """Makes the tree from PyYAML's events; they come one by one, so bounds stop it in time."""

    def __init__(self, text: str, file: str) -> None:
        # The one that is written in C words its errors differently and is not everywhere.
        self._loader = yaml.SafeLoader(text)
        self._file = file
        self._nodes = 0

    def position(self) -> tuple[int, int]:
        """Return line and column up to which the text has been read."""
        return self._loader.line + 1, self._loader.column + 1

    def document(self) -> Element | None:
        """Read everything."""
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        root = self._element(self._next(), 1)
        self._next()  # the document's end
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(event, "expected one document, found a second one (after a line ---)")
        return root

    def _element(self, event: yaml.Event, depth: int) -> Element:
        self._nodes += 1
        if self._nodes > NODE_LIMIT:
            self._refuse(event, f"expected at most {NODE_LIMIT} values, found more")
        if depth > DEPTH_LIMIT:
            self._refuse(event, f"expected at most {DEPTH_LIMIT} levels, found deeper nesting")
        line, column = _place(event)
        file = self._file
        element: Element
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := self._next(), yaml.SequenceEndEvent):
                items.append(self._element(inner, depth + 1))
            element = Sequence(line, column, tuple(items), file)
        elif isinstance(event, yaml.MappingStartEvent):
            entries = []
            while not isinstance(inner := self._next(), yaml.MappingEndEvent):
                key = self._element(inner, depth + 1)
                entries.append((key, self._element(self._next(), depth + 1)))
            element = Mapping(line, column, tuple(entries), file)
        elif isinstance(event, yaml.ScalarEvent):
            kind = self._kind(event)
            element = Scalar(line, column, kind, event.value, bool(event.style), file)
        else:
            return Scalar(line, column, Kind.ALIAS, file=file)
        if event.anchor is not None:
            return Scalar(line, column, Kind.ANCHOR, file=file)
        if event.tag is not None:
            return Scalar(line, column, Kind.TAG, file=file)
        return element

    def _kind(self, event: yaml.ScalarEvent) -> Kind:
        if event.style:
            return Kind.STRING
        tag = self._loader.resolve(yaml.ScalarNode, event.value, (True, False))
        return _TAGS.get(tag, Kind.OTHER)

    def _next(self) -> yaml.Event:
        event: yaml.Event = self._loader.get_event()
        return event

    def _refuse(self, event: yaml.Event, message: str) -> NoReturn:
        line, column = _place(event)
        raise ConfigError([Problem(self._file, line, column, "", message)])


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
