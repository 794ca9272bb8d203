"""Which images earlier rules have taken, so that a later one never gets to decide."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import attrs

from image_cri_shim.config.coverage import Effort, covers_path, covers_text, is_own
from image_cri_shim.config.mapping import Found, Walk
from image_cri_shim.config.sources import listed
from image_cri_shim.pattern import Pattern
from image_cri_shim.rules import Rule

_EVERYTHING = ("", "*")


@attrs.frozen
class _Earlier:
    """A rule in front, and where it stands."""

    rule: Rule
    place: Found


@attrs.define
class Taken:
    """Which images earlier rules have taken.

    What several rules have taken together of one pattern is not seen: to refuse a rule, it must be
    certain.

    :ivar own: the hosts of which only rules that name them in full are about the images; None if
        these are not known.
    """

    own: frozenset[str] | None
    _effort: Effort
    # By host and path: the first rule for all tags, and those for some.
    _whole: dict[tuple[str, str], _Earlier] = attrs.field(factory=dict)
    _partly: dict[tuple[str, str], list[_Earlier]] = attrs.field(factory=dict)
    # By host, what is found by no part of a path.
    _loose: dict[str, list[tuple[str, _Earlier]]] = attrs.field(factory=dict)
    # The hosts with a * in them, in the order of the rules.
    _globs: dict[str, None] = attrs.field(factory=dict)

    def add(self, rule: Rule, place: Found) -> None:
        """Note a rule and where it stands."""
        earlier = _Earlier(rule, place)
        for pattern in rule.match:
            key = (pattern.host, pattern.path)
            if rule.tags:
                self._partly.setdefault(key, []).append(earlier)
            else:
                self._whole.setdefault(key, earlier)
            if pattern.path not in _EVERYTHING and "*" in pattern.path.removesuffix("/*"):
                self._loose.setdefault(pattern.host, []).append((pattern.path, earlier))
            if not pattern.names_one_host:
                self._globs[pattern.host] = None

    def check(self, rule: Rule, tags: tuple[str, ...], place: Found, walk: Walk) -> None:
        """Refuse a rule whose images earlier ones have taken.

        :param tags: the rule's, if that is all of them.
        :param place: the rule's ``match``.
        """
        lines: dict[int, str] = {}
        for pattern in rule.match:
            for tag in tags or ("",):
                earlier = self._by(pattern, tag)
                if earlier is None:
                    return
                lines[earlier.rule.number] = earlier.place.line_from(place)
        message = (
            "expected images that no rule before this one is about, found those of "
            f"{_numbers(lines)}: put this rule in front, or leave it out"
        )
        walk.refuse(place, place.path, message)

    def _by(self, pattern: Pattern, tag: str) -> _Earlier | None:
        """Return the earlier rule that has taken all that a pattern and a tag's pattern mean.

        :param tag: empty for all images, with and without a tag.
        """
        if not self._effort.spend():
            return None
        hosts = [pattern.host, *self._wider_hosts(pattern)]
        keys = [(host, path) for host in hosts for path in _wider(pattern.path)]
        whole = next((self._whole[key] for key in keys if key in self._whole), None)
        if whole is not None:
            return whole
        partly = ((one, True) for key in keys for one in self._partly.get(key, ()) if tag)
        loose = (
            (one, covers_path(path, pattern.path))
            for host in hosts
            for path, one in self._loose.get(host, ())
        )
        for earlier, fits in itertools.chain(partly, loose):
            if not self._effort.spend(1 + len(earlier.rule.tags)):
                break
            if fits and _has_tag(earlier.rule, tag):
                return earlier
        return None

    def _wider_hosts(self, pattern: Pattern) -> list[str]:
        """Return the hosts with a ``*`` that mean at least those of a pattern."""
        if pattern.names_one_host and (self.own is None or is_own(pattern.host, self.own)):
            # These rules are not about it.
            return []
        if not self._effort.spend(len(self._globs) * (pattern.path.count("/") + 1)):
            return []
        return [glob for glob in self._globs if covers_text(glob, pattern.host)]


def _has_tag(rule: Rule, tag: str) -> bool:
    """Tell whether a rule has all that a tag's pattern means; no tag's pattern means a digest.

    :param tag: empty for everything, with a tag or a digest.
    """
    return not rule.tags or (bool(tag) and any(covers_text(one, tag) for one in rule.tags))


def _wider(path: str) -> Iterator[str]:
    """Yield the paths' patterns that mean at least what ``path`` means.

    Those with a ``*`` elsewhere than as their whole last part cannot be listed.
    """
    yield from _EVERYTHING
    yield path
    parts = path.split("/")
    for count in range(1, len(parts)):
        above = "/".join(parts[:count])
        if "*" in above:
            return
        yield above
        yield f"{above}/*"


def _numbers(lines: dict[int, str]) -> str:
    """Name rules by their numbers and lines."""
    return listed([f"rule {number} ({line})" for number, line in sorted(lines.items())])
