"""Every key of the file: the one table that the loader walks and the documentation must match."""

from __future__ import annotations

import attrs

from image_cri_shim.config.fields import (
    BOOLEAN,
    CREDENTIAL,
    CREDENTIALS,
    DIRECTORY,
    FILE,
    GROUP,
    INTERVAL,
    LEVEL,
    LISTEN,
    MODE,
    OPTIONAL_REGISTRY,
    OPTIONAL_SOCKET,
    PATH,
    REGISTRY,
    SOCKET,
    TIMEOUT,
    USER,
    Parser,
    choice,
    whole_number,
)
from image_cri_shim.config.pattern_fields import (
    NAME,
    ORIGIN,
    PATTERN,
    TAG,
    TAGGED_PATTERN,
    TARGET,
)


@attrs.frozen
class Key:
    """One key of a mapping.

    :ivar name: as written in the file, camelCase.
    :ivar parser: what its value, or each in its list, may be; None for a key that has ``keys``.
    :ivar default: the value, as it would be written, that means the same as no value; empty if
        only the absence of the key means that.
    :ivar doc: one line for the documentation.
    :ivar keys: the keys of the mapping that is its value.
    :ivar many: whether its value is a list of such values.
    :ivar or_one: whether one of them may stand in place of the list.
    :ivar required: whether its mapping means nothing without it; a list must have something in it.
    """

    name: str
    parser: Parser | None
    default: str
    doc: str
    keys: tuple[Key, ...] = ()
    many: bool = False
    or_one: bool = False
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

