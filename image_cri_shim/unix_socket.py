"""Listening unix sockets and what is left of dead ones: all the operating system calls.

A socket is *live* if somebody accepts connections on it, *stale* if it is the file that a dead
program left behind. A stale one is replaced; a live one is never stolen; what is no socket is never
deleted.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

import attrs

# What a socket gets when there is no runtime's socket to take the mode from.
DEFAULT_MODE = 0o660
_BACKLOG = 1024
# Bytes of a path that can be bound or connected to: sockaddr_un has 108 with the NUL (unix(7)).
PATH_LIMIT = 107
# Seconds after which a socket whose queue is full counts as live; a dead one refuses at once.
_PROBE_TIMEOUT = 1.0
# Not blocking: whatever stands there, opening it must not wait.
_LOCK_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class SocketError(Exception):
    """A socket cannot be served; the message says why and what to do."""


class SocketState(enum.Enum):
    """What stands at a path."""

    ABSENT = "absent"
    STALE = "stale"
    LIVE = "live"
    # A directory, a regular file, a device.
    FOREIGN = "not a socket"


def probe(path: str) -> SocketState:
    """Find out what stands at a path; a dangling symbolic link counts as absent.

    :raises OSError: it cannot be found out (no permission).
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return SocketState.ABSENT
    if not stat.S_ISSOCK(mode):
        return SocketState.FOREIGN
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with client:
        client.settimeout(_PROBE_TIMEOUT)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return SocketState.STALE
        except FileNotFoundError:
            return SocketState.ABSENT
        except (TimeoutError, BlockingIOError):
            return SocketState.LIVE
        except OSError as error:
            # Somebody has it, but with datagrams.
            if error.errno != errno.EPROTOTYPE:
                raise
    return SocketState.LIVE


@attrs.define
class Listener:
    """A socket that listens at a path, and the lock that says it is ours.

    :ivar sock: the listening socket.
    """

    path: str
    sock: socket.socket
    _inode: tuple[int, int]
    _directory: int
    _lock: _Lock

    def remove(self) -> None:
        """Stop listening; remove the socket if it is still ours, then give up the lock."""
        name = os.path.basename(self.path)
        with contextlib.suppress(OSError):
            if _inode(name, self._directory) == self._inode:
                os.unlink(name, dir_fd=self._directory)
        self.sock.close()
        os.close(self._directory)
        self._lock.release()


def listen(path: str, like: str | None = None) -> Listener:
    """Listen at ``path``, replacing a stale socket.

    The socket appears at its path with its permissions, listening already: it is bound under a
    private name in the same directory and then renamed.

    :param like: another socket whose owner, group and permissions are taken, if it exists.
    :raises SocketError: the path is taken by somebody else, or cannot be used.
    """
    try:
        # The working directory may be another one when the socket is removed.
        path = os.path.join(os.getcwd(), path)
        _check_directory(path)
        _make_directory(os.path.dirname(path))
        lock = _Lock.acquire(f"{path}.lock")
    except OSError as error:
        raise SocketError(f"cannot serve {path}: {_reason(error)}") from error
    try:
        _check_free(path)
        sock, inode, directory = _bind(path, like)
    except SocketError:
        lock.release()
        raise
    except OSError as error:
        lock.release()
        raise SocketError(f"cannot serve {path}: {_reason(error)}") from error
    return Listener(path, sock, inode, directory, lock)


def check(path: str) -> None:
    """Make sure, as far as can be told in advance, that ``listen`` would succeed.

    :raises SocketError: it would not.
    """
    try:
        _check_directory(os.path.join(os.getcwd(), path))
        holder = _Lock.holder(f"{path}.lock")
        if holder is not None:
            raise SocketError(_served(path, holder))
        _check_free(path)
    except OSError as error:
        raise SocketError(f"cannot serve {path}: {_reason(error)}") from error


def _check_directory(path: str) -> None:
    """Make sure that files can be made where a socket is to be, or its directory."""
    directory = os.path.dirname(path)
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        raise SocketError(f"cannot serve {path}: {directory} is no directory")
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
        why = "a read-only file system" if read_only else "permission denied"
        raise SocketError(
            f"cannot serve {path}: {directory} may not be written ({why}); "
            "set `shim` to another path, or start as root"
        )


def _check_free(path: str) -> None:
    state = probe(path)
    if state is SocketState.LIVE:
        raise SocketError(_served(path, ""))
    if state is SocketState.FOREIGN:
        kind = "a directory" if Path(path).is_dir() else "a file that is no socket"
        raise SocketError(
            f"cannot serve {path}: there is {kind}, which is left alone; "
            "move it away or set `shim` to another path"
        )


