"""From files to the configuration, or to everything that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, cast

import attrs

from image_cri_shim.config.content import decoded, read_content, tree
from image_cri_shim.config.document import SIZE_LIMIT, Kind, Scalar
from image_cri_shim.config.drop_ins import drop_ins
from image_cri_shim.config.keys import CACHE_KEYS, KEYS, LOG_KEYS, Key
from image_cri_shim.config.mapping import Found, Walk
from image_cri_shim.config.merging import merge
from image_cri_shim.config.registries import read_registries
from image_cri_shim.config.rules import read_rules
from image_cri_shim.config.settings import CacheConfig, Config, LogLevels
from image_cri_shim.config.sockets import KNOWN_SOCKETS, same_path
from image_cri_shim.errors import ConfigError, Problem

# The keys that are part of one value, the offline registry.
_OFFLINE = ("address", "auth", "offlinePriority")
_DEFAULTS = Config()
# What files without any key mean: the defaults, as an object of its own, for such a file may
# also be one that was cut off.
NOTHING_SAID = Config()
# The file that is read unless another one is named.
DEFAULT_CONFIG = "/etc/image-cri-shim.yaml"


def load(path: str | os.PathLike[str], *, required: bool = False) -> Config:
    """Read the configuration file at ``path`` and its drop-ins, as ``files`` lists them.

    :param required: whether the file itself must be there; without it, drop-ins alone will do.
    :raises ConfigError: something cannot be read, or says something that it must not; nothing else.
    """
    name = os.fspath(path)
    problems: list[Problem] = []
    beside: tuple[str, ...] = ()
    try:
        beside = drop_ins(name)
    except ConfigError as error:
        problems += error.problems
    # One that does not exist is read as well if nothing else is there: to say what is wrong.
    itself = required or os.path.lexists(name) or not beside
    texts: list[tuple[str, str]] = []
    size = 0
    for file in (*([name] if itself else []), *beside):
        try:
            data = read_content(file, drop_in=file != name)
            text = None if data is None else decoded(data, file)
        except ConfigError as error:
            problems += error.problems
            continue
        if data is None or text is None:
            continue
        size += len(data)
        if size > SIZE_LIMIT:
            message = f"with the files before it, it is larger than {SIZE_LIMIT // 1024} KiB"
            problems.append(Problem(file, 0, 0, "", message))
            break
        texts.append((file, text))
    return _parse_all(texts, problems)


def parse_bytes(data: bytes, filename: str) -> Config:
    """Read a configuration file's content, or the beginning of one that is too long.

    :param filename: what to call it in problems.
    :raises ConfigError: with everything that is wrong with it; nothing else.
    """
    return parse(decoded(data, filename), filename)


def parse(text: str, filename: str) -> Config:
    """Read a configuration file's text.

    :param filename: what to call it in problems.
    :raises ConfigError: with everything that is wrong with the text; nothing else.
    """
    return _parse_all([(filename, text)], [])


def _parse_all(files: Sequence[tuple[str, str]], known: Sequence[Problem]) -> Config:
    """Read the texts of all files.

    :param files: what to call each, and its text, in their order.
    :param known: what is wrong with other files.
    """
    problems = list(known)
    walk = Walk()
    found = []
    for name, text in files:
        try:
            root = tree(text, name)
        except ConfigError as error:
            problems += error.problems
            continue
        if root is not None and not (isinstance(root, Scalar) and root.kind is Kind.NULL):
            found.append(walk.mapping(root, KEYS))
    config = NOTHING_SAID
    # What the files say together can be judged only if all of them can be read.
    if found and not problems:
        config = _config(merge(found, walk), walk)
    problems += walk.problems
    if problems:
        raise ConfigError(_in_order(problems, [name for name, _ in files]))
    return config


def _in_order(problems: Iterable[Problem], files: Sequence[str]) -> list[Problem]:
    """Sort problems by their places: the files in their order, behind those that were not read."""
    order = {name: index for index, name in enumerate(files)}
    return sorted(problems, key=lambda one: (order.get(one.file, -1), one.line, one.column))


def _config(found: dict[str, Found], walk: Walk) -> Config:
    """Put the values together; what they say together may be wrong as well."""
    registries = read_registries(found, walk)
    given = _attributes(found, [key for key in KEYS if key.parser is not None])
    if "cache" in found:
        inner = cast("dict[str, Found]", found["cache"].value)
        given["cache"] = CacheConfig(**_attributes(inner, CACHE_KEYS))
    if "logLevels" in found:
        inner = cast("dict[str, Found]", found["logLevels"].value)
        given["log_levels"] = LogLevels(**_attributes(inner, LOG_KEYS))
    config = attrs.evolve(
        _DEFAULTS,
        offline=registries.offline,
        registries=registries.others,
        rules=read_rules(found, registries, walk),
        **given,
    )
    _check_sockets(config, found, walk)
    return config


def _check_sockets(config: Config, found: dict[str, Found], walk: Walk) -> None:
    """Keep it if one path is said to be that of two sockets."""

    def clash(name: str, other: str, what: str) -> None:
        if walk.refused(name) or walk.refused(other):
            return
        # Where only one of the two is given, that one is at fault.
        name, other = (name, other) if name in found else (other, name)
        place = found[other].line_from(found[name]) if other in found else "the default"
        message = f"expected {what}, found the same file as in `{other}` ({place})"
        walk.refuse(found[name], name, message)

    if config.cri is not None and same_path(config.shim, config.cri):
        clash("cri", "shim", "the runtime's socket")
    admin = config.admin_socket
    if admin is None:
        return
    own = "a socket of its own"
    if same_path(admin, config.shim):
        clash("adminSocket", "shim", own)
    elif config.cri is not None and same_path(admin, config.cri):
        clash("adminSocket", "cri", own)
    elif any(same_path(admin, one) for one in KNOWN_SOCKETS):
        message = "expected a socket of its own, found the place of a runtime's"
        walk.refuse(found["adminSocket"], "adminSocket", message)


# What the table's parsers return fits the attributes of the same name; a test holds them together.
def _attributes(found: dict[str, Found], keys: Iterable[Key]) -> dict[str, Any]:
    names = (key for key in keys if key.name in found and key.name not in _OFFLINE)
    return {key.attribute: found[key.name].value for key in names}