# What can be said of every registry, the offline one included.
OFFLINE_KEYS = (
    Key("authFile", FILE, '""', "A docker config.json with its credentials; not with `auth`."),
    Key(
        "authCredential",
        CREDENTIAL,
        '""',
        "The systemd credential that holds its user:password; not with the others.",
    ),
    Key("prefix", PATH, '""', "The path below which it holds other registries' images."),
    Key("keepHost", BOOLEAN, "false", "Whether the origin's host begins the path of its images."),
    Key(
        "trustFor",
        choice("all", "digest", "tag"),
        "all",
        "Which references it is asked for: all, or those with a digest, or those without.",
    ),
    Key("caFile", FILE, '""', "Certificates (PEM) to trust besides the system's."),
    Key("certFile", FILE, '""', "The certificate (PEM) to show to it."),
    Key("keyFile", FILE, '""', "That certificate's key (PEM), if it is not in the same file."),
    Key("insecureSkipVerify", BOOLEAN, "false", "Do not verify its certificate."),
    Key("connectTimeout", TIMEOUT, "3s", "How long finding its host and connecting may take."),
    Key("timeout", TIMEOUT, "10s", "How long a whole look-up may take."),
    Key("maxConnections", whole_number(1, 1000), "16", "How many look-ups it gets at a time."),
)
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
    *OFFLINE_KEYS,
)
REWRITE_KEYS = (
    Key("from", ORIGIN, "", "The host, and the path below it, that are replaced.", required=True),
    Key("to", TARGET, "", "The path that takes their place.", required=True),
)
RULE_KEYS = (
    Key(
        "match",
        PATTERN,
        "",
        "The images that the rule is about.",
        many=True,
        or_one=True,
        required=True,
    ),
    Key("tags", TAG, "[]", "Only images with such a tag.", many=True, or_one=True),
    Key("registries", NAME, "", "The registries to ask, in order; [] for none.", many=True),
    Key("exclude", TAGGED_PATTERN, "[]", "Images to leave alone.", many=True, or_one=True),
    Key("rewrite", None, "[]", "Other paths for the images.", keys=REWRITE_KEYS, many=True),
    Key("originAllowed", BOOLEAN, "true", "Whether an image may be pulled from its origin."),
)
CACHE_KEYS = (
    Key("imageCacheSize", _CACHE_SIZE, "1024", "How many answers are remembered at most."),
    Key("imageCacheTTL", INTERVAL, "30m", "How long it holds that a registry has an image."),
    Key("absentTTL", INTERVAL, "30s", "How long it holds that a registry does not have one."),
    Key("domainCacheTTL", INTERVAL, "10m", "How long holds what is known about a registry."),
    Key("statsLogInterval", INTERVAL, "1m", "How often statistics are logged; 0 for never."),
    Key("disableStats", BOOLEAN, "false", "Count nothing."),
)
LOG_KEYS = (
    Key("daemon", LEVEL, '""', "Start, stop, sockets and the state as a whole."),
    Key("cri", LEVEL, '""', "Clients and their calls."),
    Key("pull", LEVEL, '""', "What is decided about pulls, and how they end."),
    Key("runtime", LEVEL, '""', "The connection to the runtime."),
    Key("registry", LEVEL, '""', "Look-ups, credentials, breakers, and what is remembered."),
    Key("config", LEVEL, '""', "The configuration's files and reloads."),
    Key("admin", LEVEL, '""', "The admin interface and the history."),
)
KEYS = (
    Key(
        "shim",
        SOCKET,
        "/var/run/image-cri-shim.sock",
        "The socket to serve, with or without unix:// in front.",
    ),
    Key(
        "shimMode",
        MODE,
        '""',
        "The mode of that socket; without it, that of the runtime's.",
    ),
    Key("shimOwner", USER, '""', "Its owner; without it, that of the runtime's."),
    Key("shimGroup", GROUP, '""', "Its group; without it, that of the runtime's."),
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
        "shutdownGrace",
        INTERVAL,
        "30s",
        "How long calls that run may go on once the shim is told to stop; 0 for not at all.",
    ),
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
    Key("offline", None, "{}", "More about the offline registry.", keys=OFFLINE_KEYS),
    Key("registries", None, "[]", "The other registries.", keys=REGISTRY_KEYS, many=True),
    Key("rules", None, "[]", "What holds for some images instead.", keys=RULE_KEYS, many=True),
    Key(
        "lookupGrace",
        INTERVAL,
        "1s",
        "How long a registry is waited for that another one has overtaken; 0 for as it takes.",
    ),
    Key(
        "originalNames",
        choice("keep", "add", "only"),
        "keep",
        "Which names clients see of images that were pulled under rewritten ones.",
    ),
    Key("cache", None, "{}", "What look-ups may be remembered.", keys=CACHE_KEYS),
    Key(
        "adminSocket",
        OPTIONAL_SOCKET,
        "/run/image-cri-shim/admin.sock",
        'The socket of the admin interface; "" means none.',
    ),
    Key(
        "adminListen",
        LISTEN,
        '""',
        "Where the admin interface also listens on TCP, for reading alone; host:port.",
    ),
    Key(
        "logFormat",
        choice("auto", "text", "json", "journal"),
        "auto",
        "How log lines are written.",
    ),
    Key("logLevels", None, "{}", "What single components log.", keys=LOG_KEYS),
    Key(
        "historySize",
        whole_number(0, 1_000_000),
        "10000",
        "How many pulls the history keeps at most; 0 for no history.",
    ),
    Key("historyAge", INTERVAL, "2160h", "How long it keeps them; 0 for no limit."),
)

_PAIR = "write `auth: user:password`"
_TOP = "at the top, beside `address`"
# What is said in another way or at another place, by its name in small letters without - and _.
_INSTEAD = {
    "plainhttp": "write http:// in `address`",
    "username": _PAIR,
    "password": _PAIR,
}
_INSTEAD_OFFLINE = _INSTEAD | {
    "plainhttp": "write http:// in `address`, at the top",
    "address": "write it at the top",
    "auth": f"write it {_TOP}",
    "username": f"{_PAIR} {_TOP}",
    "password": f"{_PAIR} {_TOP}",
    "priority": "write it at the top, as `offlinePriority`",
}


def instead_of(name: str, keys: tuple[Key, ...]) -> str:
    """Say what to write in place of a key that is none of ``keys``.

    :returns: an empty text where nothing is known of it.
    """
    plain = name.lower().replace("-", "").replace("_", "")
    if keys is OFFLINE_KEYS:
        return _INSTEAD_OFFLINE.get(plain, "")
    return _INSTEAD.get(plain, "") if keys is KEYS or keys is REGISTRY_KEYS else ""
