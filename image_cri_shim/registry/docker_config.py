"""Docker's ``config.json``: which credentials in it are a registry's, or who is asked for them.

Pure. Sources: the Docker CLI (package ``config/configfile``) for what goes before what and for the
forms of keys; containers-auth.json(5) for keys with a path; the Kubernetes documentation, "Images",
section "Interpretation of config.json", for keys with ``*``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping

import attrs

from image_cri_shim.credentials import Credentials, identity, is_sendable

# Docker Hub has had several names, and this is its key in a file that docker has written.
_HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_DOMAINS = frozenset({_HUB, "index.docker.io", "registry-1.docker.io"})
# What may stand after a host and mean nothing: the API's versions.
_VERSIONS = ("v1", "v2")
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@attrs.frozen
class Helper:
    """A program that has the credentials.

    :ivar name: what is after ``docker-credential-`` in the program's name: letters, digits,
        dots, hyphens and underscores.
    :ivar server: what it knows the registry as.
    """

    name: str
    server: str

    @property
    def program(self) -> str:
        """What is run."""
        return f"docker-credential-{self.name}"


@attrs.frozen
class DockerConfig:
    """What a file says, as far as credentials go.

    :ivar auths: the entries by registry, as they stand in the file; they hold secrets.
    :ivar helpers: the names of helpers by registry.
    :ivar store: the name of the helper for all the others, or empty.
    """

    auths: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    helpers: Mapping[str, str] = attrs.field(factory=dict)
    store: str = ""

    def find(self, domain: str, prefix: str = "") -> Credentials | Helper | None:
        """Return what the file has for a registry.

        A helper for its host goes before the helper for all, and that before the entries, even
        where it knows nothing: so does docker. Of the entries that one counts that has most of
        the path, then the one with the host in full.

        :param domain: the registry's ``host[:port]``.
        :param prefix: the path below it that is meant, or empty.
        :raises ValueError: what the file has for it cannot be used; the message is a clause that
            repeats no secret.
        """
        domain = _known_as(domain)
        key = _HUB_KEY if domain == _HUB else domain
        name = self.helpers.get(key, self._helper(domain))
        if name:
            if _HELPER_NAME.fullmatch(name) is None:
                raise ValueError(
                    "the name of a credential helper in it is none: expected letters, digits, "
                    "dots, hyphens and underscores"
                )
            return Helper(name, key)
        fitting = [one for one in self.auths if _fits(one, domain, prefix)]
        fitting.sort(key=lambda one: (len(_place(one)[1]), "*" not in one, one == key))
        for one in reversed(fitting):
            credentials = _credentials(one, self.auths[one])
            if credentials is not None:
                return credentials
        return None

    def _helper(self, domain: str) -> str:
        for key, name in self.helpers.items():
            if _place(key) == (domain, ""):
                return name
        return self.store


def parse_docker_config(content: bytes) -> DockerConfig:
    """Read a file's content.

    :raises ValueError: it is something else; the message is a clause that repeats nothing of it.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    # Not raised in the handler: the error holds the whole file.
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - a file's content, not an argument
    store = found.get("credsStore") or ""
    if not isinstance(store, str):
        raise ValueError("its `credsStore` is no text")  # noqa: TRY004
    auths, helpers = _mapping(found, "auths"), _mapping(found, "credHelpers")
    named = {key: name for key, name in helpers.items() if isinstance(name, str)}
    if len(named) < len(helpers):
        raise ValueError("its `credHelpers` has a helper whose name is no text")
    return DockerConfig(auths, named, store)


def _mapping(found: Mapping[str, object], key: str) -> dict[str, object]:
    value = found.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"its `{key}` is no object")  # noqa: TRY004
    return value


def _known_as(domain: str) -> str:
    domain = domain.lower()
    return _HUB if domain in _HUB_DOMAINS else domain


def _place(key: str) -> tuple[str, str]:
    """Split a key, ``[scheme://]host[:port][/path]``, into the domain and the path."""
    scheme, mark, rest = key.partition("://")
    domain, _, path = (rest if mark else scheme).partition("/")
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] in _VERSIONS:
        del parts[0]
    return _known_as(domain), "/".join(parts)


def _fits(key: str, domain: str, prefix: str) -> bool:
    pattern, path = _place(key)
    if path and not f"{prefix}/".startswith(f"{path}/"):
        return False
    if "*" not in pattern:
        return pattern == domain
    # A star stands for a part of a name between two dots, and never for a port.
    host = re.escape(pattern).replace(r"\*", "[^.:]*")
    return re.fullmatch(host, domain) is not None


def _credentials(key: str, entry: object) -> Credentials | None:
    """Read an entry; docker leaves an empty one behind where a helper has the credentials."""
    if entry is None:
        return None
    where = f"its entry {key[:80]!r}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no object")  # noqa: TRY004
    given = {}
    for name in ("auth", "username", "password", "identitytoken"):
        value = entry.get(name)
        if not isinstance(value, str | None):
            raise ValueError(f"`{name}` of {where} is no text")  # noqa: TRY004
        given[name] = value or ""
        if not is_sendable(given[name]):
            raise ValueError(f"`{name}` of {where} has characters that UTF-8 cannot hold")
    if given["identitytoken"]:
        return identity(given["identitytoken"])
    username, password = given["username"], given["password"]
    if given["auth"]:
        username, colon, password = _decoded(given["auth"]).partition(":")
        if not colon or not username:
            raise ValueError(f"`auth` of {where} is not user:password in base64")
        # Very old files have them at the end.
        password = password.strip("\0")
    return Credentials(username, password) if username or password else None


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
