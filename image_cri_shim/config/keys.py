"""Every key of the file: the one table that the loader walks and the documentation must match."""

from __future__ import annotations

import attrs

from image_cri_shim.config.fields import (
    BOOLEAN,
    CREDENTIALS,
    DIRECTORY,
    INTERVAL,
    OPTIONAL_REGISTRY,
    OPTIONAL_SOCKET,
    REGISTRY,
    SOCKET,
    TIMEOUT,
    Parser,
    choice,
    whole_number,
)


@attrs.frozen
class Key:
    """One key of a mapping.

    :ivar name: as written in the file, camelCase.
    :ivar parser: what its value may be; None for a key that has ``keys``.
    :ivar default: the value, as it would be written, that means the same as no value; empty if
        only the absence of the key means that.
    :ivar doc: one line for the documentation.
    :ivar keys: the keys of the mapping that is its value.
    :ivar many: whether its value is a list of such mappings.
    :ivar required: whether its mapping means nothing without it.
    """

    name: str
    parser: Parser | None
    default: str
    doc: str
    keys: tuple[Key, ...] = ()
    many: bool = False
    required: bool = False

    @property
    def attribute(self) -> str:
        """The name in Python: ``reloadInterval`` is ``reload_interval``."""
        return _snake(self.name)


def _snake(name: str) -> str:
    words = [""]
    for index, char in enumerate(name):
        # A run of capitals is one word: imageCacheTTL.
        if char.isupper() and not name[index - 1].isupper():
            words.append("")
        words[-1] += char.lower()
    return "_".join(words)


_PRIORITY = whole_number(0, 10_000)
_CACHE_SIZE = whole_number(0, 1_000_000)

REGISTRY_KEYS = (
    Key(
        "address",
        REGISTRY,
        "",
        "The registry, http://host[:port] or https://host[:port]; no scheme means https.",
        required=True,
    ),
    Key("auth", CREDENTIALS, '""', "Its user:password; only the first colon separates."),
    Key("priority", _PRIORITY, "500", "0 to 10000; a registry with a higher one is asked first."),
)
CACHE_KEYS = (
    Key("imageCacheSize", _CACHE_SIZE, "1024", "How many images are remembered at most."),
    Key("imageCacheTTL", INTERVAL, "30m", "How long it holds that a registry has an image."),
    Key("domainCacheTTL", INTERVAL, "10m", "How long holds what is known about a registry."),
    Key("statsLogInterval", INTERVAL, "1m", "How often statistics are logged; 0 for never."),
    Key("disableStats", BOOLEAN, "false", "Count nothing."),
)
KEYS = (
    Key(
        "shim",
        SOCKET,
        "/var/run/image-cri-shim.sock",
        "The socket to serve, with or without unix:// in front.",
    ),
    Key(
        "cri",
        OPTIONAL_SOCKET,
        '""',
        "The runtime's socket; without it the known places are tried in order.",
    ),
    Key(
        "address",
        OPTIONAL_REGISTRY,
        "http://sealos.hub:5000",
        'The offline registry; no scheme means https, "" means none.',
    ),
    Key("auth", CREDENTIALS, '""', "Its user:password; only the first colon separates."),
    Key("force", BOOLEAN, "false", "Start although the runtime's socket does not exist yet."),
    Key("debug", BOOLEAN, "false", "Log for debugging."),
    Key("image", DIRECTORY, "/var/lib/image-cri-shim", "The state directory."),
    Key(
        "version",
        choice("auto", "v1", "v1alpha2"),
        "auto",
        "The CRI version to speak to the runtime.",
    ),
    Key("timeout", TIMEOUT, "15m", "The upper bound of one CRI call."),
    Key(
        "reloadInterval",
        INTERVAL,
        "15s",
        "How often the file is looked at where there are no change events; 0 for never.",
    ),
    Key(
        "offlinePriority",
        _PRIORITY,
        "1000",
        "0 to 10000; a registry with a higher one is asked first.",
    ),
    Key("registries", None, "[]", "The other registries.", keys=REGISTRY_KEYS, many=True),
    Key("cache", None, "{}", "What look-ups may be remembered.", keys=CACHE_KEYS),
)
