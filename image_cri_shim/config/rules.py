"""The rules of a file, and whether each of them can ever be the one."""

from __future__ import annotations

from typing import cast

from image_cri_shim.config.coverage import Effort
from image_cri_shim.config.effect import check_parts
from image_cri_shim.config.mapping import Found, Walk, items_of
from image_cri_shim.config.pattern_fields import fixed_part
from image_cri_shim.config.reach import Taken
from image_cri_shim.config.registries import Registries
from image_cri_shim.pattern import Pattern
from image_cri_shim.reference import DEFAULT_DOMAIN
from image_cri_shim.rules import Rewrite, Rule

# Comparisons that all rules of a file are worth together in finding the ones that no image can
# reach, and again in finding their parts that have no effect.
_COMPARED = 1_000_000


def read_rules(found: dict[str, Found], registries: Registries, walk: Walk) -> tuple[Rule, ...]:
    """Make the rules of what was found, and keep what is wrong with them.

    :param found: the values of the file's keys, by name.
    :param registries: those that rules can name.
    """
    names = _Names(registries)
    own = frozenset(registry.domain.lower() for registry in registries.all)
    known = own - {DEFAULT_DOMAIN} if registries.complete else None
    taken = Taken(known, Effort(_COMPARED))
    effort = Effort(_COMPARED)
    rules = []
    for number, item in enumerate(items_of(found, "rules"), start=1):
        given = cast("dict[str, Found]", item.value)
        match = tuple(cast("Pattern", one.value) for one in items_of(given, "match"))
        named = _named(given, names, walk)
        rewrite = _rewrites(given, walk)
        whole = bool(match) and not walk.refused_in(item, "match")
        unsure = walk.refused_in(item, "tags")
        check_parts(given, item, known, effort, walk)
        rule = Rule(
            number,
            match,
            tags=tuple(cast("str", one.value) for one in items_of(given, "tags")),
            registries=named,
            exclude=tuple(cast("Pattern", one.value) for one in items_of(given, "exclude")),
            rewrite=rewrite,
            origin_allowed=not _says_no(given, "originAllowed"),
        )
        if whole:
            taken.check(rule, () if unsure else rule.tags, given["match"], walk)
        # A misspelt key may have been `tags`.
        if not (unsure or walk.unclear_in(item)):
            taken.add(rule, item)
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
    for item in items_of(given, "registries"):
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
                "expected the name of a configured registry, "
                f"found {name} ({names.meant(name, walk)}): "
                "correct it, or list it under `registries`"
            )
            walk.refuse(item, item.path, message)
    return tuple(names.known[name] for name in places)


def _rewrites(given: dict[str, Found], walk: Walk) -> tuple[Rewrite, ...]:
    rewrites = []
    for item in items_of(given, "rewrite"):
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


def _says_no(given: dict[str, Found], name: str) -> bool:
    return name in given and not given[name].value
