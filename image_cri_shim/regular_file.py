"""Reading a file that somebody else may make anything of: at once, or not at all."""

from __future__ import annotations

import os
import stat


def read_regular(path: str, limit: int) -> bytes | None:
    """Return what a file begins with; None of what is no regular file.

    Nothing is waited for: a FIFO may have no writer, and the daemon has other things to do.

    :param limit: bytes, at most.
    :raises OSError: it cannot be read; ENXIO of a socket's file, which is no regular file either.
    :raises ValueError: this cannot be the name of a file.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        return file.read(limit)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
