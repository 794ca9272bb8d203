"""A transport that sends many small writes as one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

_log = logging.getLogger(__name__)

# More than this is written before the turn is over, so that who writes learns that it is enough.
_AT_ONCE = 64 * 1024
# Bytes that may wait for a peer. Whoever writes messages stops far below it; what comes here are
# the acknowledgements that HTTP/2 asks for (PING, SETTINGS, RST_STREAM) of a peer that never reads.
_MOST = 4 * 1024 * 1024


class Gathering:
    """A transport that sends the writes of one turn of the loop in one system call.

    HTTP/2 frames are small and come in bursts; each would be a ``send`` of its own. A peer for
    which too much waits is disconnected.

    :ivar given: bytes that were written so far.
    :ivar reached: as many of them, from the first, may have reached the system; no more have.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []
        self._size = 0
        self.given = 0
        self.reached = 0

    def write(self, data: bytes) -> None:
        """Send bytes soon."""
        if not self._pending:
            self._loop.call_soon(self._send)
        self._pending.append(data)
        self.given += len(data)
        self._size += len(data)
        if self._size > _AT_ONCE:
            self._send()

    def _send(self) -> None:
        if not self._pending:
            return
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        self._size = 0
        transport = self._transport
        if transport.is_closing():
            return
        waited = transport.get_write_buffer_size()
        transport.write(data)
        # With nothing in front of it, it is sent at once; what fails then has sent nothing.
        if waited or not transport.is_closing():
            self.reached = self.given
        if waited + len(data) > _MOST and transport.get_write_buffer_size() > _MOST:
            _log.warning("a peer reads nothing, and %d bytes wait for it: disconnected", waited)
            transport.abort()

    def close(self) -> None:
        """Close the transport behind what was written."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
