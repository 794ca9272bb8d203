"""The lock beside a socket: which of the programs that want to serve it does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time

import attrs

from image_cri_shim.errors import SocketError

# Not blocking: whatever stands there, opening it must not wait.
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# How opening says that there is a symbolic link, a directory, a socket.
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)
# How often, and how many seconds apart, a lock is asked who holds it.
_LOOKS = 20
_BETWEEN_LOOKS = 0.005


def served_already(holder: str = "") -> SocketError:
    """Return what to say of a socket that another program serves; the message is a clause.

    :param holder: that program's process id, if it is known.
    """
    who = f"process {holder}" if holder else "another program"
    return SocketError(f"{who} serves it already; stop that first, or set `shim` to another path")


@attrs.define
class Lock:
    """A lock file: held by a live program, free when that dies, whichever way it dies."""

    path: str
    _handle: int

    @classmethod
    def acquire(cls, served: str) -> Lock:
        """Take the lock of the socket at ``served``.

        :raises SocketError: a live program has it, or what stands there is no lock; the message is
            a clause.
        :raises OSError: it cannot be made.
        """
        path = _name(served)
        while True:
            handle = _open(path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(handle)
                os.close(handle)
                raise served_already(holder) from None
            except BaseException:
                os.close(handle)
                raise
            lock = cls(path, handle)
            if lock.in_place():
                lock._sign()
                return lock
            # Its last holder removed the file between our opening and locking it.
            os.close(handle)

    @staticmethod
    def holder(served: str) -> str | None:
        """Return the process that holds the lock (empty if it did not say), None if it is free.

        :raises SocketError: what stands there is no lock; the message is a clause.
        :raises OSError: it may not be read.
        """
        try:
            handle = _open(_name(served), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(handle)
        finally:
            os.close(handle)
        return None

    def in_place(self) -> bool:
        """Tell whether the lock's path still leads to the file that is locked."""
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._handle))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the file while it is still locked, if it is still this one; then let go."""
        with contextlib.suppress(OSError):
            if self.in_place():
                os.unlink(self.path)
        os.close(self._handle)

    def _sign(self) -> None:
        """Write down who holds it; a full disk is no reason not to hold it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode("ascii"), 0)


def _name(served: str) -> str:
    return f"{served}.lock"


def _open(path: str, flags: int) -> int:
    """Open a lock file, and nothing else: reading that could wait."""
    refusal = SocketError(f"its lock {path} is no regular file; move it away")
    try:
        handle = os.open(path, flags | _FLAGS, 0o600)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise refusal from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise refusal
    return handle


def _holder(handle: int) -> str:
    """Return who a lock file says holds it; empty if it does not say.

    The holder writes that down a moment after it has taken the lock; until then there is nothing,
    or the one before it, who is dead.
    """
    said = ""
    for _ in range(_LOOKS):
        said = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        if said.isdecimal() and os.path.exists(f"/proc/{said}"):
            break
        time.sleep(_BETWEEN_LOOKS)
    return said
