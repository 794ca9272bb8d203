"""Where sockets are: the runtimes' known places, and what can be a socket's path at all."""

from __future__ import annotations

import posixpath
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


def same_path(one: str, other: str) -> bool:
    """Tell whether two absolute paths are written differently at most.

    Symbolic links are not looked at, but that ``/var/run`` is ``/run``.
    """
    return _canonical(one) == _canonical(other)


def _canonical(path: str) -> str:
    # normpath leaves two slashes at the beginning alone.
    plain = "/" + posixpath.normpath(path).lstrip("/")
    return plain.removeprefix("/var") if plain.startswith("/var/run/") else plain
