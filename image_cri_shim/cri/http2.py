"""HTTP/2 as h2 speaks it, but for what a proxy needs otherwise.

h2 takes a GOAWAY for the end of the connection, a stream too many for a fault of all the others,
and buffers a frame before it looks at its announced length. ``tests/cri/test_http2.py`` fails when
an h2 changes what is relied on here.
"""

from __future__ import annotations

from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.frame_buffer
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from image_cri_shim.cri.header_blocks import Decoder, PlainEncoder

# What may be on its way to us and unread, for each stream. For the connection there is no limit in
# effect, or a reader that stops would stop every other call of the connection.
_STREAM_WINDOW = 1024 * 1024
_CONNECTION_WINDOW = 2**31 - 1
# Calls at a time on one connection (RFC 9113, section 5.1.2). A kubelet has one for every probe
# that runs a command, so this is more than the pods of a node.
CALLS_AT_ONCE = 512
# Bytes of one header block, compressed or not.
HEADER_LIMIT = 64 * 1024
# The runtime's may be larger, for all calls share its connection.
ANSWER_HEADER_LIMIT = 512 * 1024
# Newer versions of h2 have the bytes of a frame that is not whole under another name.
_PARTIAL = "_data" if hasattr(h2.frame_buffer.FrameBuffer(), "_data") else "data"


class Http2(h2.connection.H2Connection):
    """One connection's HTTP/2.

    :ivar unfinished: whether what has arrived ends within a frame or a header block.
    """

    def __init__(self, *, client_side: bool) -> None:
        # How many ended calls are remembered, to tell late frames from wrong ones. Each takes more
        # than a hundred bytes, and there may be many clients, but one runtime.
        self.MAX_CLOSED_STREAMS = 4096 if client_side else 256
        self._header_limit = ANSWER_HEADER_LIMIT if client_side else HEADER_LIMIT
        # Headers are left alone: bytes in, bytes out, validated by gRPC's own rules.
        super().__init__(
            h2.config.H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        values: dict[SettingCodes, int] = {
            SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: self._header_limit,
            SettingCodes.MAX_CONCURRENT_STREAMS: CALLS_AT_ONCE,
        }
        if client_side:
            values[SettingCodes.ENABLE_PUSH] = 0
            del values[SettingCodes.MAX_CONCURRENT_STREAMS]
        self.local_settings = Settings(client=client_side, initial_values=values)
        # Huffman's code alone holds the loop for half a second where a header has 60 kB.
        self.encoder = cast("Any", PlainEncoder())
        self.decoder = cast("Any", Decoder())
        self.decoder.max_header_list_size = self._header_limit
        self.unfinished = False
        self.initiate_connection()
        self.increment_flow_control_window(_CONNECTION_WINDOW - 65535)

    def receive_data(self, data: Any) -> list[h2.events.Event]:
        """Take bytes of the peer; return what they say.

        :raises ProtocolError: they are wrong.
        """
        events = super().receive_data(data)
        partial = getattr(self.incoming_buffer, _PARTIAL)
        headers = self.incoming_buffer._headers_buffer  # noqa: SLF001
        self.unfinished = bool(partial or headers)
        if self.unfinished:
            # h2 looks at these only when all is here.
            length = int.from_bytes(partial[:3], "big") if len(partial) > 2 else 0  # noqa: PLR2004
            if length > self.max_inbound_frame_size:
                raise h2.exceptions.FrameTooLargeError(f"a frame of {length} bytes")
            if sum(len(frame.data) for frame in headers) > self._header_limit:
                raise h2.exceptions.DenialOfServiceError("a header block that does not end")
        return events

    def _receive_goaway_frame(
        self, frame: GoAwayFrame
    ) -> tuple[list[Frame], list[h2.events.Event]]:
        """Take note that the peer takes no more streams; those that it has go on.

        RFC 9113, section 6.8. h2 would close the connection for everything.
        """
        event = h2.events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]

    def _receive_headers_frame(
        self, frame: HeadersFrame
    ) -> tuple[list[Frame], list[h2.events.Event]]:
        """Take headers; refuse the stream if it is one too many (RFC 9113, section 5.1.2).

        h2 would close the connection.
        """
        try:
            return super()._receive_headers_frame(frame)
        except h2.exceptions.TooManyStreamsError:
            number = frame.stream_id
            highest = self.highest_inbound_stream_id
            if number <= highest or number % 2 == int(self.config.client_side):
                raise
            # Both sides' compression would go apart without.
            self.decoder.decode(frame.data, raw=True)
            self.highest_inbound_stream_id = number
            self._closed_streams[number] = StreamClosedBy.SEND_RST_STREAM
            return [RstStreamFrame(number, error_code=ErrorCodes.REFUSED_STREAM)], []
