"""Accepting connections on a socket that somebody else has made.

Twisted's own port for unix sockets gives the path that it finds to everybody (mode 0666), and
removes it at the end; both are not its business here.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from image_cri_shim.clock import DelayedCall

# Connections that are taken in one turn; others wait for theirs.
_AT_ONCE = 8
# Seconds to wait when there are no descriptors left.
_REST = 1.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@implementer(IReadDescriptor)
class Acceptor:
    """Accepts on a listening socket, which stays its owner's, until it is stopped.

    :param sock: does not block.
    :param factory: makes the connections' protocols.
    :param reactor: one that can watch sockets and adopt connections.
    """

    def __init__(self, sock: socket.socket, factory: Any, reactor: Any) -> None:
        self._sock = sock
        self._factory = factory
        self._reactor = reactor
        self._resting: DelayedCall | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no longer; after this the socket may be closed."""
        if self._resting is not None and self._resting.active():
            self._resting.cancel()
        self._resting = None
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        """Return the descriptor to watch (Twisted's IFileDescriptor)."""
        return self._sock.fileno()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """Return how it is called in Twisted's log lines."""
        return "admin"

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Hear that the reactor stops; the socket's owner closes it."""

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """Take the connections that wait."""
        for _ in range(_AT_ONCE):
            try:
                client, _address = self._sock.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest()
                # Otherwise nobody waits any more, or who did has gone.
                return
            with client:
                self._adopt(client)

    def _adopt(self, client: socket.socket) -> None:
        client.setblocking(False)
        # It is duplicated. A client that has gone already is no client.
        with contextlib.suppress(OSError):
            client.getpeername()
            self._reactor.adoptStreamConnection(client.fileno(), client.family, self._factory)

    def _rest(self) -> None:
        self._reactor.removeReader(self)
        self._resting = self._reactor.callLater(_REST, self.start)