def _served(path: str, holder: str) -> str:
    who = f"process {holder}" if holder else "another program"
    return (
        f"cannot serve {path}: {who} serves it already; stop that first, "
        "or set `shim` to another path"
    )


def _make_directory(path: str) -> None:
    """Make a directory that everybody may pass through, whatever umask a daemon has."""
    before = os.umask(0o022)
    try:
        os.makedirs(path, exist_ok=True)
    finally:
        os.umask(before)


def _bind(path: str, like: str | None) -> tuple[socket.socket, tuple[int, int], int]:
    """Return the listening socket, its inode, and a descriptor of its directory.

    The descriptor must stay open as long as the socket: it may be a part of the socket's address,
    which asyncio looks up (Python 3.13) and which would mean something else once it is reused.
    """
    mode, owner = _permissions(like)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            inode = _bind_in(directory, path, sock, mode, owner)
        except BaseException:
            os.close(directory)
            raise
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock, inode, directory


def _bind_in(
    directory: int, path: str, sock: socket.socket, mode: int, owner: tuple[int, int] | None
) -> tuple[int, int]:
    """Bind in an open directory and rename; return the socket's inode."""
    name = os.path.basename(path)
    temporary = f".{name}.new"
    address = os.path.join(os.path.dirname(path), temporary)
    if len(os.fsencode(address)) > PATH_LIMIT:
        # The limit is for what is bound, and the private name is longer than the final one.
        address = f"/proc/self/fd/{directory}/{temporary}"
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(temporary, dir_fd=directory).st_mode):
            raise SocketError(f"cannot serve {path}: {address} is in the way; move it away")
        os.unlink(temporary, dir_fd=directory)
    before = os.umask(0o177)
    try:
        sock.bind(address)
    finally:
        os.umask(before)
    try:
        if owner is not None:
            os.chown(temporary, *owner, dir_fd=directory)
        # Linux has no fchmodat for sockets; the way through the address is the same.
        os.chmod(address, mode)
        sock.listen(_BACKLOG)
        inode = _inode(temporary, directory)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    return inode


def _permissions(like: str | None) -> tuple[int, tuple[int, int] | None]:
    """Return the mode and, where it may be given, the owner for a new socket."""
    if like is not None:
        with contextlib.suppress(OSError):
            status = os.stat(like)
            if stat.S_ISSOCK(status.st_mode):
                owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
                return stat.S_IMODE(status.st_mode), owner
    return DEFAULT_MODE, None


def _inode(path: str, directory: int | None = None) -> tuple[int, int]:
    status = os.lstat(path, dir_fd=directory)
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _check_regular(handle: int, path: str) -> None:
    """Make sure that a lock file is a file, and nothing whose reading could wait."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise SocketError(f"cannot use the lock {path}: it is no regular file; move it away")


def _read(handle: int) -> str:
    """Return who a lock file says holds it."""
    return os.pread(handle, 32, 0).decode("ascii", "replace").strip()


@attrs.define
class _Lock:
    """A lock file: held by a live program, free when that dies, whichever way it dies."""

    path: str
    handle: int

    @classmethod
    def acquire(cls, path: str) -> _Lock:
        """Take the lock.

        :raises SocketError: a live program has it.
        """
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | _LOCK_FLAGS, 0o600)
            try:
                _check_regular(handle, path)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read(handle)
                os.close(handle)
                raise SocketError(_served(path.removesuffix(".lock"), holder)) from None
            except BaseException:
                os.close(handle)
                raise
            status = os.fstat(handle)
            with contextlib.suppress(FileNotFoundError):
                if _inode(path) == (status.st_dev, status.st_ino):
                    return cls(path, handle).signed()
            # Its last holder removed the file between our opening and locking it.
            os.close(handle)

    @staticmethod
    def holder(path: str) -> str | None:
        """Return the process that holds the lock (empty if it did not say), None if it is free."""
        try:
            handle = os.open(path, os.O_RDONLY | _LOCK_FLAGS)
        except FileNotFoundError:
            return None
        try:
            _check_regular(handle, path)
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(handle)
        finally:
            os.close(handle)
        return None

    def signed(self) -> _Lock:
        """Write down who holds it; a full disk is no reason not to hold it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.handle, 0)
            os.pwrite(self.handle, f"{os.getpid()}\n".encode("ascii"), 0)
        return self

    def release(self) -> None:
        """Remove the file while it is still locked, if it is still this one; then let go."""
        with contextlib.suppress(OSError):
            status = os.fstat(self.handle)
            if _inode(self.path) == (status.st_dev, status.st_ino):
                os.unlink(self.path)
        os.close(self.handle)
