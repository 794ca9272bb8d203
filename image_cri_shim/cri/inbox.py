"""What has arrived on a stream and was not read: whole gRPC frames out of pieces of any size.

Frames are gRPC's "Length-Prefixed-Message" (gRPC over HTTP/2, "Requests"): one byte for the
compression, four for the length, the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from image_cri_shim.cri.budget import Budget
from image_cri_shim.cri.watch import Watch

# The kubelet's own limit for one message, in bytes.
MESSAGE_LIMIT = 16 * 1024 * 1024
PREFIX_LENGTH = 5
# Pieces smaller than this are put together, or each would cost more than the bytes in it.
_PIECE = 4096


class StreamLost(Exception):
    """A stream ended early: reset by the peer, or its connection is gone.

    :ivar reset: the error code of the peer's RST_STREAM, or None where the connection went.
    :ivar unprocessed: the peer has certainly not begun the call, so it may be made again (RFC 9113,
        sections 6.8 and 8.7).
    """

    def __init__(self, reason: str, reset: int | None = None, *, unprocessed: bool = False) -> None:
        super().__init__(reason)
        self.reset = reset
        self.unprocessed = unprocessed


class MessageTooLarge(Exception):
    """A peer's message is larger than what is taken; it was not buffered."""


class Overloaded(MessageTooLarge):
    """There is no memory left for a message: those of other calls take all that may be used."""

    def __init__(self, size: int, budget: Budget) -> None:
        super().__init__(
            f"message of {size} bytes finds no memory: other calls take {budget.used} bytes "
            f"of the {budget.limit} that messages may take"
        )


class BadFrame(Exception):
    """A peer's bytes are no whole gRPC frame."""


