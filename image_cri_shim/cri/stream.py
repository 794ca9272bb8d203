"""Raw gRPC streams: headers and frames as they came, for whoever passes them on.

With ``transport`` the only module that reaches into grpclib; see there why.

Frames are gRPC's "Length-Prefixed-Message" (gRPC over HTTP/2, "Requests"): one byte for the
compression, four for the length, the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import grpclib.protocol
import h2.exceptions
from h2.errors import ErrorCodes

Headers = list[tuple[bytes, bytes]]

# The kubelet's own limit for one message, in bytes.
MESSAGE_LIMIT = 16 * 1024 * 1024
PREFIX_LENGTH = 5


class StreamLost(Exception):
    """A stream ended early: reset by the peer, or its connection is gone.

    :ivar reset: the error code of the peer's RST_STREAM, or None where the connection went.
    """

    def __init__(self, reason: str, reset: int | None = None) -> None:
        super().__init__(reason)
        self.reset = reset


class MessageTooLarge(Exception):
    """A peer announced a message of more bytes than are taken; nothing of it was buffered."""


class BadFrame(Exception):
    """A peer's bytes are no whole gRPC frame."""


class _Inbox:
    """What has arrived on a stream and nobody has read.

    Bytes are acknowledged (RFC 9113, section 5.2) only when they are read, so a slow reader slows
    the sender. This replaces grpclib's ``Buffer``, whose interface towards ``EventsProcessor`` it
    keeps: ``add``, ``eof``, ``unacked_size``.
    """

    def __init__(self, acknowledge: Callable[[int], None]) -> None:
        self._acknowledge = acknowledge
        self._bytes = bytearray()
        self._chunks: list[bytes] = []
        self._unacknowledged = 0
        self.ended = False
        self.error: StreamLost | None = None
        self.changed = asyncio.Event()

    def add(self, data: bytes, ack_size: int) -> None:
        self._chunks.append(data)
        self._unacknowledged += ack_size
        self.changed.set()

    def eof(self) -> None:
        self.ended = True
        self.changed.set()

    def fail(self, error: StreamLost) -> None:
        self.error = error
        self.changed.set()

    @property
    def empty(self) -> bool:
        return not self._bytes and not self._chunks

    def unacked_size(self) -> int:
        return self._unacknowledged

    def _take(self) -> None:
        self._bytes += self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        size, self._unacknowledged = self._unacknowledged, 0
        self._acknowledge(size)

    async def frame(self) -> bytes | None:
        """Return the next whole frame, or None at the end of the stream."""
        buffer = self._bytes
        while True:
            have = len(buffer)
            if have >= PREFIX_LENGTH:
                need = PREFIX_LENGTH + int.from_bytes(buffer[1:PREFIX_LENGTH], "big")
                if need > PREFIX_LENGTH + MESSAGE_LIMIT:
                    raise MessageTooLarge(
                        f"message of {need - PREFIX_LENGTH} bytes is larger than "
                        f"the limit of {MESSAGE_LIMIT}"
                    )
                if have >= need:
                    frame = bytes(buffer[:need])
                    del buffer[:need]
                    return frame
            # Only now: what is taken is acknowledged, and the peer sends as much again.
            if self._chunks:
                self._take()
                continue
            # A server that answers before it has read everything ends its side and then resets
            # the stream: what it answered counts.
            if self.ended:
                if have:
                    raise BadFrame("the stream ended in the middle of a message")
                return None
            if self.error is not None:
                raise self.error
            self.changed.clear()
            await self.changed.wait()


