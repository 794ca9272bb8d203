"""What a held name was called before it was rewritten, as far as the rules alone can tell.

Pure. For images of which nothing is remembered: the state directory was lost, or somebody else
pulled them.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from image_cri_shim.decision import Registry
from image_cri_shim.policy import Policy
from image_cri_shim.reference import (
    DEFAULT_DOMAIN,
    OFFICIAL_NAMESPACE,
    ImageReference,
    InvalidReferenceError,
    parse_reference,
)
from image_cri_shim.rules import Rewrite, Rule


def infer_original(policy: Policy, held: str) -> str | None:
    """Return the one reference that is rewritten to ``held``, in full, or None.

    By default a registry holds the images of all origins under their paths, which do not tell whose
    they were. They do where the path begins with the host (``keepHost``), where a rule says so, and
    for ``library/...``, which is Docker Hub's.
    """
    try:
        reference = parse_reference(held)
    except InvalidReferenceError:
        return None
    found: dict[str, None] = {}
    for registry in policy.registries:
        if registry.domain.lower() != reference.domain.lower():
            continue
        for guess, rule in _guesses(policy, reference, registry):
            original = _rewritten_from(policy, guess, rule, reference)
            if original is not None:
                found[original] = None
    return next(iter(found)) if len(found) == 1 else None


def _guesses(
    policy: Policy, held: ImageReference, registry: Registry
) -> Iterator[tuple[str, Rule | None]]:
    """Yield names, domain and repository, that a held one may come from, and the rule by which."""
    path = held.repository
    if registry.prefix:
        if not path.startswith(f"{registry.prefix}/"):
            return
        path = path.removeprefix(f"{registry.prefix}/")
    if registry.keep_host:
        yield path, None
    elif path.startswith(OFFICIAL_NAMESPACE):
        yield f"{DEFAULT_DOMAIN}/{path}", None
    for rule in policy.rules:
        yield from ((name, rule) for rewrite in rule.rewrite for name in _undone(rewrite, path))
        if rule.registries is not None and registry.name in rule.registries:
            hosts = (pattern.host for pattern in rule.match if pattern.names_one_host)
            yield from ((f"{host}/{path}", rule) for host in hosts)


def _undone(rewrite: Rewrite, path: str) -> Iterator[str]:
    """Yield the name that a rewrite makes this path of, if its origin is one host."""
    origin = rewrite.origin
    if not origin.names_one_host:
        return
    below = origin.path.removesuffix("*").removesuffix("/")
    if path == rewrite.path and below:
        yield f"{origin.host}/{below}"
    rest = path if not rewrite.path else path.removeprefix(f"{rewrite.path}/")
    if rest != path or not rewrite.path:
        yield "/".join(part for part in (origin.host, below, rest) if part)


def _rewritten_from(
    policy: Policy, guess: str, rule: Rule | None, held: ImageReference
) -> str | None:
    """Return the guessed reference in full if the policy makes ``held`` of it, by that rule."""
    try:
        parsed = parse_reference(guess)
        original = str(attrs.evolve(parsed, tag=held.tag, digest=held.digest).pinned())
        plan = policy.plan(original)
    except InvalidReferenceError:
        return None
    if rule is not None and plan.rule is not rule:
        return None
    name = str(held.pinned())
    return original if any(str(one.reference) == name for one in plan.candidates) else None