class Inbox:
    """What has arrived on a stream and nobody has read.

    Bytes are acknowledged (RFC 9113, section 5.2) only when they are read, so a slow reader slows
    the sender. This replaces grpclib's ``Buffer``, whose interface towards ``EventsProcessor`` it
    keeps: ``add``, ``eof``, ``unacked_size``.

    :param acknowledge: called with the number of bytes that the peer may send again.
    :param budget: pays for what is here, and for the frame that was read last until the next one is
        read or the call is over.
    :param watch: ends a call whose message has begun and does not go on; None for no such thing.
    """

    def __init__(
        self, acknowledge: Callable[[int], None], budget: Budget, watch: Watch | None = None
    ) -> None:
        self._acknowledge = acknowledge
        self._budget = budget
        self._watch = watch
        self._pieces: list[bytes] = []
        # Where in the first piece the next frame begins.
        self._begin = 0
        # Bytes that are here, those of them that are not acknowledged, and what the peer counts for
        # these (padding too).
        self._size = 0
        self._new = 0
        self._unacknowledged = 0
        # The size of the frame that is arriving, once it is known.
        self._need = 0
        # The size of the frame that was read last.
        self._read = 0
        self.ended = False
        self.error: Exception | None = None
        self._broken: MessageTooLarge | BadFrame | None = None
        self.changed = asyncio.Event()

    def add(self, data: bytes, ack_size: int) -> None:
        """Take bytes that have arrived; ``ack_size`` is what the peer counts for them."""
        if self._broken is not None:
            self._acknowledge(ack_size)
            return
        size = len(data)
        if not self._budget.take(size, self._size + self._read):
            self._break(Overloaded(self._need or self._size + size, self._budget))
            self._acknowledge(ack_size)
            return
        self._unacknowledged += ack_size
        if size:
            self._size += size
            self._new += size
            pieces = self._pieces
            if pieces and len(pieces[-1]) < _PIECE:
                pieces[-1] += data
            else:
                pieces.append(data)
        self.changed.set()

    def eof(self) -> None:
        """Take note that nothing more will arrive."""
        self.ended = True
        self.changed.set()

    def fail(self, error: StreamLost) -> None:
        """Take note that the stream is gone; what has arrived can be read."""
        self.error = error
        self.changed.set()

    def stalled(self) -> None:
        """End a message that does not go on."""
        self._break(BadFrame("the rest of the message does not come"))

    def close(self) -> int:
        """Forget what is here, for the call is over; return what the peer may send again."""
        self._drop()
        self._budget.give(self._read)
        self._read = 0
        if self._watch is not None:
            self._watch.end(self)
        size, self._unacknowledged = self._unacknowledged, 0
        return size

    @property
    def empty(self) -> bool:
        """Whether everything was read."""
        return not self._size

    def unacked_size(self) -> int:
        """Return what the peer counts for bytes that are not acknowledged."""
        return self._unacknowledged

    async def frame(self) -> bytes | None:
        """Return the next whole frame, or None at the end of the stream.

        :raises MessageTooLarge: before the message is buffered.
        :raises BadFrame: the bytes end in the middle of a frame.
        :raises StreamLost: see there.
        """
        if self._read:
            self._budget.give(self._read)
            self._read = 0
        while True:
            if self._broken is not None:
                raise self._broken
            taken = self._size - self._new
            if not self._need and taken >= PREFIX_LENGTH:
                self._need = self._announced()
            if self._need and taken >= self._need:
                return self._cut(self._need)
            # Only now: what is taken is acknowledged, and the peer sends as much again.
            if self._unacknowledged or self._new:
                self._new = 0
                size, self._unacknowledged = self._unacknowledged, 0
                self._acknowledge(size)
                continue
            # A server that answers before it has read everything ends its side and then resets
            # the stream: what it answered counts.
            if self.ended:
                if self._size:
                    raise BadFrame("the stream ended in the middle of a message")
                return None
            if self.error is not None:
                raise self.error
            await self._more()

    async def _more(self) -> None:
        """Wait until something has changed."""
        self.changed.clear()
        if self._watch is None or not self._size:
            await self.changed.wait()
            return
        self._watch.begin(self)
        try:
            await self.changed.wait()
        finally:
            self._watch.end(self)

    def _announced(self) -> int:
        """Return the size of the next frame, from its prefix."""
        pieces, begin = self._pieces, self._begin
        while len(pieces[0]) - begin < PREFIX_LENGTH:
            pieces[:2] = [pieces[0][begin:] + pieces[1]]
            begin = self._begin = 0
        length = int.from_bytes(pieces[0][begin + 1 : begin + PREFIX_LENGTH], "big")
        if length > MESSAGE_LIMIT:
            raise MessageTooLarge(
                f"message of {length} bytes is larger than the limit of {MESSAGE_LIMIT}"
            )
        return PREFIX_LENGTH + length

    def _cut(self, need: int) -> bytes:
        """Take the first bytes off; they stay paid for until the next frame is read."""
        pieces, begin = self._pieces, self._begin
        self._need = 0
        self._read = need
        self._size -= need
        end = begin + need
        first = pieces[0]
        if end < len(first):
            self._begin = end
            return first[begin:end]
        self._begin = 0
        if end == len(first):
            del pieces[0]
            return first[begin:] if begin else first
        parts = [first[begin:] if begin else first]
        missing = need - len(parts[0])
        used = 1
        while missing:
            piece = pieces[used]
            if len(piece) > missing:
                parts.append(piece[:missing])
                self._begin = missing
                break
            parts.append(piece)
            missing -= len(piece)
            used += 1
        del pieces[:used]
        return b"".join(parts)

    def _break(self, error: MessageTooLarge | BadFrame) -> None:
        """Take nothing more; who reads gets the error."""
        self._broken = error
        self._drop()
        size, self._unacknowledged = self._unacknowledged, 0
        self._acknowledge(size)
        self.changed.set()

    def _drop(self) -> None:
        self._budget.give(self._size)
        self._pieces.clear()
        self._begin = self._size = self._new = self._need = 0
