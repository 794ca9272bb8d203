"""One client's connection to the admin interface, and what it may cost."""

from __future__ import annotations

from typing import Any, cast

from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

# Seconds in which a request must have come after the last answer, and an answer been taken.
PATIENCE = 60.0


class AdminChannel(HTTPChannel):
    """An HTTP connection with bounds.

    Twisted waits for ever for a client that does not take the last answer, or that sends a byte a
    minute, and goes on to answer one that takes nothing. Here the time for one request is bounded
    as a whole, the next one is read when the answer before it is nearly gone, and a client that
    does not wait for its answer gets no other.

    :ivar site: the ``AdminSite`` that it belongs to.
    :ivar full: whether the client has not taken enough of what was written.
    """

    maxHeaders = 100  # noqa: N815 - Twisted's name
    totalHeadersSize = 16384  # noqa: N815 - Twisted's name
    site: Any
    full = False
    _requests = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._handlingRequest)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Belong to the site."""
        self.site.connected(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take what the client sends."""
        self._requests = 0
        if self.busy:
            self.persistent = 0
        super().dataReceived(data)

    def allContentReceived(self) -> None:  # noqa: N802 - Twisted's name
        """Answer a request, unless it came together with another one."""
        self._requests += 1
        if self._requests > 1:
            self.loseConnection()
        else:
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:  # noqa: N802 - Twisted's name
        """Read on, as soon as the client takes what it asked for."""
        super().requestDone(request)
        if self.full and self.persistent:
            cast("Any", self.transport).pauseProducing()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Take note that the client is slow."""
        self.full = True
        super().pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Take note that it is no longer."""
        self.full = False
        super().resumeProducing()

    def resetTimeout(self) -> None:  # noqa: N802 - Twisted's name
        """Give no more time for a part of a request."""

    def timeoutConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close the connection; what was not taken by now never will be."""
        self.abort()

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close the connection when what was written has been taken, or after a while."""
        self.setTimeout(PATIENCE)
        super().loseConnection()

    def leave(self) -> None:
        """Close the connection when the request that runs has been answered, if one does."""
        self.persistent = 0
        if not self.busy:
            self.loseConnection()

    def abort(self) -> None:
        """Close the connection now."""
        transport = cast("Any", self.transport)
        if transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # noqa: N802
        """Belong to the site no longer."""
        self.site.disconnected(self)
        super().connectionLost(reason)
