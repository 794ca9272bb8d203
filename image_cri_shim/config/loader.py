"""From a file to the configuration, or to everything that is wrong with it."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Iterable
from typing import Any, cast

import attrs

from image_cri_shim.config.document import SIZE_LIMIT, Kind, Scalar, read_document
from image_cri_shim.config.keys import CACHE_KEYS, KEYS, Key
from image_cri_shim.config.mapping import Found, Walk
from image_cri_shim.config.registries import read_registries
from image_cri_shim.config.rules import read_rules
from image_cri_shim.config.settings import CacheConfig, Config
from image_cri_shim.config.sockets import same_path
from image_cri_shim.config.template import find_placeholders
from image_cri_shim.errors import ConfigError, Problem

# The keys that are part of one value, the offline registry.
_OFFLINE = ("address", "auth", "offlinePriority")
_DEFAULTS = Config()
# What a file without any key means: the defaults, as an object of its own, for such a file may
# also be one that was cut off.
NOTHING_SAID = Config()
# The file that is read unless another one is named.
DEFAULT_CONFIG = "/etc/image-cri-shim.yaml"
_NOT_REGULAR = "this is no regular file: name one that is"
_TOO_BIG = f"it is larger than {SIZE_LIMIT // 1024} KiB: this cannot be the configuration"


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a FIFO has no writer yet, and the daemon has other things to do."""
    return os.open(path, flags | os.O_NONBLOCK)


def load(path: str | os.PathLike[str]) -> Config:
    """Read the configuration file at ``path``.

    :raises ConfigError: it cannot be read, or says something that it must not; nothing else.
    """
    name = os.fspath(path)
    message = ""
    data = b""
    try:
        with open(name, "rb", opener=_open_at_once) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                data = file.read(SIZE_LIMIT + 1)
            else:
                message = _NOT_REGULAR
    except FileNotFoundError:
        message = "there is no such file: write it, or name another one"
    except PermissionError:
        message = f"no permission to read it: let user ID {os.geteuid()} read it, or be another"
    except IsADirectoryError:
        message = "this is a directory: name the file in it"
    except OSError as error:
        # ENXIO: what opening a socket's file ends in.
        why = f"it cannot be read: {error.strerror or type(error).__name__}"
        message = _NOT_REGULAR if error.errno == errno.ENXIO else why
    except ValueError:
        message = "this cannot be the name of a file"
    if message:
        raise _whole_file(name, message)
    return parse_bytes(data, name)


def parse_bytes(data: bytes, filename: str) -> Config:
    """Read a configuration file's content, or the beginning of one that is too long.

    :param filename: what to call it in problems.
    :raises ConfigError: with everything that is wrong with it; nothing else.
    """
    return parse(_decoded(data, filename), filename)


def parse(text: str, filename: str) -> Config:
    """Read a configuration file's text.

    :param filename: what to call it in problems.
    :raises ConfigError: with everything that is wrong with the text; nothing else.
    """
    if len(text) > SIZE_LIMIT:
        raise _whole_file(filename, _TOO_BIG)
    placeholders = find_placeholders(text, filename)
    if placeholders:
        raise ConfigError(placeholders)
    root = read_document(text, filename)
    if root is None or (isinstance(root, Scalar) and root.kind is Kind.NULL):
        return NOTHING_SAID
    walk = Walk(filename)
    config = _config(walk.mapping(root, KEYS), walk)
    if walk.problems:
        raise ConfigError(sorted(walk.problems, key=lambda one: (one.line, one.column)))
    return config


def _whole_file(name: str, message: str) -> ConfigError:
    return ConfigError([Problem(name, 0, 0, "", message)])


def _decoded(data: bytes, name: str) -> str:
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


def _config(found: dict[str, Found], walk: Walk) -> Config:
    """Put the values together; what they say together may be wrong as well."""
    registries = read_registries(found, walk)
    given = _attributes(found, [key for key in KEYS if key.parser is not None])
    if "cache" in found:
        inner = cast("dict[str, Found]", found["cache"].value)
        given["cache"] = CacheConfig(**_attributes(inner, CACHE_KEYS))
    config = attrs.evolve(
        _DEFAULTS,
        offline=registries.offline,
        registries=registries.others,
        rules=read_rules(found, registries, walk),
        **given,
    )
    if config.cri is not None and same_path(config.shim, config.cri) and not walk.refused("shim"):
        other = f"line {found['shim'].line}" if "shim" in found else "the default"
        message = f"expected the runtime's socket, found the same file as in `shim` ({other})"
        walk.refuse(found["cri"], "cri", message)
    return config


# What the table's parsers return fits the attributes of the same name; a test holds them together.
def _attributes(found: dict[str, Found], keys: Iterable[Key]) -> dict[str, Any]:
    names = (key for key in keys if key.name in found and key.name not in _OFFLINE)
    return {key.attribute: found[key.name].value for key in names}
