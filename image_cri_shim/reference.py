"""Image references and image IDs: the two things that the CRI calls an image's name.

The grammar is that of the distribution project's ``reference`` package (its documentation, section
"Grammar"), with the normalisation that container runtimes apply to short names: ``nginx`` means
``docker.io/library/nginx``. What any runtime accepts must be accepted here, else it would be pulled
past all rules.
"""

from __future__ import annotations

import re

import attrs

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
# The name that very old clients use for Docker Hub; runtimes treat it as docker.io.
_LEGACY_DEFAULT_DOMAIN = "index.docker.io"
OFFICIAL_NAMESPACE = "library/"
# What a domain may end with that means the same server as without it.
HTTPS_PORT = ":443"
# The longest repository that runtimes accept, in characters.
_REPOSITORY_LIMIT = 255
# The longest name, its domain included, that they all accept: those from before 2024 count it in.
NAME_LIMIT = 255
# No reference is longer: repository, tag and digest take 520 characters, a host's name 253 at most.
TEXT_LIMIT = 1024

_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = re.compile(rf"{_HOST}(?::[0-9]+)?", re.ASCII)
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_COMPONENT = re.compile(_PATH_COMPONENT, re.ASCII)
_REPOSITORY = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_FULL_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)
_SHORT_ID = re.compile(r"(?:sha256:)?[0-9a-f]{1,63}", re.ASCII)
# As clients shorten them; no image has such a name, while some are called by less of it, as cafe.
_USUAL_SHORT_ID = re.compile(r"(?:sha256:)?[0-9a-f]{12,63}", re.ASCII)
# Hexadecimal digits by digest algorithm (OCI image specification, "Descriptors").
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class InvalidReferenceError(ValueError):
    """A text is no image reference; the message says why, for the operator."""


@attrs.frozen
class ImageReference:
    """A parsed and normalised image reference.

    :ivar domain: the registry's ``host[:port]``, as written; ``docker.io`` where none was written.
    :ivar repository: the path below it, lower case.
    :ivar tag: the tag, or None.
    :ivar digest: ``algorithm:hex``, or None.
    """

    domain: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The domain and the repository."""
        return f"{self.domain}/{self.repository}"

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or DEFAULT_TAG

    def pinned(self) -> ImageReference:
        """Return the reference as it is pulled: by its digest alone, else by a written-out tag."""
        if self.digest is not None:
            return attrs.evolve(self, tag=None)
        return attrs.evolve(self, tag=self.tag or DEFAULT_TAG)

    def __str__(self) -> str:
        """Write the reference in full."""
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


def is_image_id(text: str) -> bool:
    """Tell whether ``text`` can only be an image ID: 64 hex digits, with or without ``sha256:``."""
    return _FULL_ID.fullmatch(text) is not None


def may_be_short_id(text: str) -> bool:
    """Tell whether ``text`` may be an abbreviated image ID; only the runtime knows."""
    return _SHORT_ID.fullmatch(text) is not None


def is_usual_short_id(text: str) -> bool:
    """Tell whether ``text`` is abbreviated as clients do it, to 12 hex digits or a few more."""
    return _USUAL_SHORT_ID.fullmatch(text) is not None


def identifies(text: str, image_id: str) -> bool:
    """Tell whether ``text``, an image ID or the beginning of one, means ``image_id``."""
    return image_id.removeprefix("sha256:").startswith(text.removeprefix("sha256:"))


def check_domain(text: str) -> str:
    """Return ``text`` if it is a ``host[:port]``.

    :raises InvalidReferenceError: it is not.
    """
    if _DOMAIN.fullmatch(text) is None:
        raise InvalidReferenceError(f"{text!r} is not a registry's host[:port]")
    return text


def is_repository(text: str) -> bool:
    """Tell whether ``text`` is a repository: a path of lower-case components."""
    return _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether ``text`` is a tag."""
    return _TAG.fullmatch(text) is not None


def stands_for_itself(domain: str) -> bool:
    """Tell whether a domain in front of a repository is read as that domain.

    ``hub/nginx`` is an image of Docker Hub: the host has no dot, port or capital letter.
    """
    try:
        return parse_reference(f"{domain}/repository").domain == domain
    except InvalidReferenceError:
        return False


def short_path(reference: ImageReference) -> str:
    """Return a reference's path as it is usually written: ``nginx`` for ``library/nginx``."""
    path = reference.repository
    short = path.removeprefix(OFFICIAL_NAMESPACE)
    return short if reference.domain == DEFAULT_DOMAIN and "/" not in short else path


def parse_reference(text: str) -> ImageReference:
    """Parse and normalise an image reference.

    :raises InvalidReferenceError: ``text`` is not one (an image ID is not one either).
    """
    if not text:
        raise InvalidReferenceError("an image reference is empty")
    if len(text) > TEXT_LIMIT:
        # Before anything else: what is wrong with it is repeated in the message.
        raise InvalidReferenceError(
            f"{text[:40]!r}...: {len(text)} characters are no image reference"
        )
    if is_image_id(text):
        raise InvalidReferenceError(f"{text!r} is an image ID, not an image reference")
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(text, digest)
    domain, remainder = _split_domain(rest)
    repository, colon, tag = remainder.partition(":")
    if colon and not is_tag(tag):
        raise InvalidReferenceError(f"{text!r} has an invalid tag {tag!r}")
    if domain == DEFAULT_DOMAIN and "/" not in repository:
        repository = OFFICIAL_NAMESPACE + repository
    # Runtimes pull foo_bar.com/image from that host too: for them it is all one path, and what
    # stands before its first slash is where they connect to.
    if _DOMAIN.fullmatch(domain) is None and _COMPONENT.fullmatch(domain) is None:
        raise InvalidReferenceError(f"{text!r} has an invalid registry {domain!r}")
    if not is_repository(repository):
        why = "must be lower case" if repository != repository.lower() else "is invalid"
        raise InvalidReferenceError(f"{text!r}: the repository {repository!r} {why}")
    if len(repository) > _REPOSITORY_LIMIT:
        raise InvalidReferenceError(
            f"{text[:40]!r}...: the repository is longer than {_REPOSITORY_LIMIT} characters"
        )
    return ImageReference(domain, repository, tag if colon else None, digest if at else None)


def _split_domain(name: str) -> tuple[str, str]:
    """Split what precedes a digest into the domain and the rest, as runtimes do.

    The first path component is a domain if it could not be a repository's: it has a dot, a colon
    or an upper-case letter, or is ``localhost``.
    """
    first, slash, rest = name.partition("/")
    if not slash or not (
        any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()
    ):
        return DEFAULT_DOMAIN, name
    if first == _LEGACY_DEFAULT_DOMAIN:
        return DEFAULT_DOMAIN, rest
    return first, rest


def _check_digest(text: str, digest: str) -> None:
    algorithm, colon, encoded = digest.partition(":")
    length = _DIGEST_LENGTHS.get(algorithm)
    if not colon or length is None:
        known = ", ".join(_DIGEST_LENGTHS)
        raise InvalidReferenceError(f"{text!r} has an invalid digest (expected one of {known})")
    if len(encoded) != length or _HEX.fullmatch(encoded) is None:
        raise InvalidReferenceError(
            f"{text!r} has an invalid digest (expected {length} lower-case hex digits)"
        )
