"""The rules of a file, and whether each of them can ever be the one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import attrs

from image_cri_shim.config.mapping import Found, Walk
from image_cri_shim.config.pattern_fields import fixed_part
from image_cri_shim.config.registries import Registries
from image_cri_shim.pattern import Pattern, matches_glob
from image_cri_shim.reference import DEFAULT_DOMAIN
from image_cri_shim.rules import Rewrite, Rule

_EVERYTHING = ("", "*")
# How many rules a message names.
_NAMED = 3
# Comparisons that a rule is worth: nobody means a rule of more seriously.
_COMPARED = 10_000
# Those that all rules of a file are worth together in finding the ones that no image can reach.
_SEARCHED = 1_000_000


def read_rules(found: dict[str, Found], registries: Registries, walk: Walk) -> tuple[Rule, ...]:
    """Make the rules of what was found, and keep what is wrong with them.

    :param found: the values of the file's keys, by name.
    :param registries: those that rules can name.
    """
    names = _Names(registries)
    own = frozenset(registry.domain.lower() for registry in registries.all)
    taken = _Taken(own - {DEFAULT_DOMAIN} if registries.complete else None)
    rules = []
    for number, item in enumerate(_items(found, "rules"), start=1):
        given = cast("dict[str, Found]", item.value)
        match = tuple(cast("Pattern", one.value) for one in _items(given, "match"))
        named = _named(given, names, walk)
        rewrite = _rewrites(given, walk)
        whole = bool(match) and not walk.refused(f"{item.path}.match")
        if whole:
            _check_hosts(given, match, walk)
        rule = Rule(
            number,
            match,
            tags=tuple(cast("str", one.value) for one in _items(given, "tags")),
            registries=named,
            exclude=tuple(cast("Pattern", one.value) for one in _items(given, "exclude")),
            rewrite=rewrite,
            origin_allowed=not _says_no(given, "originAllowed"),
        )
        if whole:
            _check_reach(rule, given["match"], taken, walk)
        # A misspelt key may have been `tags`.
        if not (rule.tags or walk.refused(f"{item.path}.tags") or walk.unclear(item.path)):
            taken.add(rule, item.line)
        rules.append(rule)
    return tuple(rules)


class _Names:
    """The names that rules may use.

    :param registries: those of the file.
    """

    def __init__(self, registries: Registries) -> None:
        self.complete = registries.complete
        self.known = {one.name.lower(): one.name for one in registries.all}
        self._by_domain = {one.domain.lower(): one.name.lower() for one in registries.all}

    def meant(self, name: str, walk: Walk) -> str:
        """Say what was probably meant by an unknown name, or which there are."""
        if not self.known:
            return "there is none"
        if name in self._by_domain:
            return f"did you mean `{self._by_domain[name]}`?"
        return walk.suggestion(name, self.known)


def _named(given: dict[str, Found], names: _Names, walk: Walk) -> tuple[str, ...] | None:
    """Return the names of the registries to ask, as they are written where they are defined."""
    if "registries" not in given:
        return None
    places: dict[str, Found] = {}
    for item in _items(given, "registries"):
        name = cast("str", item.value)
        if name in places:
            first = places[name]
            message = (
                f"expected each registry once, found {name} also as `{first.path}` "
                f"(line {first.line}): leave one out"
            )
            walk.refuse(item, item.path, message)
        elif name in names.known:
            places[name] = item
        elif names.complete:
            message = (
                "expected the name of a registry of this file, "
                f"found {name} ({names.meant(name, walk)}): "
                "correct it, or list it under `registries`"
            )
            walk.refuse(item, item.path, message)
    return tuple(names.known[name] for name in places)


def _rewrites(given: dict[str, Found], walk: Walk) -> tuple[Rewrite, ...]:
    rewrites = []
    for item in _items(given, "rewrite"):
        pair = cast("dict[str, Found]", item.value)
        if "from" not in pair or "to" not in pair:
            continue
        origin = cast("Pattern", pair["from"].value)
        path = cast("str", pair["to"].value)
        if not path and fixed_part(origin) and fixed_part(origin) == origin.path:
            message = (
                f"expected a path, found none: nothing would be left of {origin}; "
                f"write one, or `from: {origin}/*`"
            )
            walk.refuse(pair["to"], pair["to"].path, message)
        rewrites.append(Rewrite(origin, path))
    return tuple(rewrites)


def _check_hosts(given: dict[str, Found], match: tuple[Pattern, ...], walk: Walk) -> None:
    """Refuse what is about a host that the rule is not about: it would do nothing."""
    origins = (
        cast("dict[str, Found]", item.value).get("from") for item in _items(given, "rewrite")
    )
    places = [*_items(given, "exclude"), *filter(None, origins)]
    hosts = {one.host for one in match if one.names_one_host}
    globs = {one.host for one in match if not one.names_one_host}
    if len(globs) * len(places) > _COMPARED:
        return
    for place in places:
        host = cast("Pattern", place.value).host
        if "*" in host or host in hosts or any(matches_glob(glob, host) for glob in globs):
            continue
        message = (
            f"expected a host that the rule's `match` has, found {host}: "
            "no image of this rule is meant"
        )
        walk.refuse(place, place.path, message)


@attrs.define
class _Taken:
    """Which images earlier rules have taken, whatever their tag.

    :ivar own: the hosts of which only rules that name them in full are about the images; None if
        these are not known.
    """

    own: frozenset[str] | None
    _rules: dict[tuple[str, str], tuple[Rule, int]] = attrs.field(factory=dict)
    # The hosts with a * in them, in the order of the rules.
    _globs: dict[str, None] = attrs.field(factory=dict)
    _left: int = _SEARCHED

    def add(self, rule: Rule, line: int) -> None:
        """Note a rule, which has no tags, and the line on which it begins."""
        for pattern in rule.match:
            self._rules.setdefault((pattern.host, pattern.path), (rule, line))
            if not pattern.names_one_host:
                self._globs[pattern.host] = None

    def by(self, pattern: Pattern) -> tuple[Rule, int] | None:
        """Return the earlier rule that has taken all that a pattern means, if there is one.

        What several rules have taken together is not seen: to refuse a rule, it must be certain.
        """
        hosts = [pattern.host, *self._wider_hosts(pattern)]
        found = (self._rules.get((host, path)) for host in hosts for path in _wider(pattern.path))
        return next((one for one in found if one is not None), None)

    def _wider_hosts(self, pattern: Pattern) -> list[str]:
        """Return the hosts with a ``*`` that mean at least those of a pattern.

        What a ``*`` in a pattern stands for, a ``*`` in another stands for as well: so they are
        compared like a pattern and a host.
        """
        if pattern.names_one_host and (self.own is None or pattern.host in self.own):
            # These rules are not about it.
            return []
        self._left -= len(self._globs) * (pattern.path.count("/") + 1)
        if self._left < 0:
            return []
        return [glob for glob in self._globs if matches_glob(glob, pattern.host)]


def _wider(path: str) -> Iterator[str]:
    """Yield the paths' patterns that mean at least what ``path`` means."""
    yield from _EVERYTHING
    yield path
    parts = path.split("/")
    for count in range(1, len(parts)):
        above = "/".join(parts[:count])
        if "*" in above:
            return
        yield above
        yield f"{above}/*"


def _check_reach(rule: Rule, place: Found, taken: _Taken, walk: Walk) -> None:
    """Refuse a rule whose images earlier ones have taken."""
    lines: dict[int, int] = {}
    for pattern in rule.match:
        earlier = taken.by(pattern)
        if earlier is None:
            return
        lines[earlier[0].number] = earlier[1]
    message = (
        "expected images that no rule before this one is about, found those of "
        f"{_numbers(lines)}: put this rule in front, or leave it out"
    )
    walk.refuse(place, place.path, message)


def _numbers(lines: dict[int, int]) -> str:
    """Name rules by their numbers and lines."""
    named = [f"rule {number} (line {line})" for number, line in sorted(lines.items())]
    return " and ".join(named[:_NAMED]) + (" and others" if len(named) > _NAMED else "")


def _items(given: dict[str, Found], name: str) -> Iterable[Found]:
    return cast("list[Found]", given[name].value) if name in given else ()


def _says_no(given: dict[str, Found], name: str) -> bool:
    return name in given and not given[name].value