class RawStream(grpclib.protocol.Stream):
    """An HTTP/2 stream of frames.

    One task may read and another write; not two of the same. Every waiting method raises
    StreamLost when the stream is reset or its connection goes.
    """

    id: int
    buffer: _Inbox  # type: ignore[assignment] # the same interface towards EventsProcessor
    reset_code: int | None = None
    wrote_headers = False

    def init_stream(self, stream_id: int, connection: grpclib.protocol.Connection) -> None:
        """Replace grpclib's buffer of bytes by one of frames."""
        super().init_stream(stream_id, connection)
        # Closing a connection deletes its transport; what is read afterwards needs no window.
        self.buffer = _Inbox(
            lambda size: None if connection.is_closing() else connection.ack(stream_id, size)
        )

    async def start(
        self, headers: Headers, processor: grpclib.protocol.EventsProcessor
    ) -> Callable[[], None]:
        """Send a request's headers on a new stream of the connection.

        In place of grpclib's ``send_request``, which does not notice that the connection went while
        it waits for its turn.

        :returns: what must be called when the call is over.
        """
        connection = self.connection
        while True:
            if not connection.write_ready.is_set():
                await connection.write_ready.wait()
            if connection.is_closing():
                raise StreamLost("the connection is closed")
            stream_id = self._h2_connection.get_next_available_stream_id()
            try:
                self._h2_connection.send_headers(stream_id, cast("Any", headers))
            except h2.exceptions.TooManyStreamsError:
                connection.stream_close_waiter.clear()
                await connection.stream_close_waiter.wait()
                continue
            self.init_stream(stream_id, connection)
            release = processor.register(self)
            connection.flush()
            return release

    @property
    def ended(self) -> bool:
        """Whether the peer has sent its last byte (there may be frames left to read)."""
        return self.buffer.ended

    @property
    def exhausted(self) -> bool:
        """Whether the peer has sent its last byte and all frames are read."""
        return self.buffer.ended and self.buffer.empty

    async def read_frame(self) -> bytes | None:
        """Return the next frame, prefix included, or None at the end.

        :raises MessageTooLarge: before the message is buffered.
        :raises BadFrame: the stream ends in the middle of a frame.
        """
        return await self.buffer.frame()

    async def read_headers(self) -> Headers:
        """Return the answer's first headers; a trailers-only answer has ``grpc-status`` in them."""
        if self.headers is None:
            await self.headers_received.wait()
        if self.headers is None:
            raise self._why_lost()
        return cast("Headers", self.headers)

    async def read_trailers(self) -> Headers:
        """Return the answer's trailers, once all frames are read."""
        if self.trailers is None:
            await self.trailers_received.wait()
        if self.trailers is None:
            raise self._why_lost()
        return cast("Headers", self.trailers)

    async def write_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Send headers or trailers."""
        if not self.connection.write_ready.is_set():
            await self.connection.write_ready.wait()
        self._check()
        try:
            self._h2_connection.send_headers(self.id, headers, end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise StreamLost("the stream is closed") from error
        self.wrote_headers = True
        self.connection.flush()

    async def write_frame(self, frame: bytes, *, end: bool = False) -> None:
        """Send one frame, as the windows of the stream and of the connection allow.

        :param frame: not empty.
        """
        position, total = 0, len(frame)
        while True:
            if not self.connection.write_ready.is_set():
                await self.connection.write_ready.wait()
            self._check()
            window = self._h2_connection.local_flow_control_window(self.id)
            if window <= 0:
                self.window_updated.clear()
                await self.window_updated.wait()
                continue
            size = min(window, self._h2_connection.max_outbound_frame_size, total - position)
            chunk = frame if size == total else frame[position : position + size]
            position += size
            last = position == total
            try:
                self._h2_connection.send_data(self.id, chunk, end_stream=end and last)
            except h2.exceptions.ProtocolError as error:
                raise StreamLost("the stream is closed") from error
            self.connection.flush()
            if last:
                return

    async def write_end(self) -> None:
        """Say that nothing more is sent."""
        if not self.connection.write_ready.is_set():
            await self.connection.write_ready.wait()
        self._check()
        try:
            # Without a byte to carry it needs no window.
            self._h2_connection.end_stream(self.id)
        except h2.exceptions.ProtocolError as error:
            raise StreamLost("the stream is closed") from error
        self.connection.flush()

    def abandon(self, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """Reset the stream if it is still open; never raises, never waits."""
        if not self.connection.is_closing() and self.closable:
            self._h2_connection.reset_stream(self.id, error_code=code)
            self.connection.flush()

    def abandon_unread(self) -> None:
        """Tell a client that is still sending that its call is over (RFC 9113, section 8.1)."""
        if not self.buffer.ended:
            self.abandon(ErrorCodes.NO_ERROR)

    def __ended__(self) -> None:
        """Take note of the peer's end of stream; wake who waits for what will not come."""
        super().__ended__()
        self.headers_received.set()
        self.trailers_received.set()

    def __terminated__(self, reason: str) -> None:
        """Take note of a reset or of the connection's end; wake everyone."""
        self.buffer.fail(StreamLost(reason, self.reset_code))
        self.headers_received.set()
        self.trailers_received.set()
        self.window_updated.set()

    def _check(self) -> None:
        if self.buffer.error is not None:
            raise self.buffer.error
        if self.connection.is_closing() or self.id not in self._h2_connection.streams:
            raise StreamLost("the stream is closed")

    def _why_lost(self) -> Exception:
        return self.buffer.error or BadFrame("the stream ended without its trailers")
