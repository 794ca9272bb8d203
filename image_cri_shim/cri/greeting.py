"""A client's first bytes: what it has to say before anything is made for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

from image_cri_shim.cri.watch import Watch

# What an HTTP/2 client begins with (RFC 9113, section 3.4), and the header of the SETTINGS frame
# that must follow.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_NEEDED = len(_PREFACE) + 9
_HTTP_1 = re.compile(rb"[A-Z]{3,10} ")
_TEXT = b"This is a gRPC socket; it speaks HTTP/2 with prior knowledge only.\n"
_REFUSAL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT)
)

Welcome = Callable[[asyncio.Transport, bytes], None]


class Greeting(asyncio.Protocol):
    """Waits for the beginning of HTTP/2; what begins otherwise is disconnected.

    There may be thousands that never say anything, so it is small.

    :param welcome: takes over the transport of a client that has greeted, and what it has sent.
    :param watch: ends those that do not greet. It has this one from now on, and not only when the
        event loop makes the connection: that is a turn later, after all that wait were accepted.
    """

    __slots__ = ("_received", "_stalled", "_transport", "_watch", "_welcome")

    def __init__(self, welcome: Welcome, watch: Watch) -> None:
        self._welcome = welcome
        self._watch = watch
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._stalled = False
        watch.begin(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen."""
        self._transport = cast("asyncio.Transport", transport)
        if self._stalled:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Wait no more."""
        self._watch.end(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the bytes allow it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        received = self._received = self._received + data
        if not (received.startswith(_PREFACE) or _PREFACE.startswith(received)):
            self._watch.end(self)
            if _HTTP_1.match(received):
                transport.write(_REFUSAL)
                transport.close()
            else:
                transport.abort()
        elif len(received) >= _NEEDED:
            self._watch.end(self)
            self._welcome(transport, received)

    def stalled(self) -> None:
        """Disconnect a client that does not greet."""
        self._watch.end(self)
        self._stalled = True
        if self._transport is not None:
            self._transport.abort()
