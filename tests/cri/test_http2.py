"""What `cri/http2.py` relies on in h2, and what it does otherwise."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, GoAwayFrame, HeadersFrame

from image_cri_shim.cri.http2 import CALLS_AT_ONCE, HEADER_LIMIT, Http2

HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a/b"),
    (b":authority", b"x"),
]


class Pair:
    """A client of h2's own, and a server of ours."""

    def __init__(self) -> None:
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.server = Http2(client_side=False)
        self.client.initiate_connection()
        self.turn()

    def turn(self) -> tuple[list[Any], list[Any]]:
        """Carry what was said to the other side; return the server's and the client's events."""
        here = self.server.receive_data(self.client.data_to_send())
        there = self.client.receive_data(self.server.data_to_send())
        self.server.receive_data(self.client.data_to_send())
        return here, there

    def start(self) -> int:
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, HEADERS)
        return number


def of(kind: type[h2.events.Event], events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_client_is_told_how_many_calls_it_may_make() -> None:
    pair = Pair()
    assert pair.client.remote_settings.max_concurrent_streams == CALLS_AT_ONCE
    assert pair.client.remote_settings.initial_window_size == 1024 * 1024
    assert pair.client.outbound_flow_control_window == 2**31 - 1


def test_a_call_too_many_is_refused_and_all_others_go_on() -> None:
    pair = Pair()
    numbers = [pair.start() for _ in range(CALLS_AT_ONCE)]
    here, _ = pair.turn()
    assert len(of(h2.events.RequestReceived, here)) == CALLS_AT_ONCE
    # A client that does not keep to what it was told.
    pair.client.remote_settings._settings[3].append(2**31)
    pair.client.remote_settings.acknowledge()
    extra = [pair.start() for _ in range(3)]
    pair.client.send_data(extra[0], b"and its message", end_stream=True)
    here, there = pair.turn()
    assert of(h2.events.RequestReceived, here) == []
    refused = of(h2.events.StreamReset, there)
    assert {event.stream_id for event in refused} == set(extra)
    assert refused[0].error_code == ErrorCodes.REFUSED_STREAM
    # The compression of headers is still in step.
    pair.client.reset_stream(numbers[0])
    again = pair.start()
    here, _ = pair.turn()
    (request,) = of(h2.events.RequestReceived, here)
    assert request.stream_id == again
    assert [tuple(pair) for pair in request.headers] == HEADERS


def test_a_goaway_ends_nothing() -> None:
    pair = Pair()
    number = pair.start()
    pair.turn()
    pair.server.send_headers(number, [(b":status", b"200")])
    goaway = GoAwayFrame(0, last_stream_id=7, error_code=11, additional_data=b"why")
    (event,) = pair.server.receive_data(goaway.serialize())
    assert isinstance(event, h2.events.ConnectionTerminated)
    assert (event.last_stream_id, event.error_code, event.additional_data) == (7, 11, b"why")
    # What was to be sent before is, and what comes after.
    pair.server.send_data(number, b"here", end_stream=True)
    events = pair.client.receive_data(pair.server.data_to_send())
    assert of(h2.events.ResponseReceived, events)
    assert of(h2.events.DataReceived, events)[0].data == b"here"


def test_it_is_known_when_something_is_half_done() -> None:
    pair = Pair()
    assert not pair.server.unfinished
    pair.start()
    data = pair.client.data_to_send()
    for position in range(1, len(data)):
        pair.server.receive_data(data[position - 1 : position])
        assert pair.server.unfinished
    pair.server.receive_data(data[-1:])
    assert not pair.server.unfinished
    block = HeadersFrame(3)
    block.data = b"\x82"
    pair.server.receive_data(block.serialize())
    assert pair.server.unfinished, "a header block without its end"


def test_a_frame_that_is_too_large_is_refused_before_it_is_buffered() -> None:
    pair = Pair()
    with pytest.raises(h2.exceptions.ProtocolError):
        pair.server.receive_data(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")


def test_a_header_block_without_end_is_refused() -> None:
    pair = Pair()
    block = HeadersFrame(1)
    block.data = bytes(16384)
    pair.server.receive_data(block.serialize())
    more = ContinuationFrame(1)
    more.data = bytes(16384)
    for _ in range(HEADER_LIMIT // 16384 - 1):
        pair.server.receive_data(more.serialize())
    with pytest.raises(h2.exceptions.ProtocolError):
        pair.server.receive_data(more.serialize())


def test_calls_that_ended_long_ago_are_forgotten() -> None:
    pair = Pair()
    for _ in range(4200):
        pair.client.reset_stream(pair.start())
    pair.turn()
    assert pair.server.open_inbound_streams == 0
    assert len(pair.server._closed_streams) == 256


def test_long_headers_are_written_as_they_are() -> None:
    pair = Pair()
    number = pair.start()
    pair.turn()
    # Huffman's code would make it shorter, and take half a second for 60 kB of it.
    value = b"a" * 1000
    pair.server.send_headers(number, [(b":status", b"200"), (b"x-long", value)])
    assert value in pair.server.data_to_send()
