"""How the single values of a rule are read: patterns, registries' names, rewritten paths."""

from __future__ import annotations

import re

from image_cri_shim.config.address import parse_address, parse_path
from image_cri_shim.config.document import Scalar
from image_cri_shim.config.fields import Parser, read_text
from image_cri_shim.pattern import (
    Pattern,
    check_tag_pattern,
    parse_pattern,
    parse_tagged_pattern,
)

_ALL_BELOW = "/*"
_BARE_WORD = re.compile(r"[\w*-]{1,60}", re.ASCII)


def _pattern(scalar: Scalar) -> Pattern:
    text = read_text(scalar)
    try:
        return parse_pattern(text)
    except ValueError:
        if _has_tag(text):
            raise ValueError("found a tag in it: write it under `tags`") from None
        raise


def _has_tag(text: str) -> bool:
    try:
        return bool(parse_tagged_pattern(text).tag)
    except ValueError:
        return False


def _tagged_pattern(scalar: Scalar) -> Pattern:
    text = read_text(scalar)
    try:
        return parse_tagged_pattern(text)
    except ValueError as error:
        hint = f"; for a tag, write *:{text}" if _BARE_WORD.fullmatch(text) else ""
        raise ValueError(f"{error}{hint}") from None


def _tag(scalar: Scalar) -> str:
    return check_tag_pattern(read_text(scalar))


def _name(scalar: Scalar) -> str:
    """Return a registry's name in lower case; whether there is such a registry is not known here.

    What is no name is not repeated: somebody may have written a password into it.
    """
    text = read_text(scalar)
    if "@" in text:
        raise ValueError("found a user or a password in it: leave them out")
    scheme, mark, rest = text.partition("://")
    if not mark:
        return _parsed_name(scheme)
    try:
        hint = f"write {_parsed_name(rest)}"
    except ValueError:
        hint = "leave it out"
    raise ValueError(f"found a scheme in it: {hint}")


def _parsed_name(text: str) -> str:
    host, _, path = text.removesuffix("/").partition("/")
    domain = parse_address(host).domain.lower()
    return f"{domain}/{parse_path(path)}" if path else domain


def _origin(scalar: Scalar) -> Pattern:
    """Return the pattern of what is rewritten; its path ends with the only ``*`` in it."""
    pattern = _pattern(scalar)
    if "*" in fixed_part(pattern):
        raise ValueError("found a * in its path that is not the whole last part")
    return pattern


def _target(scalar: Scalar) -> str:
    """Return the path that an origin becomes, without the ``*`` that stands for the rest of it."""
    text = read_text(scalar)
    host, slash, _ = text.partition("/")
    if slash and ":" in host:
        # Said to whoever takes it for a place: a path alone cannot have a port or a scheme.
        raise ValueError(
            "found a registry's address in it: write the path alone, and the registry's name "
            "under the rule's `registries`"
        )
    path = text.removesuffix("*") if text == "*" or text.endswith(_ALL_BELOW) else text
    if "*" in path:
        raise ValueError("found a * in it that is not the whole last part")
    path = path.strip("/")
    return parse_path(path) if path else ""


def fixed_part(pattern: Pattern) -> str:
    """Return a pattern's path without the ``*`` or the ``/*`` at its end."""
    return "" if pattern.path == "*" else pattern.path.removesuffix(_ALL_BELOW)


PATTERN = Parser("a pattern such as docker.io/library/*", _pattern)
TAGGED_PATTERN = Parser("a pattern such as *:latest or docker.io/library/*", _tagged_pattern)
TAG = Parser("a pattern of tags such as v1.*", _tag)
NAME = Parser("the name of a registry, host[:port] or host[:port]/prefix", _name)
ORIGIN = Parser("host, host/path or host/path/*", _origin)
TARGET = Parser("a path such as google_containers/*", _target)
