"""The registries: what is said of each, and what must not be said of several."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import attrs

from image_cri_shim.config.address import server_of
from image_cri_shim.config.durations import format_duration
from image_cri_shim.config.keys import OFFLINE_KEYS
from image_cri_shim.config.mapping import Found, Walk, items_of
from image_cri_shim.config.merging import ACCESS
from image_cri_shim.config.settings import Config
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry

_DEFAULT = Config().offline
# The keys that mean something only where there is TLS.
_TLS = ("caFile", "certFile", "keyFile", "insecureSkipVerify")


@attrs.frozen
class Registries:
    """What the files say about registries.

    :ivar offline: the offline registry, or None.
    :ivar others: the others, in the order of the files; those that are wrong are left out.
    :ivar complete: whether the name of every registry in the files is known. If not, a name that
        none has may be that of one that is wrong.
    """

    offline: Registry | None
    others: tuple[Registry, ...]
    complete: bool

    @property
    def all(self) -> tuple[Registry, ...]:
        """The offline registry, if there is one, and the others."""
        return self.others if self.offline is None else (self.offline, *self.others)


@attrs.frozen
class _Entry:
    """One registry and the keys that make it.

    :ivar given: the values of its keys, by name; ``auth`` and ``address`` too.
    :ivar path: where its address stands, ``registries[0].address``.
    :ivar certain: whether its name is what is meant: its keys were read without a doubt.
    :ivar item: the mapping that it is in its list; None for the offline registry.
    """

    registry: Registry
    given: dict[str, Found]
    path: str
    certain: bool
    item: Found | None = None

    def line_from(self, place: Found) -> str:
        """Say on which line its address is, for a message about ``place``."""
        return _line(self.given.get("address"), place)

    def refused(self, name: str, walk: Walk) -> bool:
        """Tell whether there is a problem with the value of one of its keys."""
        if self.item is not None:
            return walk.refused_in(self.item, name)
        return walk.refused(name if name in ("address", "auth") else f"offline.{name}")


def read_registries(found: dict[str, Found], walk: Walk) -> Registries:
    """Make the registries of what was found, and keep what is wrong with them.

    :param found: the values of the keys at the top, by name.
    """
    offline = _offline(found, walk)
    others, whole = _others(found, walk)
    entries = [*([offline] if offline is not None else []), *others]
    for entry in entries:
        _check_access(entry, walk)
        _check_tls(entry, walk)
        _check_budget(entry, walk)
    kept = _each_once(entries, walk)
    return Registries(
        offline.registry if offline is not None else None,
        tuple(entry.registry for entry in kept if entry is not offline),
        whole and all(entry.certain for entry in entries),
    )


def _offline(found: dict[str, Found], walk: Walk) -> _Entry | None:
    address = found.get("address")
    registry = _DEFAULT if address is None else cast("Registry | None", address.value)
    more = cast("dict[str, Found]", found["offline"].value) if "offline" in found else {}
    if registry is None or _DEFAULT is None:
        beside = ("auth", "offlinePriority")
        said = [name for name in beside if name in found and found[name].value is not None]
        for name in (*said, *(["offline"] if more else [])):
            message = (
                f'expected no more about the offline registry, found `address: ""` '
                f"({_line(address, found[name])}), which means none: "
                "leave this out, or write its address"
            )
            walk.refuse(found[name], name, message)
        return None
    names = {"address": "address", "auth": "auth", "offlinePriority": "priority"}
    given = more | {name: found[key] for key, name in names.items() if key in found}
    registry = attrs.evolve(registry, offline=True, priority=_DEFAULT.priority)
    doubt = ("address", "offline.prefix")
    certain = not walk.unclear("offline") and not any(walk.refused(path) for path in doubt)
    return _Entry(_with_settings(registry, given), given, "address", certain)


def _others(found: dict[str, Found], walk: Walk) -> tuple[list[_Entry], bool]:
    """Return the registries whose address is right, and whether these are all."""
    items = items_of(found, "registries")
    entries = []
    for item in items:
        given = cast("dict[str, Found]", item.value)
        if "address" in given:
            registry = _with_settings(cast("Registry", given["address"].value), given)
            certain = not walk.unclear_in(item) and not walk.refused_in(item, "prefix")
            # It may have been put together: its address is where the last file has it.
            entries.append(_Entry(registry, given, given["address"].path, certain, item))
    return entries, not walk.unclear("registries") and len(entries) == len(items)


def _with_settings(registry: Registry, given: dict[str, Found]) -> Registry:
    """Complete a registry with the values that stand beside its address."""
    # What the table's parsers return fits the attributes of the same name; a test holds them
    # together.
    settings: dict[str, Any] = {
        key.attribute: given[key.name].value for key in OFFLINE_KEYS if key.name in given
    }
    if "priority" in given:
        settings["priority"] = given["priority"].value
    if "auth" in given:
        settings["credentials"] = cast("Credentials | None", given["auth"].value)
    return attrs.evolve(registry, **settings)


def _check_access(entry: _Entry, walk: Walk) -> None:
    given = entry.given
    first, *others = [name for name in ACCESS if _says(given, name)] or [""]
    for name in others:
        place = given[name]
        message = (
            f"expected `{first}` or `{name}`, found both (`{first}` on "
            f"{given[first].line_from(place)}): leave one out"
        )
        walk.refuse(place, place.path, message)


def _check_tls(entry: _Entry, walk: Walk) -> None:
    given = entry.given
    if entry.refused("address", walk):
        # The scheme is not known.
        return
    if entry.registry.plain_http:
        for name in _TLS:
            if _says(given, name):
                message = (
                    f"expected a registry with https:// for this, found {entry.registry.url} "
                    f"({entry.line_from(given[name])}): leave this out, or write that address "
                    "with https://"
                )
                walk.refuse(given[name], given[name].path, message)
        return
    if _says(given, "keyFile") and not _says(given, "certFile"):
        key = given["keyFile"]
        if not entry.refused("certFile", walk):
            message = "expected `certFile` beside it, found none: name the key's certificate"
            walk.refuse(key, key.path, message)
    if _says(given, "insecureSkipVerify") and _says(given, "caFile"):
        place = given["insecureSkipVerify"]
        message = (
            f"expected `caFile` ({given['caFile'].line_from(place)}) or this, found both: "
            "a certificate that is not verified needs no CA; leave one out"
        )
        walk.refuse(place, place.path, message)


def _check_budget(entry: _Entry, walk: Walk) -> None:
    given, registry = entry.given, entry.registry
    place = given.get("connectTimeout")
    # The other one may have been set in another file, after this one or before.
    if registry.connect_timeout <= registry.timeout or place is None:
        return
    if not entry.refused("timeout", walk):
        message = (
            f"expected at most the `timeout` of {format_duration(registry.timeout)} "
            f"({_line(given.get('timeout'), place)}), "
            f"found {format_duration(registry.connect_timeout)}: a look-up takes no longer"
        )
        walk.refuse(place, place.path, message)


def _each_once(entries: list[_Entry], walk: Walk) -> list[_Entry]:
    """Refuse a registry that is there twice, and a server that is addressed in two ways."""
    kept: list[_Entry] = []
    by_name: dict[Hashable, _Entry] = {}
    by_server: dict[Hashable, _Entry] = {}
    for entry in entries:
        registry = entry.registry
        domain = registry.domain.lower()
        # With one name and two schemes it cannot be two servers either: their images have one name.
        servers = (domain, server_of(registry))
        names = [(server, registry.prefix) for server in servers]
        known = not entry.refused("address", walk)
        first = next((by_name[name] for name in names if name in by_name), None)
        if first is not None and entry.certain:
            same = first.registry.domain.lower() == domain
            which = "also as" if same else f"which is {first.registry.name.lower()} in"
            comma = "" if same else ","
            place = entry.given["address"]
            message = (
                f"expected each registry once, found {registry.name.lower()}{comma} {which} "
                f"`{first.path}` ({first.line_from(place)}): leave one out, or give it another "
                "`prefix`"
            )
            walk.refuse(place, entry.path, message)
            continue
        if entry.certain:
            by_name |= dict.fromkeys(names, entry)
        first = next((by_server[one] for one in servers if one in by_server), entry)
        if not known:
            first = entry
        else:
            by_server |= {one: entry for one in servers if one not in by_server}
        if first.registry.url.lower() != registry.url.lower():
            place = entry.given["address"]
            message = (
                f"expected {first.registry.url} as in `{first.path}` ({first.line_from(place)}), "
                f"found {registry.url}: write the same address for the same server"
            )
            walk.refuse(place, entry.path, message)
        kept.append(entry)
    return kept


def _says(given: dict[str, Found], name: str) -> bool:
    """Tell whether a key has a value that is neither empty nor false."""
    return name in given and bool(given[name].value)


def _line(place: Found | None, seen_from: Found) -> str:
    return place.line_from(seen_from) if place is not None else "its default"
