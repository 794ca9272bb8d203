"""Several files as one: what a later file says goes before what an earlier one has said.

Pure. Single values replace one another; `offline`, `cache` and `logLevels` do so key by key;
`registries` and `rules` grow, and a registry that is there already is completed key by key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import attrs

from image_cri_shim.config.mapping import Found, Walk, items_of
from image_cri_shim.decision import Registry

# Where a registry's credentials come from: one place. That of the offline registry's `auth` is the
# top of the file.
ACCESS = ("auth", "authFile", "authCredential")
_BY_KEY = ("offline", "cache", "logLevels")
# What is said about the offline registry beside its address.
_BESIDE = ("auth", "offlinePriority", "offline")


def merge(files: Sequence[dict[str, Found]], walk: Walk) -> dict[str, Found]:
    """Put what was found in several files together, and keep what does not fit together.

    :param files: the values of each file's keys at the top, by name, in the order of the files.
    """
    merged: dict[str, Found] = {}
    strays: tuple[Found, Found] | None = None
    for later in files:
        if _access(later, told=True):
            strays = None
        elif _is_elsewhere(merged.get("address"), later.get("address")) and _access(merged):
            strays = _access(merged)[0], later["address"]
        merged = _merged(merged, later, walk)
    if strays is not None:
        secret, address = strays
        message = (
            "expected credentials for this registry, found only those for another address "
            f"(`{secret.path}` on {secret.line_from(address)}): write `auth` beside this one as "
            'well, "" for none'
        )
        walk.refuse(address, address.path, message)
    return merged


def _merged(before: dict[str, Found], later: dict[str, Found], walk: Walk) -> dict[str, Found]:
    address = later.get("address")
    if address is not None and address.value is None:
        # There is none any longer of which it was said.
        before = _without(before, _BESIDE)
    if _access(later, told=True):
        before = _without(before, ("auth",))
        if "offline" in before:
            place = before["offline"]
            before["offline"] = attrs.evolve(place, value=_without(_keys(place), ACCESS))
    together = before | later
    for name in _BY_KEY:
        if name in before and name in later:
            keys = _keys(before[name]) | _keys(later[name])
            together[name] = attrs.evolve(later[name], value=keys)
    if "registries" in before and "registries" in later:
        items = _registries(items_of(before, "registries"), items_of(later, "registries"), walk)
        together["registries"] = attrs.evolve(later["registries"], value=items)
    if "rules" in before and "rules" in later:
        items = [*items_of(before, "rules"), *items_of(later, "rules")]
        together["rules"] = attrs.evolve(later["rules"], value=items)
    return together


def _registries(before: list[Found], later: list[Found], walk: Walk) -> list[Found]:
    places: dict[tuple[str, str], int] = {}
    for index, item in enumerate(before):
        name = _name(item, walk)
        if name is not None:
            places.setdefault(name, index)
    merged = list(before)
    for item in later:
        name = _name(item, walk)
        if name is None or name not in places:
            merged.append(item)
            continue
        # Taken away: what one file says twice is there twice.
        index = places.pop(name)
        first, keys = before[index], _keys(item)
        kept = _keys(first)
        if any(name in keys for name in ACCESS):
            kept = _without(kept, ACCESS)
        merged[index] = attrs.evolve(item, value=kept | keys, earlier=(first, *first.earlier))
    return merged


def _name(item: Found, walk: Walk) -> tuple[str, str] | None:
    """Return what tells a registry from all others; None if it is not certain."""
    keys = _keys(item)
    if "address" not in keys or walk.refused_in(item, "prefix"):
        return None
    prefix = cast("str", keys["prefix"].value) if "prefix" in keys else ""
    return cast("Registry", keys["address"].value).url.lower(), prefix


def _access(found: dict[str, Found], *, told: bool = False) -> list[Found]:
    """Return where the offline registry's credentials are said to be.

    :param told: whether to return as well what says that they are nowhere.
    """
    keys = _keys(found["offline"]) if "offline" in found else {}
    places = [*([found["auth"]] if "auth" in found else [])]
    places += [keys[name] for name in ACCESS if name in keys]
    return [place for place in places if told or place.value]


def _is_elsewhere(first: Found | None, later: Found | None) -> bool:
    """Tell whether the offline registry is on another host now, or no longer reached by https."""
    if first is None or later is None or first.value is None or later.value is None:
        return False
    one, other = (cast("Registry", place.value) for place in (first, later))
    exposed = other.plain_http and not one.plain_http
    return exposed or one.domain.lower() != other.domain.lower()


def _without(found: dict[str, Found], names: Collection[str]) -> dict[str, Found]:
    return {name: place for name, place in found.items() if name not in names}


def _keys(place: Found) -> dict[str, Found]:
    return cast("dict[str, Found]", place.value)
