"""Writing to systemd's journal in its native protocol.

Source: systemd's "Native Journal Protocol", sd_journal_print(3), systemd.exec(5).
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"

# What lets a burst of entries wait for the journal; the system may allow less.
_ROOM = 8 * 1024 * 1024
_LENGTH = struct.Struct("<Q")
# A datagram that is too long for the system, or for the room that there is.
_TOO_LONG = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def is_stream_of_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Tell whether what is written to a descriptor goes to the journal (JOURNAL_STREAM)."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def encoded(fields: Mapping[str, str]) -> bytes:
    """Return an entry as it is sent: ``NAME=value``, or with its length if it has several lines."""
    parts: list[bytes] = []
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts += (name.encode("ascii"), b"\n", _LENGTH.pack(len(data)), data, b"\n")
        else:
            parts += (name.encode("ascii"), b"=", data, b"\n")
    return b"".join(parts)


class Journal:
    """Sends entries to the journal, and never waits for it.

    :param path: its socket.
    """

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, fields: Mapping[str, str]) -> bool:
        """Send an entry; return False if the journal does not take it now."""
        data = encoded(fields)
        try:
            sender = self._sender()
            try:
                # By its address each time, for the journal may be restarted.
                sender.sendto(data, self._path)
            except OSError as error:
                if error.errno not in _TOO_LONG:
                    raise
                _send_sealed(sender, data, self._path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _sender(self) -> socket.socket:
        if self._socket is None:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        return self._socket


def _send_sealed(sender: socket.socket, data: bytes, path: str) -> None:
    """Send an entry as a file in memory that nobody can change any more (memfd_create(2))."""
    descriptor = os.memfd_create("image-cri-shim", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(data)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        # Not socket.send_fds(): it leaves the address out.
        rights = array.array("i", [descriptor])
        sender.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, path)
    finally:
        os.close(descriptor)
