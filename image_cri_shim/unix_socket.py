"""Listening unix sockets: made, given to whom they are for, removed.

A stale socket is replaced; a live one is never stolen; what is no socket is never deleted.

The socket is bound in the directory that it stays in, under a private name, and gets its final name
there. So it has the SELinux type that the policy gives to sockets in that directory: a file keeps
its label when it is renamed, and one that was made elsewhere would bring a wrong one along. Nothing
here ever goes from one directory to another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Protocol

import attrs

from image_cri_shim.errors import SocketError
from image_cri_shim.socket_lock import Lock, served_already
from image_cri_shim.socket_permissions import (
    AS_IT_IS,
    DEFAULT_MODE,
    Access,
    Permissions,
    change,
    check_names,
    explained,
    give,
    wanted,
)
from image_cri_shim.socket_state import PATH_LIMIT, SocketState, identity, probe

__all__ = [
    "DEFAULT_MODE",
    "PATH_LIMIT",
    "Listener",
    "Permissions",
    "Served",
    "SocketError",
    "SocketState",
    "check",
    "listen",
    "probe",
]

_BACKLOG = 1024


class Served(Protocol):
    """A socket that listens at a path, whoever has made it: here, or in ``activation``.

    :ivar path: absolute.
    :ivar sock: the listening socket; it does not block.
    """

    path: str
    sock: socket.socket

    def in_place(self) -> bool:
        """Tell whether clients that connect to the path get here."""

    def permit(self, permissions: Permissions, like: str | None = None) -> None:
        """Change who may use it."""

    def remove(self) -> None:
        """Stop listening."""


@attrs.define
class Listener:
    """A socket that listens at a path, and the lock that says it is ours.

    :ivar path: absolute.
    :ivar sock: the listening socket; it does not block.
    """

    path: str
    sock: socket.socket
    _inode: tuple[int, int]
    # Must stay open as long as the socket: it may be a part of the socket's address, which asyncio
    # looks up (Python 3.13) and which would mean something else once it is reused.
    _directory: int
    # What it has where nothing is configured and there is no runtime.
    _native: Access
    _lock: Lock

    def in_place(self) -> bool:
        """Tell whether the path still leads to this socket, and not to another file or nowhere."""
        return leads_to(self.path, self._inode)

    def permit(self, permissions: Permissions, like: str | None = None) -> None:
        """Change who may use the socket to what ``listen`` would give it now.

        :raises SocketError: that cannot be done, and nothing has changed.
        """
        change(self.path, self._inode, permissions, like, self._native)

    def remove(self) -> None:
        """Stop listening; remove the socket if it is still ours, then give up the lock."""
        name = os.path.basename(self.path)
        with contextlib.suppress(OSError):
            if identity(name, self._directory) == self._inode:
                os.unlink(name, dir_fd=self._directory)
        self.sock.close()
        os.close(self._directory)
        self._lock.release()


def listen(path: str, like: str | None = None, permissions: Permissions = AS_IT_IS) -> Listener:
    """Listen at ``path``, replacing a stale socket.

    The socket appears at its path with its permissions, listening already. What a program that was
    killed in the middle of this has left is replaced by the next one.

    :param like: another socket whose owner, group and mode are taken where ``permissions`` does not
        say otherwise, if it exists.
    :raises SocketError: the path is taken by somebody else, or cannot be used.
    """
    # The working directory may be another one when the socket is removed.
    path = os.path.join(os.getcwd(), path)
    with explained(f"cannot serve {path}"):
        _check_path(path)
        check_names(permissions)
        _make_directory(os.path.dirname(path))
        lock = Lock.acquire(path)
        try:
            _check_free(path)
            return _bind(path, like, permissions, lock)
        except BaseException:
            lock.release()
            raise


def check(path: str, permissions: Permissions = AS_IT_IS) -> None:
    """Make sure, as far as can be told in advance, that ``listen`` would succeed.

    :raises SocketError: it would not.
    """
    path = os.path.join(os.getcwd(), path)
    with explained(f"cannot serve {path}"):
        _check_path(path)
        check_names(permissions)
        holder = Lock.holder(path)
        if holder is not None:
            raise served_already(holder)
        _check_free(path)


def leads_to(path: str, inode: tuple[int, int]) -> bool:
    """Tell whether a path leads to one file, through links or not."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == inode


def _check_path(path: str) -> None:
    """Make sure that clients can use a path, and that files can be made there."""
    length = len(os.fsencode(path))
    if length > PATH_LIMIT:
        raise SocketError(
            f"its path has {length} bytes and a socket's at most {PATH_LIMIT} (unix(7)); "
            "set `shim` to a shorter one"
        )
    directory = os.path.dirname(path)
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        raise SocketError(f"{directory} is no directory")
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
        why = "a read-only file system" if read_only else "permission denied"
        cure = "let the service write there (ReadWritePaths=)" if read_only else "start as root"
        raise SocketError(
            f"{directory} may not be written ({why}); set `shim` to another path, or {cure}"
        )


def _check_free(path: str) -> None:
    try:
        state = probe(path)
    except PermissionError:
        raise SocketError(
            "it cannot be found out whether another program serves it (permission denied); "
            "start as root, or set `shim` to another path"
        ) from None
    if state is SocketState.LIVE:
        raise served_already()
    if state is SocketState.BOUND:
        raise SocketError(
            "another program is about to serve it; stop that first, or set `shim` to another path"
        )
    if state is SocketState.FOREIGN:
        kind = "a directory" if os.path.isdir(path) else "a file that is no socket"
        raise SocketError(
            f"there is {kind}, which is left alone; move it away or set `shim` to another path"
        )


def _make_directory(path: str) -> None:
    """Make a directory that everybody may pass through, whatever umask a daemon has."""
    before = os.umask(0o022)
    try:
        os.makedirs(path, exist_ok=True)
    finally:
        os.umask(before)


def _bind(path: str, like: str | None, permissions: Permissions, lock: Lock) -> Listener:
    """Bind and rename in an open directory."""
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        undo.callback(os.close, directory)
        inode, native = _bind_in(directory, path, sock, like, permissions)
        sock.setblocking(False)
        undo.pop_all()
    return Listener(path, sock, inode, directory, native, lock)


def _bind_in(
    directory: int, path: str, sock: socket.socket, like: str | None, permissions: Permissions
) -> tuple[tuple[int, int], Access]:
    """Return the socket's inode, and what it has where nobody says otherwise."""
    name = os.path.basename(path)
    temporary = f".{name}.new"
    address = os.path.join(os.path.dirname(path), temporary)
    if len(os.fsencode(address)) > PATH_LIMIT:
        # The limit is for what is bound, and the private name is longer than the final one.
        address = f"/proc/self/fd/{directory}/{temporary}"
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(temporary, dir_fd=directory).st_mode):
            raise SocketError(f"{address} is in the way; move it away")
        os.unlink(temporary, dir_fd=directory)
    before = os.umask(0o177)
    try:
        sock.bind(address)
    finally:
        os.umask(before)
    try:
        made = os.lstat(temporary, dir_fd=directory)
        native = Access(DEFAULT_MODE, made.st_uid, made.st_gid)
        give(address, wanted(permissions, like, native), permissions)
        sock.listen(_BACKLOG)
        # In the same directory: see the module's docstring.
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    return (made.st_dev, made.st_ino), native
