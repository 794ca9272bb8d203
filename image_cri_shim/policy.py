"""The policy: which names an image reference stands for, from the configuration alone.

Pure: no registry is asked and nothing is read here. What a reference is pulled as, and in what
order, is decided from this by the resolver, which asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import attrs

from image_cri_shim.decision import Candidate, Registry
from image_cri_shim.reference import (
    DEFAULT_DOMAIN,
    HTTPS_PORT,
    NAME_LIMIT,
    TEXT_LIMIT,
    ImageReference,
    InvalidReferenceError,
    parse_reference,
)
from image_cri_shim.rules import Rule

# How many references' names are remembered; a node has a few hundred images.
_REMEMBERED = 4096
# Docker Hub: what images are called by, the server behind it, and what both have been called.
_DOCKER_HUB = frozenset(
    {
        DEFAULT_DOMAIN,
        f"registry-1.{DEFAULT_DOMAIN}",
        f"index.{DEFAULT_DOMAIN}",
        "registry.hub.docker.com",
    }
)


def is_docker_hub(registry: Registry) -> bool:
    """Tell whether a registry is Docker Hub, under whichever of its names."""
    return registry.domain.lower().removesuffix(HTTPS_PORT) in _DOCKER_HUB


def in_order(registries: Iterable[Registry]) -> tuple[Registry, ...]:
    """Sort registries as they are asked: higher priority, then offline first, then by domain."""
    return tuple(
        sorted(registries, key=lambda r: (-r.priority, not r.offline, r.domain.lower(), r.prefix))
    )


@attrs.frozen
class LeftOut:
    """A registry that is asked in general, and not about one reference.

    :ivar why: for the operator.
    """

    registry: Registry
    why: str


@attrs.frozen
class Plan:
    """What the configuration says about one image reference.

    :ivar reference: the reference, parsed.
    :ivar candidates: what it may be pulled as from the configured registries, in order.
    :ivar as_written: the name as it was written; its registry is the origin.
    :ivar rule: the rule that matched, or None: the default.
    :ivar excluded: what the rule says that leaves the reference alone, or empty.
    :ivar left_out: registries that would be asked about it, but for what their settings say.
    """

    reference: ImageReference
    candidates: tuple[Candidate, ...]
    as_written: Candidate
    rule: Rule | None = None
    excluded: str = ""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def origin_allowed(self) -> bool:
        """Whether the name as it was written may be pulled."""
        return self.rule is None or self.rule.origin_allowed


class Policy:
    """What the configuration says about image references.

    :param registries: the configured registries, in any order.
    :param rules: the rules, in theirs; the registries that they name are among ``registries``.
    """

    def __init__(self, registries: Iterable[Registry], rules: Sequence[Rule] = ()) -> None:
        self.registries = in_order(registries)
        self.rules = tuple(rules)
        # Docker Hub is nobody's mirror: listed, it has credentials for its own names. What it holds
        # under the path of another registry's image is somebody else's; unless a rule names it.
        self._sources = tuple(r for r in self.registries if not is_docker_hub(r))
        self._by_name: dict[str, Registry] = {}
        self._by_domain: dict[str, list[Registry]] = {}
        for registry in self.registries:
            self._by_name.setdefault(registry.name.lower(), registry)
            self._by_domain.setdefault(registry.domain.lower(), []).append(registry)
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._local_names)

    def plan(self, text: str) -> Plan:
        """Return what an image reference may be pulled as.

        A reference that already names a configured registry is not rewritten again, unless a rule
        names its host. Docker Hub's names are, for listing it says no more than its credentials.

        :raises InvalidReferenceError: ``text`` is no image reference.
        """
        reference = parse_reference(text)
        own = self._own(reference)
        as_written = Candidate(text, reference, own)
        is_own = own is not None and reference.domain.lower() != DEFAULT_DOMAIN
        rule = next((one for one in self.rules if one.matches(reference, own=is_own)), None)
        if rule is None:
            sources = () if is_own else self._sources
            found, left_out = _candidates(reference, sources, None)
            return Plan(reference, found, as_written, left_out=left_out)
        path = rule.path(reference)
        excluded = rule.excluded_by(reference)
        sources = () if excluded else self._sources_of(rule, reference, path)
        found, left_out = _candidates(reference, sources, path)
        if not rule.origin_allowed:
            found = tuple(attrs.evolve(one, forbidden=reference.domain) for one in found)
        return Plan(reference, found, as_written, rule, excluded, left_out)

    def candidates(self, text: str) -> tuple[Candidate, ...]:
        """Return all names that an image reference stands for, in order; the last is as written.

        :raises InvalidReferenceError: ``text`` is no image reference.
        """
        plan = self.plan(text)
        return (*plan.candidates, plan.as_written)

    def local_names(self, text: str) -> tuple[str, ...]:
        """Return the names under which the runtime may hold ``text``, in order, without doubles.

        What is no image reference (an image ID, or nonsense) is only ever itself.
        """
        # Nonsense may be as long as a message; it must not stay in memory.
        return self._remembered(text) if len(text) <= TEXT_LIMIT else (text,)

    def _local_names(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(candidate.name for candidate in self.candidates(text))
        except InvalidReferenceError:
            return (text,)

    def _own(self, reference: ImageReference) -> Registry | None:
        """Return the configured registry that a reference names, with the longest fitting prefix.

        Where none fits, it is still the same server that is named: one without a prefix goes
        before the others.
        """
        here = self._by_domain.get(reference.domain.lower())
        if here is None:
            return None

        def fits(registry: Registry) -> int:
            return len(registry.prefix) if _is_below(reference, registry) else -1

        return max(here, key=fits)

    def _sources_of(
        self, rule: Rule, reference: ImageReference, path: str | None
    ) -> tuple[Registry, ...]:
        """Return the registries that a rule asks about a reference.

        The server that the reference names holds it where it says. Below another path there is
        another image; so nothing else of that server is asked, but what the rule itself names or
        rewrites.
        """
        if rule.registries is not None:
            named = (self._by_name.get(name.lower()) for name in rule.registries)
            found = [registry for registry in named if registry is not None]
            return tuple(r for r in found if path is not None or not _is_below(reference, r))
        if path is not None:
            return self._sources
        return tuple(r for r in self._sources if not _is_at(reference, r))


def _is_at(reference: ImageReference, registry: Registry) -> bool:
    """Tell whether a reference names a registry's server."""
    return reference.domain.lower() == registry.domain.lower()


