"""Parts of a rule that can have no effect: what they say is not what was meant."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import cast

from image_cri_shim.config.coverage import Effort, covers, may_overlap
from image_cri_shim.config.mapping import Found, Walk, items_of
from image_cri_shim.pattern import Pattern


def check_parts(
    given: dict[str, Found], rule: Found, own: frozenset[str] | None, effort: Effort, walk: Walk
) -> None:
    """Refuse what is plainly idle in a rule; what cannot be told for certain is taken.

    :param given: the values of the rule's keys, by name.
    :param rule: where it stands.
    :param own: the hosts of which only rules that name them in full are about the images; None if
        these are not known.
    :param effort: what it may take, for all rules of a file together.
    """
    for name in ("match", "tags", "exclude"):
        _check_repeated(items_of(given, name), walk)
    if _leaves_alone(given, rule, walk):
        for name in ("exclude", "rewrite"):
            if name in given and given[name].value:
                message = (
                    "expected registries that are asked for this, found `registries: []` "
                    f"(line {given['registries'].line}), which leaves every image of the rule "
                    "alone: leave one out"
                )
                walk.refuse(given[name], given[name].path, message)
        return
    origins = list(_origins(given))
    if "match" in given and not walk.refused_in(rule, "match"):
        _check_meant(given["match"], [*items_of(given, "exclude"), *origins], own, effort, walk)
    _check_order(origins, effort, walk)


def _leaves_alone(given: dict[str, Found], rule: Found, walk: Walk) -> bool:
    refused = walk.refused_in(rule, "registries")
    return "registries" in given and not given["registries"].value and not refused


def _check_repeated(items: Iterable[Found], walk: Walk) -> None:
    """Refuse what stands in one list twice."""
    seen: dict[Hashable, Found] = {}
    for item in items:
        value = item.value
        # Two ways to write a pattern are one pattern.
        same = (value.host, value.path, value.tag) if isinstance(value, Pattern) else str(value)
        first = seen.setdefault(same, item)
        if first is not item:
            message = (
                f"expected each pattern once, found {value} also as `{first.path}` "
                f"(line {first.line}): leave one out"
            )
            walk.refuse(item, item.path, message)


def _check_meant(
    place: Found, parts: list[Found], own: frozenset[str] | None, effort: Effort, walk: Walk
) -> None:
    """Refuse what is about images that the rule is not about."""
    match = [cast("Pattern", one.value) for one in cast("list[Found]", place.value)]
    if not effort.spend(len(match) * len(parts)):
        return
    for part in parts:
        pattern = cast("Pattern", part.value)
        if own is not None and pattern.host in own:
            about = [one for one in match if one.names_one_host]
        else:
            about = match
        if any(may_overlap(one, pattern) for one in about):
            continue
        if len(about) < len(match) and any(may_overlap(one, pattern) for one in match):
            message = (
                f"expected a host that the rule's `match` has, found {pattern.host}: its images "
                "are a configured registry's own, and only a rule whose `match` has this host in "
                "full is about them"
            )
        elif any(may_overlap(one, Pattern(pattern.text, pattern.host)) for one in about):
            message = (
                f"expected images that the rule's `match` means, found {pattern}: "
                "no image of this rule is meant"
            )
        else:
            message = (
                f"expected a host that the rule's `match` has, found {pattern.host}: "
                "no image of this rule is meant"
            )
        walk.refuse(part, part.path, message)


def _check_order(origins: list[Found], effort: Effort, walk: Walk) -> None:
    """Refuse a rewriting whose images one before it has."""
    for index, later in enumerate(origins):
        if not effort.spend(index):
            return
        pattern = cast("Pattern", later.value)
        first = next(
            (one for one in origins[:index] if covers(cast("Pattern", one.value), pattern)), None
        )
        if first is not None:
            message = (
                f"expected images that no `from` before this one means, found those of "
                f"`{first.path}` (line {first.line}): put this one in front, or leave it out"
            )
            walk.refuse(later, later.path, message)


def _origins(given: dict[str, Found]) -> Iterable[Found]:
    for item in items_of(given, "rewrite"):
        pair = cast("dict[str, Found]", item.value)
        if "from" in pair:
            yield pair["from"]
