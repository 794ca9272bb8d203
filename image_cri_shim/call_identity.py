"""Who made a call, and how it is told from all others."""

from __future__ import annotations

import itertools
import secrets

import attrs

# Calls of one run of the daemon, and what tells its runs apart in a log that has several.
_numbers = itertools.count(1)
_RUN = secrets.token_hex(2)


@attrs.frozen
class Client:
    """The program at the other end of a connection (unix(7), SO_PEERCRED).

    :ivar pid: 0 if it is in another PID namespace.
    :ivar name: the program's, as the kernel has it (proc(5), comm); empty if it is not known.
    """

    pid: int
    uid: int
    gid: int
    name: str = ""

    def __str__(self) -> str:
        """Say it for the log: ``kubelet (pid 812, uid 0)``."""
        return f"{self.name or 'unknown'} (pid {self.pid}, uid {self.uid})"


@attrs.frozen
class CallIdentity:
    """What the lines of one call have in common.

    :ivar call: its id, ``4f1c-12``.
    :ivar client: who made it; None if that is not known.
    :ivar trace: the trace that it is a part of, 32 hexadecimal digits; empty for none.
    """

    call: str
    client: Client | None = None
    trace: str = ""


def next_call_id() -> str:
    """Return the id of a call, another one each time."""
    return f"{_RUN}-{next(_numbers)}"
