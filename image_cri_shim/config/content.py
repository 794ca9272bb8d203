"""One configuration file: its bytes, its text, and the tree that is in it."""

from __future__ import annotations

import codecs
import errno
import os
from collections.abc import Iterable, Iterator

from image_cri_shim.config.document import (
    SIZE_LIMIT,
    Element,
    Mapping,
    Scalar,
    Sequence,
    read_document,
)
from image_cri_shim.config.template import find_placeholders
from image_cri_shim.errors import ConfigError, Problem
from image_cri_shim.regular_file import read_regular

_TOO_BIG = f"it is larger than {SIZE_LIMIT // 1024} KiB: this cannot be the configuration"


def read_content(path: str, *, drop_in: bool = False) -> bytes | None:
    """Return what a file begins with, up to one byte more than it may have.

    :param drop_in: whether it was found in a directory; what has gone from there since is None.
    :raises ConfigError: it cannot be read.
    """
    remedy = "take it out of the directory" if drop_in else "name one that is"
    irregular = f"this is no regular file: {remedy}"
    try:
        content = read_regular(path, SIZE_LIMIT + 1)
        if content is not None:
            return content
        message = irregular
    except FileNotFoundError:
        message = "there is no such file: write it, or name another one"
        if drop_in:
            if not os.path.lexists(path):
                return None
            message = "this is a symbolic link to a file that does not exist: mend it or remove it"
    except PermissionError:
        message = f"no permission to read it: let user ID {os.geteuid()} read it, or be another"
    except IsADirectoryError:
        way_out = "move it elsewhere" if drop_in else "name the file in it"
        message = f"this is a directory: {way_out}"
    except OSError as error:
        # ENXIO: what opening a socket's file ends in.
        why = f"it cannot be read: {error.strerror or type(error).__name__}"
        message = irregular if error.errno == errno.ENXIO else why
    except ValueError:
        message = "this cannot be the name of a file"
    raise _whole_file(path, message)


def decoded(data: bytes, name: str) -> str:
    """Return the text of a file.

    :raises ConfigError: there is more of it than may be, or it is not UTF-8.
    """
    if len(data) > SIZE_LIMIT:
        raise _whole_file(name, _TOO_BIG)
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        start = error.start
    # Not raised in the handler: the error holds the whole file.
    line = data.count(b"\n", 0, start) + 1
    column = len(data[data.rfind(b"\n", 0, start) + 1 : start].decode()) + 1
    raise ConfigError([Problem(name, line, column, "", "found a byte that is not UTF-8")])


def tree(text: str, name: str) -> Element | None:
    """Return what is in a file's text; None if there is nothing but comments.

    :raises ConfigError: it is too long, a template that nobody has filled in, or no YAML.
    """
    if len(text) > SIZE_LIMIT:
        raise _whole_file(name, _TOO_BIG)
    placeholders = find_placeholders(text, name)
    if placeholders:
        raise ConfigError(placeholders)
    return read_document(text, name)


def last_said(paths: Iterable[str], name: str) -> str | None:
    """Return what several files say last for a key at the top, whatever else is wrong with them.

    :returns: the text of its value; None if no file that is YAML has one.
    """
    said = None
    for path in paths:
        for value in _values(_tree_of(path), name):
            if isinstance(value, Scalar):
                said = value.text
    return said


def holds_password(path: str) -> bool:
    """Tell whether a configuration file has an `auth` with something in it, for any registry."""
    root = _tree_of(path)
    tops = list(_values(root, "auth"))
    for listed in _values(root, "registries"):
        if isinstance(listed, Sequence):
            tops += [value for item in listed.items for value in _values(item, "auth")]
    return any(isinstance(value, Scalar) and bool(value.text) for value in tops)


def _tree_of(path: str) -> Element | None:
    """Return what is in a file; None if it cannot be read."""
    try:
        data = read_content(path)
        return None if data is None else tree(decoded(data, path), path)
    except ConfigError:
        return None


def _values(element: Element | None, name: str) -> Iterator[Element]:
    """Yield what a mapping has under a key."""
    for key, value in element.entries if isinstance(element, Mapping) else ():
        if isinstance(key, Scalar) and key.text == name:
            yield value


def _whole_file(name: str, message: str) -> ConfigError:
    return ConfigError([Problem(name, 0, 0, "", message)])
