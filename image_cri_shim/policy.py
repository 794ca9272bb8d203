"""The policy: which names an image reference stands for, from the configuration alone.

Pure: no registry is asked and nothing is read here. What a reference is pulled as, and in what
order, is decided from this by the resolver, which asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import attrs

from image_cri_shim.decision import Candidate, Registry
from image_cri_shim.reference import (
    DEFAULT_DOMAIN,
    TEXT_LIMIT,
    ImageReference,
    InvalidReferenceError,
    is_image_id,
    parse_reference,
)

# How many references' names are remembered; a node has a few hundred images.
_REMEMBERED = 4096


def in_order(registries: Iterable[Registry]) -> tuple[Registry, ...]:
    """Sort registries as they are asked: higher priority, then offline first, then by domain."""
    return tuple(sorted(registries, key=lambda r: (-r.priority, not r.offline, r.domain)))


class Policy:
    """What the configuration says about image references.

    :param registries: the configured registries, in any order.
    """

    def __init__(self, registries: Iterable[Registry]) -> None:
        self.registries = in_order(registries)
        # Docker Hub is nobody's mirror: listed, it has credentials for its own names. What it holds
        # under the path of another registry's image is somebody else's.
        self._sources = tuple(r for r in self.registries if r.domain.lower() != DEFAULT_DOMAIN)
        self._by_domain = {registry.domain.lower(): registry for registry in self.registries}
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._local_names)

    def candidates(self, text: str) -> tuple[Candidate, ...]:
        """Return what an image reference may be pulled as, in order; the last is as written.

        A reference that already names a configured registry has no other candidate: it is not
        rewritten again. Docker Hub's names are, for listing it says no more than its credentials.

        :raises InvalidReferenceError: ``text`` is no image reference.
        """
        reference = parse_reference(text)
        own = self._by_domain.get(reference.domain.lower())
        as_written = Candidate(text, reference, own)
        if own in self._sources:
            return (as_written,)
        rewritten = (self._rewrite(reference, registry) for registry in self._sources)
        return (*(c for c in rewritten if c is not None), as_written)

    def local_names(self, text: str) -> tuple[str, ...]:
        """Return the names under which the runtime may hold ``text``, in order, without doubles.

        What is no image reference (an image ID, or nonsense) is only ever itself.
        """
        # Nonsense may be as long as a message; it must not stay in memory.
        return self._remembered(text) if len(text) <= TEXT_LIMIT else (text,)

    def _local_names(self, text: str) -> tuple[str, ...]:
        if is_image_id(text):
            return (text,)
        try:
            return tuple(dict.fromkeys(c.name for c in self.candidates(text)))
        except InvalidReferenceError:
            return (text,)

    @staticmethod
    def _rewrite(reference: ImageReference, registry: Registry) -> Candidate | None:
        """Rewrite a reference for a registry: the same path, another host.

        :returns: None where the result would be no valid reference (it would be too long), or one
            to another registry: without a dot, a port or a capital letter, runtimes take a host for
            a part of the path, and ``hub/library/nginx`` for an image of Docker Hub.
        """
        pinned = attrs.evolve(reference.pinned(), domain=registry.domain)
        try:
            if parse_reference(str(pinned)) != pinned:
                return None
        except InvalidReferenceError:
            return None
        return Candidate(str(pinned), pinned, registry, rewritten=True)
