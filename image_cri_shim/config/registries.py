"""The registries of a file: what is said of each, and what must not be said of several."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import attrs

from image_cri_shim.config.address import server_of
from image_cri_shim.config.durations import format_duration
from image_cri_shim.config.keys import OFFLINE_KEYS
from image_cri_shim.config.mapping import Found, Walk, items_of
from image_cri_shim.config.settings import Config
from image_cri_shim.credentials import Credentials
from image_cri_shim.decision import Registry

_DEFAULT = Config().offline
# The keys that mean something only where there is TLS.
_TLS = ("caFile", "certFile", "keyFile", "insecureSkipVerify")


@attrs.frozen
class Registries:
    """What a file says about registries.

    :ivar offline: the offline registry, or None.
    :ivar others: the others, in the order of the file; those that are wrong are left out.
    :ivar complete: whether the name of every registry in the file is known. If not, a name that
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
    :ivar certain: whether its name is what the file means: its keys were read without a doubt.
    """

    registry: Registry
    given: dict[str, Found]
    path: str
    certain: bool

    @property
    def place(self) -> str:
        """The line of its address, for messages."""
        return _line(self.given.get("address"))


def read_registries(found: dict[str, Found], walk: Walk) -> Registries:
    """Make the registries of what was found, and keep what is wrong with them.

    :param found: the values of the file's keys, by name.
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
                f"({_line(address)}), which means none: leave this out, or write its address"
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
            certain = not walk.unclear(item.path) and not walk.refused(f"{item.path}.prefix")
            entries.append(_Entry(registry, given, f"{item.path}.address", certain))
    readable = "registries" in found or not walk.refused("registries")
    return entries, readable and len(entries) == len(items)


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
    if _says(given, "auth") and _says(given, "authFile"):
        place = given["authFile"]
        line = given["auth"].line
        message = (
            f"expected `auth` or `authFile`, found both (`auth` on line {line}): leave one out"
        )
        walk.refuse(place, place.path, message)


def _check_tls(entry: _Entry, walk: Walk) -> None:
    given = entry.given
    if walk.refused(entry.path):
        # The scheme is not known.
        return
    if entry.registry.plain_http:
        for name in _TLS:
            if _says(given, name):
                message = (
                    f"expected a registry with https:// for this, found {entry.registry.url} "
                    f"({entry.place}): leave this out, or write that address with https://"
                )
                walk.refuse(given[name], given[name].path, message)
        return
    if _says(given, "keyFile") and not _says(given, "certFile"):
        key, certificate = given["keyFile"], _sibling(given["keyFile"], "certFile")
        if not walk.refused(certificate):
            message = "expected `certFile` beside it, found none: name the key's certificate"
            walk.refuse(key, key.path, message)
    if _says(given, "insecureSkipVerify") and _says(given, "caFile"):
        place = given["insecureSkipVerify"]
        message = (
            f"expected `caFile` (line {given['caFile'].line}) or this, found both: a certificate "
            "that is not verified needs no CA; leave one out"
        )
        walk.refuse(place, place.path, message)


def _check_budget(entry: _Entry, walk: Walk) -> None:
    given, registry = entry.given, entry.registry
    place = given.get("connectTimeout")
    if place is None or registry.connect_timeout <= registry.timeout:
        return
    if not walk.refused(_sibling(place, "timeout")):
        message = (
            f"expected at most the `timeout` of {format_duration(registry.timeout)} "
            f"({_line(given.get('timeout'))}), "
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
        known = not walk.refused(entry.path)
        first = next((by_name[name] for name in names if name in by_name), None)
        if first is not None and entry.certain:
            same = first.registry.domain.lower() == domain
            which = "also as" if same else f"which is {first.registry.name.lower()} in"
            comma = "" if same else ","
            message = (
                f"expected each registry once, found {registry.name.lower()}{comma} {which} "
                f"`{first.path}` ({first.place}): leave one out, or give it another `prefix`"
            )
            walk.refuse(entry.given["address"], entry.path, message)
            continue
        if entry.certain:
            by_name |= dict.fromkeys(names, entry)
        first = next((by_server[one] for one in servers if one in by_server), entry)
        if not known:
            first = entry
        else:
            by_server |= {one: entry for one in servers if one not in by_server}
        if first.registry.url.lower() != registry.url.lower():
            message = (
                f"expected {first.registry.url} as in `{first.path}` ({first.place}), "
                f"found {registry.url}: write the same address for the same server"
            )
            walk.refuse(entry.given["address"], entry.path, message)
        kept.append(entry)
    return kept


def _says(given: dict[str, Found], name: str) -> bool:
    """Tell whether a key has a value that is neither empty nor false."""
    return name in given and bool(given[name].value)


def _sibling(place: Found, name: str) -> str:
    """Return the path of another key of the same mapping."""
    return f"{place.path.rpartition('.')[0]}.{name}"


def _line(place: Found | None) -> str:
    return f"line {place.line}" if place is not None else "its default"
