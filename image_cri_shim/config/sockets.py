"""Where sockets are: the runtimes' known places, what can be a socket's path, where TCP listens."""

from __future__ import annotations

import contextlib
import ipaddress
import posixpath
import re
from collections.abc import Callable

from image_cri_shim.config.excerpt import excerpt

# The places in which runtimes put their socket, in the order in which they are tried.
KNOWN_SOCKETS = (
    "/run/containerd/containerd.sock",
    "/var/run/crio/crio.sock",
    "/var/run/cri-dockerd.sock",
    "/var/run/dockershim.sock",
)
# sockaddr_un has 108 bytes for a path and its NUL (unix(7)).
PATH_LIMIT = 107
_PREFIX = "unix://"
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
# What has more colons outside of brackets is an IPv6 address without them.
_LISTEN = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_LAST_PORT = 65535
# It is this machine whatever a resolver says (RFC 6761, section 6.3), so none is asked.
_LOCALHOST = "127.0.0.1"


def detect_runtime_socket(exists: Callable[[str], bool], shim: str = "") -> str | None:
    """Return the first of ``KNOWN_SOCKETS`` that exists, or None.

    :param shim: the shim's own socket, which may be at one of the runtimes' places.
    """
    others = (path for path in KNOWN_SOCKETS if not same_path(path, shim))
    return next((path for path in others if exists(path)), None)


def without_scheme(text: str) -> str:
    """Return a socket's path as it is written, without ``unix://`` in front."""
    return text.removeprefix(_PREFIX)


def parse_socket_path(text: str) -> str:
    """Return the path that ``text`` names, with or without ``unix://`` in front.

    :raises ValueError: it cannot be a socket's path; the message is a clause about what was found.
    """
    path = without_scheme(text)
    if not path.startswith("/"):
        raise ValueError(f"found {excerpt(text)}" if text else "found an empty text")
    if path.endswith("/"):
        raise ValueError(f"found {excerpt(text)}, a directory")
    length = len(path.encode())
    if length > PATH_LIMIT:
        raise ValueError(f"found one of {length} bytes")
    return path


def parse_listen(text: str) -> tuple[str, int]:
    """Return the address, IPv4 or IPv6 without brackets, and the port that ``host:port`` names.

    :raises ValueError: it is none; the message is a clause about what was found. It repeats nothing
        that may be a password.
    """
    if "@" in text:
        raise ValueError("found an @ in it: write the address and the port alone")
    if text.startswith(("/", _PREFIX)):
        raise ValueError(f"found the path {excerpt(text)}: write it as `adminSocket`")
    if _SCHEME.match(text):
        raise ValueError(f"found {excerpt(text)}: write the address and the port alone")
    match = _LISTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"found {excerpt(text)}: write an IPv6 address in brackets, [::1]:9317")
    host, port = match["host"], match["port"]
    if not host or (port is None and host.isdigit()):
        raise ValueError(f"found no address in {excerpt(text)}: write 127.0.0.1 for this machine")
    if port is None:
        raise ValueError(f"found no port in {excerpt(text)}: write {host[:60]}:9317")
    if _PORT.fullmatch(port) is None or int(port) > _LAST_PORT:
        raise ValueError(f"found the port {excerpt(port)}, which is not from 1 to {_LAST_PORT}")
    return _address(host), int(port)


def _address(host: str) -> str:
    if host.lower() == "localhost":
        return _LOCALHOST
    # An address with a zone, fe80::1%eth0, has a name in it as well.
    with contextlib.suppress(ValueError):
        if "%" not in host and host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1]).compressed
        return ipaddress.IPv4Address(host).compressed
    raise ValueError(
        f"found {excerpt(host)}, which is neither an IP address nor localhost; names are not "
        "looked up"
    )


def format_listen(host: str, port: int) -> str:
    """Write what ``parse_listen`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def same_path(one: str, other: str) -> bool:
    """Tell whether two absolute paths are written differently at most.

    Symbolic links are not looked at, but that ``/var/run`` is ``/run``.
    """
    return _canonical(one) == _canonical(other)


def _canonical(path: str) -> str:
    # normpath leaves two slashes at the beginning alone.
    plain = "/" + posixpath.normpath(path).lstrip("/")
    return plain.removeprefix("/var") if plain.startswith("/var/run/") else plain
