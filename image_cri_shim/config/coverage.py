"""Which patterns mean all that others mean, and which have no image in common.

Both are told from how the patterns are written, and only where that is certain: a "no" of
``covers`` and a "yes" of ``may_overlap`` mean nothing.
"""

from __future__ import annotations

import attrs

from image_cri_shim.pattern import Pattern, matches_glob
from image_cri_shim.reference import DEFAULT_DOMAIN, HTTPS_PORT, OFFICIAL_NAMESPACE


@attrs.define
class Effort:
    """How many comparisons are worth it: a file of more than that is not meant seriously."""

    left: int

    def spend(self, count: int = 1) -> bool:
        """Take some; False once there are none left."""
        self.left -= count
        return self.left >= 0


def is_own(host: str, own: frozenset[str]) -> bool:
    """Tell whether a host's pattern means images that are configured registries' own.

    :param own: the domains of these registries.
    """
    return host in own or f"{host}{HTTPS_PORT}" in own


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Tell whether a pattern surely means every image that another one means, tags aside."""
    return covers_text(wide.host, narrow.host) and covers_path(wide.path, narrow.path)


def covers_text(wide: str, narrow: str) -> bool:
    """Tell the same of two texts with ``*`` in them, such as tags.

    The narrow one is read as a text: a ``*`` in it can then only be a part of what a ``*`` in the
    wide one stands for, and so can whatever it stands for itself.
    """
    return matches_glob(wide, narrow)


def covers_path(wide: str, narrow: str) -> bool:
    """Tell the same of two paths.

    Docker Hub's short names need no case of their own: a text that fits both names fits the same
    one of them in either pattern.
    """
    wide, narrow = wide or "*", narrow or "*"
    if "*" not in wide:
        return f"{narrow}/".startswith(f"{wide}/")
    if "*" in narrow:
        return covers_text(wide, narrow)
    # It means itself and everything below it.
    return covers_text(wide, narrow) and covers_text(wide, f"{narrow}/*")


def may_overlap(one: Pattern, other: Pattern) -> bool:
    """Tell whether there may be an image that two patterns mean, tags aside."""
    if not _hosts_may_overlap(one.host, other.host):
        return False
    hub = _means(one.host, DEFAULT_DOMAIN) and _means(other.host, DEFAULT_DOMAIN)
    whole, beginnings = _texts(one.path, hub=hub)
    others, other_beginnings = _texts(other.path, hub=hub)
    return (
        not whole.isdisjoint(others)
        or any(text.startswith(other_beginnings) for text in (*whole, *beginnings))
        or any(text.startswith(beginnings) for text in (*others, *other_beginnings))
    )


def _hosts_may_overlap(one: str, other: str) -> bool:
    if "*" in one and "*" in other:
        return True
    literal, pattern = (other, one) if "*" in one else (one, other)
    return any(_means(pattern, domain) for domain in (literal, f"{literal}{HTTPS_PORT}"))


def _means(host: str, domain: str) -> bool:
    """Tell whether a host's pattern means a domain."""
    return matches_glob(host, domain) or matches_glob(host, domain.removesuffix(HTTPS_PORT))


def _texts(path: str, *, hub: bool) -> tuple[set[str], tuple[str, ...]]:
    """Return repositories that a path's pattern means, and what all others of it begin with.

    :param hub: whether short names of Docker Hub's images count.
    """
    beginning, glob, _ = (path or "*").partition("*")
    # A short name has no slash, so nothing with one is a part of it.
    prefixes = ("", OFFICIAL_NAMESPACE) if hub and "/" not in beginning else ("",)
    named = [f"{prefix}{beginning}" for prefix in prefixes]
    return (set(), tuple(named)) if glob else (set(named), (f"{path}/",))
