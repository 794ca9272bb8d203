"""What stands at a path: a socket that somebody serves, what is left of a dead one, or no socket.

A socket is *live* if somebody accepts connections on it, and *stale* if it is the file that a dead
program left behind.
"""

from __future__ import annotations

import enum
import errno
import os
import socket
import stat
from pathlib import Path

# Bytes of a path that can be bound or connected to: sockaddr_un has 108 with the NUL (unix(7)).
PATH_LIMIT = 107
# Seconds after which a socket whose queue is full counts as live; a dead one refuses at once.
_PROBE_TIMEOUT = 1.0
# All unix sockets of the network namespace (proc(5)).
_TABLE = Path("/proc/net/unix")
_TABLE_FIELDS = 8
# Of its columns: __SO_ACCEPTCON in Flags, SS_UNCONNECTED in St, and the Types that can listen.
_LISTENING = 0x10000
_UNCONNECTED = 1
_STREAMS = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)


class SocketState(enum.Enum):
    """What stands at a path."""

    ABSENT = "absent"
    STALE = "stale"
    # Some program has bound it and does not listen yet, as every server does for a moment.
    BOUND = "bound"
    LIVE = "live"
    # A directory, a regular file, a FIFO, a device.
    FOREIGN = "not a socket"


def probe(path: str) -> SocketState:
    """Find out what stands at a path; a dangling symbolic link counts as absent.

    :raises OSError: it cannot be found out (no permission).
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return SocketState.ABSENT
    if not stat.S_ISSOCK(status.st_mode):
        return SocketState.FOREIGN
    state = _ask(path)
    if state is SocketState.STALE:
        if is_bound(os.path.basename(os.path.realpath(path)), status):
            return SocketState.BOUND
        # It may have begun to listen just before it was looked up.
        state = _ask(path)
    return state


def identity(path: str, directory: int | None = None) -> tuple[int, int]:
    """Return what tells one file from every other: its device and inode.

    :param directory: a descriptor of the directory that a relative path starts from.
    :raises OSError: there is none.
    """
    status = os.lstat(path, dir_fd=directory)
    return status.st_dev, status.st_ino


def is_bound(name: str, status: os.stat_result) -> bool:
    """Tell whether a program has bound a socket and does not listen on it yet.

    What listens already is not counted: its path may be of a file that another one has replaced,
    and connecting tells. Where the table cannot be read, nothing is known to be bound.

    :param name: the last part of the path that it was bound to.
    :param status: of the socket's file.
    """
    try:
        lines = _TABLE.read_bytes().splitlines()[1:]
    except OSError:
        return False
    for line in lines:
        fields = line.split(None, _TABLE_FIELDS - 1)
        if len(fields) < _TABLE_FIELDS:
            continue
        flags, kind, state = (int(field, 16) for field in fields[3:6])
        if kind not in _STREAMS or state != _UNCONNECTED or flags & _LISTENING:
            continue
        bound = os.fsdecode(fields[-1])
        if os.path.basename(bound) == name and not _is_another(bound, status):
            return True
    return False


def _ask(path: str) -> SocketState:
    """Connect to a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
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
            # Somebody has it, but with datagrams or packets.
            if error.errno != errno.EPROTOTYPE:
                raise
    return SocketState.LIVE


def _is_another(path: str, status: os.stat_result) -> bool:
    """Tell whether a path of the table is known to be another file's.

    It is written as the program wrote it, which may have another working or root directory.
    """
    if not os.path.isabs(path):
        return False
    try:
        return not os.path.samestat(os.stat(path), status)
    except OSError:
        return False
