"""Patterns for image references: ``docker.io/library/*``, ``*.corp``, ``*:latest``.

``*`` stands for any characters, none included. A host's pattern stands before the first slash and
never reaches beyond it; after it, ``*`` stands for slashes too. Without a ``*`` in it, a path means
itself and everything below it, as ``docker.io/library`` means all of ``docker.io/library/...``. An
image of Docker Hub's is meant by both its names: ``docker.io/nginx`` and ``docker.io/nginx*`` mean
``docker.io/library/nginx`` as well; and a host without a port means port 443 as well.
"""

from __future__ import annotations

import re

import attrs

from image_cri_shim.reference import (
    DEFAULT_DOMAIN,
    HTTPS_PORT,
    ImageReference,
    is_repository,
    is_tag,
    short_path,
    stands_for_itself,
)

_LIMIT = 512
_TAG_LIMIT = 128
_HOST = re.compile(
    r"[A-Za-z0-9._*-]+(?::(?:[0-9]+|\*))?|\[[A-Fa-f0-9:*]+\](?::(?:[0-9]+|\*))?", re.ASCII
)
_PATH = re.compile(r"[a-z0-9._/*-]+", re.ASCII)
_TAG = re.compile(r"[\w.*-]+", re.ASCII)


@attrs.frozen
class Pattern:
    """What some image references match.

    :ivar text: as it was written.
    :ivar host: the pattern of their domain, in lower case.
    :ivar path: the pattern of their repository; empty for all.
    :ivar tag: the pattern of their tag; empty for all, with and without one.
    """

    text: str
    host: str
    path: str = ""
    tag: str = ""

    @property
    def names_one_host(self) -> bool:
        """Tell whether it is about the images of one host that it names in full."""
        return "*" not in self.host

    def matches(self, reference: ImageReference) -> bool:
        """Tell whether a reference is meant.

        A reference with a digest is pulled by it, so whatever tag stands beside it matches no tag.
        """
        domain = reference.domain.lower()
        return (
            # Who writes the port that is meant without it gets no further than who does not.
            (self._has_host(domain) or self._has_host(domain.removesuffix(HTTPS_PORT)))
            and (not self.path or self._has_path(reference))
            and (not self.tag or matches_tag(self.tag, reference))
        )

    def _has_host(self, domain: str) -> bool:
        # Most patterns name another host, and a pull is tried against all of them.
        return self.host == domain or ("*" in self.host and matches_glob(self.host, domain))

    def _has_path(self, reference: ImageReference) -> bool:
        repository = reference.repository
        if "*" in self.path:
            short = short_path(reference)
            return matches_glob(self.path, repository) or (
                short != repository and matches_glob(self.path, short)
            )
        return f"{repository}/".startswith(f"{self.path}/") or self.path == short_path(reference)

    def __str__(self) -> str:
        """Write it as it was written."""
        return self.text


def matches_tag(pattern: str, reference: ImageReference) -> bool:
    """Tell whether a reference is pulled by a tag that a pattern means."""
    return reference.digest is None and matches_glob(pattern, reference.selector)


def matches_glob(pattern: str, text: str) -> bool:
    """Tell whether a whole text is what a pattern with ``*`` in it stands for.

    Each part between two ``*`` is searched for once, from the end of the one before: the first
    place is as good as any, so no step is ever taken back.
    """
    first, *middle = pattern.split("*")
    if not middle:
        return text == first
    last = middle.pop()
    place, end = len(first), len(text) - len(last)
    if place > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def parse_pattern(text: str) -> Pattern:
    """Read ``host``, ``host/path``, ``*``: a pattern without a tag.

    :raises ValueError: it is none; the message is a clause that begins with "found".
    """
    _check_length(text)
    return _parse(text, text, "")


def parse_tagged_pattern(text: str) -> Pattern:
    """Read ``host/path:tag``, ``*:latest``, or a pattern without a tag.

    :raises ValueError: it is none; the message is a clause that begins with "found".
    """
    _check_length(text)
    if "@" in text:
        raise ValueError("found a digest in it: what a digest names never changes")
    name, tag = _split_tag(text)
    if tag is None:
        return _parse(text, name, "")
    check_tag_pattern(tag)
    if not name:
        raise ValueError(f"found a tag alone: write *:{tag}")
    return _parse(text, name, tag)


def check_tag_pattern(text: str) -> str:
    """Return ``text`` if it is a pattern of tags.

    :raises ValueError: it is none; the message is a clause that begins with "found".
    """
    if not text:
        raise ValueError("found an empty tag")
    if len(text) > _TAG_LIMIT:
        raise ValueError(f"found a tag of {len(text)} characters, more than {_TAG_LIMIT}")
    if _TAG.fullmatch(text) is None:
        raise ValueError("found a tag that is not made of letters, digits, _ . - and *")
    if "*" not in text and not is_tag(text):
        raise ValueError("found a tag that begins with . or -")
    return text


def _check_length(text: str) -> None:
    if not text:
        raise ValueError("found an empty text")
    if len(text) > _LIMIT:
        raise ValueError(f"found {len(text)} characters, more than {_LIMIT}")


def _split_tag(text: str) -> tuple[str, str | None]:
    """Split a tag off; what could be a port is one, unless the host is just ``*``."""
    before, colon, last = text.rpartition(":")
    if not colon or "/" in last:
        return text, None
    if before == "*" or _HOST.fullmatch(text) is None:
        return before, last
    if last != "*":
        return text, None
    if not _is_host(before):
        return before, last
    raise ValueError(f"found * where a port or a tag may be: write {text}/* or {before}/*:*")


def _parse(text: str, name: str, tag: str) -> Pattern:
    if "://" in name:
        raise ValueError("found a scheme: write the host alone")
    host, slash, path = name.partition("/")
    if slash and not path:
        raise ValueError("found a slash at the end: leave it out, or write /*")
    if _HOST.fullmatch(host) is None:
        raise ValueError("found a host that is not made of letters, digits, . - _ and *")
    _check_path(path)
    return Pattern(text, _domain(host, path), path, tag)


def _domain(host: str, path: str) -> str:
    """Return the host as references have it, in lower case."""
    domain = host.lower()
    if domain == f"index.{DEFAULT_DOMAIN}":
        return DEFAULT_DOMAIN
    if _is_host(host):
        return domain
    if any(mark in host for mark in ".:["):
        raise ValueError(f"found {host}, which is the host of no image that a runtime would pull")
    meant = f"{host}/{path}" if path else f"library/{host}"
    raise ValueError(f"found {host}, which is no registry's host (did you mean docker.io/{meant}?)")


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None and ("*" in text or stands_for_itself(text))


def _check_path(text: str) -> None:
    if not text:
        return
    if _PATH.fullmatch(text) is None:
        raise ValueError("found a path that is not made of lower-case letters, digits, . _ - / *")
    if text.endswith("/"):
        raise ValueError("found a slash at the end: leave it out, or write /*")
    if "//" in f"/{text}":
        raise ValueError("found two slashes with nothing in between")
    wrong = next((p for p in text.split("/") if "*" not in p and not is_repository(p)), None)
    if wrong is not None:
        raise ValueError(f"found {wrong!r} in its path, which no image's name has")
