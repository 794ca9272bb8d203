"""Keep and find images as containerd's CRI plugin does, in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HEX = re.compile(r"[0-9a-f]{64}")
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9a-f:]+\](?::[0-9]+)?)/)?"
    rf"(?P<path>{COMPONENT}(?:/{COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


class InvalidReferenceError(ValueError):
    """Say what containerd says about a reference that it cannot parse."""


class AmbiguousIDError(ValueError):
    """Say what containerd says about a short ID that fits several images."""


@dataclass(frozen=True)
class Reference:
    """A parsed image reference, complete: with host, and with a tag or a digest but not both."""

    host: str
    path: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        return f"{self.host}/{self.path}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


@dataclass(frozen=True)
class Held:
    """One image in the store; `info` is the JSON text of a verbose status."""

    id: str
    size: int
    info: str


def parse(text: str) -> Reference:
    """Complete and parse an image reference; a digest beats a tag. Raises InvalidReferenceError."""
    if HEX.fullmatch(text):
        raise InvalidReferenceError(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    first, slash, _ = text.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost" or first != first.lower()):
        text = f"docker.io/{text}" if slash else f"docker.io/library/{text}"
    match = NAME.fullmatch(text)
    if not match or not match["host"]:
        if text.lower() != text and NAME.fullmatch(text.lower()):
            raise InvalidReferenceError(
                "invalid reference format: repository name must be lowercase"
            )
        raise InvalidReferenceError("invalid reference format")
    digest = match["digest"] or ""
    host, path = match["host"], match["path"]
    if host in ("docker.io", "index.docker.io"):
        host, path = "docker.io", path if "/" in path else f"library/{path}"
    return Reference(
        host=host,
        path=path,
        tag="" if digest else match["tag"] or "latest",
        digest=digest,
    )


class Images:
    """Hold images by ID, with the names that lead to each."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._names: dict[str, str] = {}

    def add(self, reference: Reference, manifest_digest: str, image: Held) -> None:
        """Keep what was pulled: the tag (if any) moves to it, the digest leads to it."""
        self._held[image.id] = image
        self._names[f"{reference.name}@{manifest_digest}"] = image.id
        if reference.tag:
            self._names[str(reference)] = image.id

    def find(self, text: str) -> Held | None:
        """Find an image by name, ID or short ID, as containerd resolves them.

        A manifest's digest alone finds nothing. Raises AmbiguousIDError.
        """
        if not DIGEST.fullmatch(text):
            try:
                named = self._names.get(str(parse(text)))
            except InvalidReferenceError:
                named = None
            if named:
                return self._held[named]
        prefix = text.removeprefix("sha256:")
        found = [
            i for key, i in self._held.items() if key.removeprefix("sha256:").startswith(prefix)
        ]
        if len(found) > 1:
            raise AmbiguousIDError(f'can not resolve "{text}" locally: ambiguous digest string')
        return found[0] if found else None

    def remove(self, image: Held) -> None:
        """Remove an image with all its names."""
        self._held.pop(image.id, None)
        for name in [name for name, owner in self._names.items() if owner == image.id]:
            del self._names[name]

    def all(self) -> list[Held]:
        """Return every image."""
        return list(self._held.values())

    def names(self, image: Held) -> tuple[list[str], list[str]]:
        """Return an image's repo_tags and repo_digests, each sorted."""
        mine = sorted(name for name, owner in self._names.items() if owner == image.id)
        return [n for n in mine if "@" not in n], [n for n in mine if "@" in n]
