"""Connections of raw streams: grpclib's HTTP/2 layer, made to pass calls byte for byte.

grpclib's public API decodes metadata, knows only the methods it is told of and hands out parsed
messages. A proxy needs the opposite: the headers as they came, every method, whole frames. So the
classes here and in ``stream`` subclass ``grpclib.protocol`` and change just that; ``listener`` and
``channel`` make a server and a client of them. ``tests/cri/test_transport.py`` fails when a grpclib
changes what is relied on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import grpclib.config
import grpclib.protocol
import h2.events
import h2.exceptions

from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.gathering import Gathering
from image_cri_shim.cri.http2 import Http2
from image_cri_shim.cri.stream import RawConnection, RawStream
from image_cri_shim.cri.watch import Watch

_log = logging.getLogger(__name__)

_CONFIG = grpclib.config.Configuration()
_SERVER, _CLIENT = _CONFIG.__for_server__(), _CONFIG.__for_client__()


class Processor(grpclib.protocol.EventsProcessor):
    """grpclib's event processor, making raw streams and ignoring what HTTP/2 says to ignore."""

    connection: RawConnection

    def process(self, event: h2.events.Event) -> None:
        """Process what the peer's bytes say."""
        # RFC 9113, section 4.1: frames of unknown types are ignored; grpclib would raise.
        processors = getattr(self, "processors", None)
        process = None if processors is None else processors.get(event.__class__)
        if process is not None:
            process(event)

    def register(self, stream: grpclib.protocol.Stream) -> Callable[[], None]:
        """Give a stream its events; return what must be called when its call is over."""
        raw = cast("RawStream", stream)
        self.streams[raw.id] = raw
        return partial(self._release, raw)

    def _release(self, stream: RawStream) -> None:
        del self.streams[stream.id]
        connection = self.connection
        connection.stream_close_waiter.set()
        left = stream.buffer.close()
        if not connection.is_closing():
            connection.ack(stream.id, left)
            if connection.last_stream is not None and not self.streams:
                self.close("the peer goes away")

    def process_request_received(self, event: h2.events.RequestReceived) -> None:
        """Begin a client's call."""
        stream = make_stream(self.connection, event.stream_id)
        release = self.register(stream)
        self.handler.accept(stream, cast("Any", event.headers), release)

    def process_stream_reset(self, event: h2.events.StreamReset) -> None:
        """End a call."""
        stream = self.streams.get(event.stream_id)
        if stream is not None and event.remote_reset:
            cast("RawStream", stream).reset_code = int(event.error_code or 0)
        super().process_stream_reset(event)

    def process_connection_terminated(self, event: h2.events.ConnectionTerminated) -> None:
        """Take note that the peer takes no more calls (RFC 9113, section 6.8).

        What a client says so says nothing of its own calls, and the shim makes none to it.
        """
        if self.connection._connection.config.client_side:  # noqa: SLF001
            self.retire(event.last_stream_id or 0)

    def retire(self, last_stream: int = 2**31 - 1) -> None:
        """Make no more calls; close the connection when those that run are over.

        :param last_stream: calls above it end; the peer has not begun them.
        """
        connection = self.connection
        if connection.is_closing():
            return
        connection.last_stream = last_stream
        for number, stream in tuple(self.streams.items()):
            if number > last_stream:
                cast("RawStream", stream).refused = True
                stream.__terminated__("the peer goes away and did not begin the call")
        # Those that wait to begin must look again.
        connection.stream_close_waiter.set()
        if self.streams:
            self.handler.close()
        else:
            self.close("the peer goes away")

    def close(self, reason: str = "Connection closed") -> None:
        """Close the connection; its calls end."""
        super().close(reason)
        # Nobody will say "resume writing" or end a stream any more; whoever waits must look again.
        self.connection.write_ready.set()
        self.connection.stream_close_waiter.set()


def make_stream(connection: RawConnection, stream_id: int | None = None) -> RawStream:
    """Return a new stream of a connection."""
    return RawStream(
        connection,
        connection._connection,  # noqa: SLF001
        connection._transport,  # noqa: SLF001
        stream_id=stream_id,
    )


class RawProtocol(grpclib.protocol.H2Protocol):
    """grpclib's HTTP/2 protocol with raw streams, gathered writes and no unhandled errors.

    :param handler: grpclib's ``AbstractHandler``.
    :param arriving: see RawConnection, as for the others.
    """

    connection: RawConnection
    processor: Processor

    def __init__(
        self,
        handler: Any,
        *,
        client_side: bool,
        arriving: Budget,
        leaving: Budget | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.http2 = Http2(client_side=client_side)
        super().__init__(handler, _CLIENT if client_side else _SERVER, self.http2.config)
        self._arriving = arriving
        self._leaving = leaving
        self._watch = watch

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are.

        In place of grpclib's, which makes h2's own connection.
        """
        loop = asyncio.get_running_loop()
        gathering = Gathering(cast("asyncio.Transport", transport), loop)
        self.connection = RawConnection(self.http2, cast("Any", gathering), config=self.config)
        self.connection.arriving = self._arriving
        self.connection.leaving = self._leaving
        self.connection.watch = self._watch
        self.connection.raw = cast("asyncio.Transport", transport)
        self.connection.flush()
        self.connection.initialize()
        self.processor = Processor(self.handler, self.connection)

    def drop(self, reason: str) -> None:
        """Close the connection; calls that run on it end."""
        self.processor.close(reason)

    def data_received(self, data: bytes) -> None:
        """Take the peer's bytes; wrong ones close the connection."""
        try:
            super().data_received(data)
        except Exception:  # noqa: BLE001 - one peer's bytes must end no more than its connection
            _log.debug("closing a connection after an error in its bytes", exc_info=True)
            self.drop("Protocol error")