def _is_below(reference: ImageReference, registry: Registry) -> bool:
    """Tell whether a reference names what is below a registry's prefix."""
    below = not registry.prefix or f"{reference.repository}/".startswith(f"{registry.prefix}/")
    return below and _is_at(reference, registry)


def _candidates(
    reference: ImageReference, sources: Iterable[Registry], path: str | None
) -> tuple[tuple[Candidate, ...], tuple[LeftOut, ...]]:
    """Rewrite a reference for each registry that is a source for it.

    :param path: the path that a rule has written for it.
    """
    pinned = reference.pinned()
    origin = _same_domain(pinned)
    kind = "tag" if pinned.digest is None else "digest"
    found: dict[ImageReference, Candidate] = {}
    left_out: list[LeftOut] = []
    for registry in sources:
        if registry.trust_for not in ("all", kind):
            trusted = "with" if registry.trust_for == "digest" else "without"
            left_out.append(LeftOut(registry, f"trusted for references {trusted} a digest only"))
            continue
        candidate = _rewrite(pinned, registry, path)
        if candidate is None:
            left_out.append(LeftOut(registry, "the name would be no valid one there"))
        else:
            found.setdefault(_same_domain(candidate.reference), candidate)
    # The origin comes after all candidates, and not at all where a rule does not allow it.
    found.pop(origin, None)
    return tuple(found.values()), tuple(left_out)


def _same_domain(reference: ImageReference) -> ImageReference:
    """Return what is equal for references that differ in the case of their domain alone."""
    return attrs.evolve(reference, domain=reference.domain.lower())


def _rewrite(pinned: ImageReference, registry: Registry, path: str | None) -> Candidate | None:
    """Rewrite a reference for a registry: another host, and the same path unless told otherwise.

    :returns: None where the result would be no valid reference (it would be too long, or have a
        host with a port in its path), or one to another registry: without a dot, a port or a
        capital letter, runtimes take a host for a part of the path, and ``hub/library/nginx`` for
        an image of Docker Hub.
    """
    if path is None:
        path = pinned.repository
        if registry.keep_host:
            path = f"{pinned.domain.lower()}/{path}"
    repository = f"{registry.prefix}/{path}" if registry.prefix else path
    rewritten = attrs.evolve(pinned, domain=registry.domain, repository=repository)
    name = str(rewritten)
    try:
        if len(rewritten.name) > NAME_LIMIT or parse_reference(name) != rewritten:
            return None
    except InvalidReferenceError:
        return None
    return Candidate(name, rewritten, registry, rewritten=True)
