"""Who may use a socket: its mode, owner and group, and how they are given to it."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterator

import attrs

from image_cri_shim.errors import SocketError

# What a socket gets when there is no runtime's socket to take the mode from.
DEFAULT_MODE = 0o660
# The largest user and group IDs; the one after it means none (chown(2)).
_LAST_ID = 2**32 - 2
# Who may not give a file to somebody else gets EPERM; in a user namespace that does not have that
# user, EINVAL.
_NOT_GIVEN = (errno.EPERM, errno.EINVAL)


@attrs.frozen
class Permissions:
    """What is configured; None is what the other socket has, or the default.

    :ivar mode: the permission bits, as for chmod(2).
    :ivar owner: a user's name or number.
    :ivar group: a group's name or number.
    """

    mode: int | None = None
    owner: str | None = None
    group: str | None = None


AS_IT_IS = Permissions()


@attrs.frozen
class Access:
    """Who may use a socket."""

    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, status: os.stat_result) -> Access:
        """Return what a file has."""
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def wanted(permissions: Permissions, like: str | None, otherwise: Access) -> Access:
    """Return what a socket shall have.

    :param like: another socket whose access is taken where nothing is configured, if it exists.
    :param otherwise: what is taken where that does not exist either.
    :raises SocketError: a name is not known; the message is a clause.
    """
    base = otherwise
    if like is not None:
        with contextlib.suppress(OSError):
            status = os.stat(like)
            if stat.S_ISSOCK(status.st_mode):
                base = Access.of(status)
    mode, owner, group = permissions.mode, permissions.owner, permissions.group
    return Access(
        base.mode if mode is None else mode,
        base.uid if owner is None else _user(owner),
        base.gid if group is None else _group(group),
    )


def check_names(permissions: Permissions) -> None:
    """Make sure that the owner and the group exist.

    :raises SocketError: one does not; the message is a clause.
    """
    wanted(permissions, None, Access(0, 0, 0))


def give(address: str, access: Access, permissions: Permissions) -> None:
    """Change a socket's mode, owner and group.

    At no moment may anybody use it who might use it neither before nor after. What the socket has
    only because another one has it is given as far as the process may; what is configured must be.

    :param address: a path to the socket that nobody else can change the meaning of.
    :raises SocketError: what is configured may not be given; the message is a clause.
    :raises OSError: the mode may not be changed.
    """
    before = Access.of(os.stat(address))
    if before == access:
        return
    try:
        if (before.uid, before.gid) != (access.uid, access.gid):
            _chmod(address, before.mode & access.mode)
        if before.gid != access.gid:
            with _giving("group", "shimGroup", permissions.group):
                os.chown(address, -1, access.gid)
        # Before the owner: what belongs to another user may be changed only with CAP_FOWNER.
        _chmod(address, access.mode)
        if os.stat(address).st_uid != access.uid:
            with _giving("user", "shimOwner", permissions.owner):
                os.chown(address, access.uid, -1)
    except BaseException:
        with contextlib.suppress(OSError):
            _chmod(address, before.mode)
        with contextlib.suppress(OSError):
            os.chown(address, before.uid, before.gid)
        raise


def _chmod(address: str, mode: int) -> None:
    """Change a socket's mode; one that was given away is taken back for that.

    That needs CAP_CHOWN, which the hardened unit leaves, and not CAP_FOWNER.
    """
    try:
        os.chmod(address, mode)
    except PermissionError:
        os.chown(address, os.geteuid(), -1)
        os.chmod(address, mode)


def change(
    path: str,
    inode: tuple[int, int],
    permissions: Permissions,
    like: str | None,
    otherwise: Access,
) -> None:
    """Change the mode, owner and group of a socket that is served, in place.

    :param inode: which socket that is; whatever else is at the path is left alone.
    :param like: as for ``wanted``, like ``otherwise``.
    :raises SocketError: that cannot be done, and nothing has changed.
    """
    with explained(f"cannot change who may use {path}"):
        access = wanted(permissions, like, otherwise)
        # Opened without using it, it is the same file whatever is renamed meanwhile.
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if (status.st_dev, status.st_ino) != inode:
                raise SocketError("another file has taken its place; restart to serve there again")
            give(f"/proc/self/fd/{handle}", access, permissions)
        finally:
            os.close(handle)


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Say what cannot be done, where there is only a reason.

    :raises SocketError: with both, for a SocketError or an OSError.
    """
    try:
        yield
    except SocketError as error:
        raise SocketError(f"{what}: {error}") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise SocketError(f"{what}: {error.strerror or error}{where}") from error


@contextlib.contextmanager
def _giving(kind: str, key: str, name: str | None) -> Iterator[None]:
    """Take it lightly that something may not be given, unless it was asked for."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_GIVEN:
            raise
        if name is not None:
            raise SocketError(
                f"it may not be given to the {kind} {name} (`{key}`): "
                f"{(error.strerror or str(error)).lower()}; "
                f"start as root with CAP_CHOWN, or leave `{key}` out"
            ) from error


def _user(name: str) -> int:
    return _number(name, "user", "shimOwner", lambda: pwd.getpwnam(name).pw_uid)


def _group(name: str) -> int:
    return _number(name, "group", "shimGroup", lambda: grp.getgrnam(name).gr_gid)


def _number(name: str, kind: str, key: str, find: Callable[[], int]) -> int:
    """Return the ID that a name or a number means."""
    if name.isascii() and name.isdecimal():
        number = int(name)
        if number <= _LAST_ID:
            return number
        raise SocketError(f"{name} is no {kind}'s number (`{key}`); the largest is {_LAST_ID}")
    try:
        return find()
    except (KeyError, ValueError):
        raise SocketError(
            f"there is no {kind} {name!r} on this machine (`{key}`); "
            f"create it, or set `{key}` to another name or a number"
        ) from None
