"""Raw gRPC streams: headers and frames as they came, for whoever passes them on.

With ``transport`` the only module that reaches into grpclib; see there why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import grpclib.protocol
import h2.exceptions
from h2.errors import ErrorCodes

from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.inbox import (
    MESSAGE_LIMIT,
    PREFIX_LENGTH,
    BadFrame,
    Inbox,
    MessageTooLarge,
    Overloaded,
    StreamLost,
)
from image_cri_shim.cri.watch import Watch

if TYPE_CHECKING:
    import asyncio

    from image_cri_shim.call_identity import CallIdentity
    from image_cri_shim.cri.gathering import Gathering

__all__ = [
    "MESSAGE_LIMIT",
    "PREFIX_LENGTH",
    "BadFrame",
    "Headers",
    "MessageTooLarge",
    "Overloaded",
    "RawConnection",
    "RawStream",
    "StreamLost",
]

Headers = list[tuple[bytes, bytes]]

# The most bytes in one DATA frame, whatever the peer takes: others want to write too.
_PIECE = 256 * 1024


class RawConnection(grpclib.protocol.Connection):
    """grpclib's connection, and what its streams share.

    :ivar arriving: pays for what has arrived and was not read.
    :ivar leaving: pays for messages that a peer has no room for; None if others bound them.
    :ivar watch: ends calls whose message has begun and does not go on, if the peer's do.
    :ivar last_stream: the last stream that the peer takes, once it goes away.
    :ivar raw: the transport.
    """

    arriving: Budget
    leaving: Budget | None = None
    watch: Watch | None = None
    last_stream: int | None = None
    raw: asyncio.Transport | None = None

    def descriptor(self) -> int | None:
        """Return the number of its socket; None if that is closed."""
        sock = None if self.raw is None else self.raw.get_extra_info("socket")
        number = -1 if sock is None else cast("int", sock.fileno())
        return None if number < 0 else number


class RawStream(grpclib.protocol.Stream):
    """An HTTP/2 stream of frames.

    One task may read and another write; not two of the same. Every waiting method raises
    StreamLost when the stream is reset or its connection goes.
    """

    id: int
    connection: RawConnection
    buffer: Inbox  # type: ignore[assignment] # the same interface towards EventsProcessor
    reset_code: int | None = None
    wrote_headers = False
    # For calls that are made to us: how the answer ended, who made the call, and the seconds for
    # which the runtime was waited for.
    outcome: Headers | None = None
    identity: CallIdentity | None = None
    in_runtime = 0.0
    # When the call must be over, on the event loop's clock; None for never.
    deadline: float | None = None
    # The peer's word that it has not begun the call.
    refused = False
    # For calls that we make: what was written to the connection before this one's headers.
    _written_before: int | None = None

    def init_stream(self, stream_id: int, connection: grpclib.protocol.Connection) -> None:
        """Replace grpclib's buffer of bytes by one of frames."""
        super().init_stream(stream_id, connection)
        raw = cast("RawConnection", connection)
        # Closing a connection deletes its transport; what is read afterwards needs no window.
        self.buffer = Inbox(
            lambda size: None if raw.is_closing() else raw.ack(stream_id, size),
            raw.arriving,
            raw.watch,
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
            if connection.is_closing() or connection.last_stream is not None:
                raise StreamLost("the connection is closed", unprocessed=True)
            stream_id = self._h2_connection.get_next_available_stream_id()
            try:
                self._h2_connection.send_headers(stream_id, cast("Any", headers))
            except h2.exceptions.TooManyStreamsError:
                connection.stream_close_waiter.clear()
                await connection.stream_close_waiter.wait()
                continue
            self.init_stream(stream_id, connection)
            release = processor.register(self)
            self._written_before = self._gathering.given
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
        if end:
            self.outcome = headers
        self.connection.flush()

    async def write_frame(self, frame: bytes, *, end: bool = False) -> None:
        """Send one frame, as the windows of the stream and of the connection allow.

        :param frame: not empty.
        :raises Overloaded: the peer has no room for it, and too many others wait already.
        """
        position, total = 0, len(frame)
        connection = self.connection
        leaving = None
        try:
            while True:
                ready = connection.write_ready.is_set()
                if ready:
                    self._check()
                    window = self._h2_connection.local_flow_control_window(self.id)
                if not ready or window <= 0:
                    if leaving is None and connection.leaving is not None:
                        if not connection.leaving.take(total, 0):
                            raise Overloaded(total, connection.leaving)
                        leaving = connection.leaving
                    if not ready:
                        await connection.write_ready.wait()
                    else:
                        self.window_updated.clear()
                        await self.window_updated.wait()
                    continue
                most = min(window, self._h2_connection.max_outbound_frame_size, _PIECE)
                size = min(most, total - position)
                chunk = frame if size == total else frame[position : position + size]
                position += size
                last = position == total
                try:
                    self._h2_connection.send_data(self.id, chunk, end_stream=end and last)
                except h2.exceptions.ProtocolError as error:
                    raise StreamLost("the stream is closed") from error
                connection.flush()
                if last:
                    return
        finally:
            if leaving is not None:
                leaving.give(total)

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
        unprocessed = (
            self.refused
            # RFC 9113, section 8.7.
            or self.reset_code == ErrorCodes.REFUSED_STREAM
            or (
                self._written_before is not None and self._gathering.reached <= self._written_before
            )
        )
        self.buffer.fail(StreamLost(reason, self.reset_code, unprocessed=unprocessed))
        self.headers_received.set()
        self.trailers_received.set()
        self.window_updated.set()

    @property
    def _gathering(self) -> Gathering:
        return cast("Gathering", self._transport)

    def _check(self) -> None:
        if self.buffer.error is not None:
            raise self.buffer.error
        if self.connection.is_closing() or self.id not in self._h2_connection.streams:
            raise StreamLost("the stream is closed")

    def _why_lost(self) -> Exception:
        return self.buffer.error or BadFrame("the stream ended without its trailers")
