"""Sockets that systemd has made and listens on for us: sd_listen_fds(3), systemd.socket(5)."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import MutableMapping

import attrs

from image_cri_shim.errors import SocketError
from image_cri_shim.socket_permissions import Access, Permissions, change
from image_cri_shim.unix_socket import leads_to

# The first descriptor that is passed (SD_LISTEN_FDS_START); the others follow without a gap.
_FIRST = 3
_PID, _COUNT, _NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
# Of a number of descriptors, at most.
_DIGITS = 6
# LISTEN_PIDFDID: systemd 258 and newer.
_VARIABLES = (_PID, _COUNT, _NAMES, "LISTEN_PIDFDID")


@attrs.define
class Activated:
    """A socket that was passed to us; its file is systemd's.

    :ivar path: as systemd has bound it.
    :ivar sock: the listening socket; it does not block.
    """

    path: str
    sock: socket.socket
    _inode: tuple[int, int] | None
    # What the socket unit's SocketMode=, SocketUser= and SocketGroup= have given it.
    _native: Access | None

    def in_place(self) -> bool:
        """Tell whether the path still leads to what was there when the socket was passed."""
        return self._inode is not None and leads_to(self.path, self._inode)

    def permit(
        self,
        permissions: Permissions,
        like: str | None = None,  # noqa: ARG002 - as for a Listener
    ) -> None:
        """Change who may use the socket where that is configured; else it is as it was passed.

        :param like: not looked at: the socket unit says what the socket has.
        :raises SocketError: that cannot be done, and nothing has changed.
        """
        if self._inode is None or self._native is None:
            raise SocketError(
                f"cannot change who may use {self.path}: its file is gone; restart the socket unit"
            )
        change(self.path, self._inode, permissions, None, self._native)

    def remove(self) -> None:
        """Let go of the socket; systemd listens on, and the next start gets who waits there."""
        self.sock.close()


def take(environ: MutableMapping[str, str], pid: int) -> tuple[Activated, ...]:
    """Take the sockets that were passed to this process; none if it was started without any.

    The variables are removed in any case, so that no child takes them for its own. Descriptors that
    were passed to another process are left alone.

    :param environ: the process's environment.
    :param pid: the process's id.
    :raises SocketError: what was passed is no listening unix stream socket with a path.
    """
    given = {name: environ.pop(name, "") for name in _VARIABLES}
    if given[_PID] != str(pid) or not given[_COUNT]:
        return ()
    count = given[_COUNT]
    if not count.isascii() or not count.isdecimal() or len(count) > _DIGITS:
        raise SocketError(f"cannot take over sockets: {_COUNT} is {count!r}, which is no number")
    names = given[_NAMES].split(":")
    with contextlib.ExitStack() as undo:
        taken = []
        for number in range(int(count)):
            name = names[number] if number < len(names) else ""
            activated = _take(_FIRST + number, name)
            undo.callback(activated.remove)
            taken.append(activated)
        undo.pop_all()
    return tuple(taken)


def _take(descriptor: int, name: str) -> Activated:
    who = f"descriptor {descriptor}" + (f" ({name})" if name else "")
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SocketError(
            f"cannot take over {who}, which LISTEN_FDS says was passed: {error.strerror or error}"
        ) from error
    try:
        path = _path(sock)
    except SocketError as error:
        sock.close()
        raise SocketError(
            f"cannot take over {who}: {error}; "
            "give the socket unit ListenStream= with an absolute path, and Accept=no"
        ) from error
    sock.setblocking(False)
    status = None
    with contextlib.suppress(OSError):
        if _leads_here(path, sock):
            status = os.stat(path)
    if status is None:
        return Activated(path, sock, None, None)
    return Activated(path, sock, (status.st_dev, status.st_ino), Access.of(status))


def _leads_here(path: str, sock: socket.socket) -> bool:
    """Tell whether who connects to a path gets to a listening socket.

    Since systemd has made it, the file may have been removed, and another one made. Both ends of a
    connection know who has called listen() (SO_PEERCRED, unix(7)).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except BlockingIOError:
            # Its queue is full: somebody lives there, and nobody accepts here yet.
            return True
        except OSError:
            return False
        return _listener_of(probe) == _listener_of(sock)


def _listener_of(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))


def _path(sock: socket.socket) -> str:
    """Return where a socket listens.

    :raises SocketError: it is of no use; the message is a clause.
    """
    if sock.family != socket.AF_UNIX:
        raise SocketError("it is no unix socket")
    if sock.type != socket.SOCK_STREAM:
        raise SocketError("it is no stream socket")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise SocketError("it does not listen")
    path = sock.getsockname()
    # Bytes if it is abstract, empty if it has no name.
    if not isinstance(path, str) or not path:
        raise SocketError("it has no path")
    return path
